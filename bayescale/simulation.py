"""Run logs that are simulated from a law with stated coefficients."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bayescale.arguments import checks_arguments
from bayescale.errors import LawError
from bayescale.laws import Law, find_law
from bayescale.units import as_size


@checks_arguments
def simulate(
    law: str | Law,
    coefficients: Mapping[str, float],
    scales: Mapping[str, Any],
    *,
    sigma: float = 0.005,
    nu: float | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Simulate a run log from a law.

    Parameters
    ----------
    law : str or Law
    coefficients : mapping of str to float
        Every coefficient of the law, in raw units.
    scales : mapping of str to array_like, shape (run,)
        The law's inputs, in raw units or as texts such as "70B".
    sigma : float
        Scale of the residual noise of a run's log loss, zero or more.
    nu : float, optional
        Degrees of freedom of the noise; by default normal.
    seed : int

    Returns
    -------
    pandas.DataFrame
        ``run_id``, the scales, and ``loss`` in nats per token.

    Raises
    ------
    LawError, UnitError
        If scales or coefficients are not those of the law, or a value is out of range.

    Examples
    --------
    >>> besiroglu = dict(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)
    >>> scales = {"params": ["70B"], "tokens": ["1.4T"]}
    >>> round(simulate("chinchilla", besiroglu, scales, sigma=0)["loss"].item(), 4)
    1.9739
    """
    law = law if isinstance(law, Law) else find_law(law)
    for what, needed, given in (
        ("coefficients", law.coefficients, coefficients),
        ("scales", law.inputs, scales),
    ):
        if set(needed) != set(given):
            raise LawError(
                f"law {law.name!r} needs {what} {', '.join(needed)}, but was given "
                f"{', '.join(given) or 'none'}"
            )
    if sigma < 0 or (nu is not None and nu <= 0):
        raise LawError(
            f"sigma is {sigma:g} and nu is {nu}, but sigma must be zero or more, and nu above zero"
        )
    values = {name: np.atleast_1d(as_size(scales[name], name)) for name in law.inputs}
    with np.errstate(all="ignore"):  # losses that are not finite are refused below
        mean = np.asarray(law.loss(**values, **coefficients), dtype=float)
    rng = np.random.default_rng(seed)
    standard = rng.standard_normal(mean.shape) if nu is None else rng.standard_t(nu, mean.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        loss = mean * np.exp(sigma * standard)
    if not ((loss > 0) & np.isfinite(loss)).all():
        raise LawError(
            "with these coefficients, scales, sigma and nu some losses are not finite and above "
            "zero: choose others"
        )
    width = len(str(len(mean) - 1))
    run_id = [f"run{i:0{width}}" for i in range(len(mean))]
    return pd.DataFrame({"run_id": run_id, **values, "loss": loss})
