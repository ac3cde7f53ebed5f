"""Bayesian inference for neural scaling laws.

>>> import bayescale
>>> runs = bayescale.read_runs("runs.csv")  # doctest: +SKIP
>>> posterior = bayescale.fit(runs, "chinchilla")  # doctest: +SKIP
>>> print(bayescale.forecast(posterior, params=70e9, tokens=1.4e12))  # doctest: +SKIP

The public names are listed in ``__init__.pyi``. They are imported when first used, so the command
line starts without the sampler.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
