"""Derivation of the intervals in the card ``chinchilla_published``.

Repeats the estimator of Besiroglu et al. 2024 (arXiv 2404.10102) on the 240 runs that they kept,
bootstraps it over runs, and states the result in quantities that are uncorrelated with the
exponents: the size of each term at the scale where the runs determine it best.

Run: ``python benchmarks/published_prior.py``
"""

import numpy as np
from huber import objective
from scipy.optimize import minimize

from bayescale.datasets import load

BOOTSTRAPS = 1000
PUBLISHED = np.array([np.log(1.8172), np.log(482.01), np.log(2085.43), 0.3478, 0.3658])


def fit(log_n: np.ndarray, log_d: np.ndarray, log_loss: np.ndarray) -> np.ndarray:
    """Compute the Huber estimate, starting from the published optimum."""
    theta, options = PUBLISHED, {"maxfev": 3000}
    for _ in range(2):  # the objective has kinks at which a simplex can collapse
        theta = minimize(
            lambda theta: objective(theta, log_n, log_d, log_loss)[0],
            theta,
            method="Nelder-Mead",
            options=options,
        ).x
    return theta


def main() -> None:
    """Bootstrap the estimate and print the values in the card."""
    runs = load("chinchilla").take(lambda frame: frame["loss"].rank(ascending=False) > 5)
    log_n, log_d, log_loss = (np.log(runs[name]) for name in ("params", "tokens", "loss"))
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(BOOTSTRAPS):
        pick = rng.integers(0, len(runs), len(runs))
        rows.append(fit(log_n[pick], log_d[pick], log_loss[pick]))
    e, a, b, alpha, beta = np.array(rows).T
    print(f"{BOOTSTRAPS} bootstraps of {len(runs)} runs; medians and standard deviations")
    for name, values in {"log E": e, "log A": a, "log B": b, "alpha": alpha, "beta": beta}.items():
        print(f"  {name:6} {np.median(values):8.4f} {values.std():8.4f}")
    for name, log_size, exponent in (("A / N^alpha", a, alpha), ("B / D^beta", b, beta)):
        log_scale = np.cov(log_size, exponent)[0, 1] / exponent.var()
        term = log_size - exponent * log_scale
        print(
            f"  log of {name} at {np.exp(log_scale):.3g}: {np.median(term):.4f} {term.std():.4f}"
            f" (correlation with the exponent {np.corrcoef(term, exponent)[0, 1]:.2f})"
        )
    print("  correlations between log E and (alpha, beta):", np.corrcoef([e, alpha, beta])[0, 1:])


if __name__ == "__main__":
    main()
