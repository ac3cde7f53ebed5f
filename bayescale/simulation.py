"""Run logs whose truth is known: simulated from a law with stated coefficients."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bayescale.errors import LawError
from bayescale.laws import Law


def simulate(
    law: Law,
    coefficients: Mapping[str, float],
    scales: Mapping[str, Any],
    *,
    sigma: float = 0.005,
    nu: float | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """A run log as this law would give it.

    Parameters
    ----------
    law : Law
    coefficients : mapping of str to float
        Every coefficient of the law, in raw units.
    scales : mapping of str to array_like, shape (run,)
        The law's inputs, in raw units.
    sigma : float
        Scale of the scatter of a run's log loss.
    nu : float, optional
        Degrees of freedom of the scatter; normal where not given.
    seed : int

    Returns
    -------
    pandas.DataFrame
        ``run_id``, the scales, and ``loss`` in nats per token.

    Raises
    ------
    LawError
        If scales or coefficients are not the law's own, or a value is out of range.

    Examples
    --------
    >>> from bayescale.laws import CHINCHILLA
    >>> besiroglu = dict(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)
    >>> log = simulate(CHINCHILLA, besiroglu, {"params": [70e9], "tokens": [1.4e12]}, sigma=0)
    >>> round(log["loss"].item(), 4)
    1.9739
    """
    for what, needed, given in (
        ("coefficients", law.coefficients, coefficients),
        ("scales", law.inputs, scales),
    ):
        if set(needed) != set(given):
            raise LawError(
                f"law {law.name!r} has {what} {', '.join(needed)}; given "
                f"{', '.join(given) or 'none'}"
            )
    values = {name: np.asarray(scales[name], dtype=float) for name in law.inputs}
    wrong = [name for name, x in values.items() if not ((x > 0) & np.isfinite(x)).all()]
    if wrong or sigma < 0 or (nu is not None and nu <= 0):
        raise LawError(
            f"{', '.join(wrong) or 'sigma and nu'} must be finite and greater than zero "
            "(sigma may be zero)"
        )
    with np.errstate(all="ignore"):  # what is no number is told below
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
