"""Refits without a sampler: posteriors built by hand, importable by worker processes."""

import os
import re

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from bayescale.cards import ModelCard, parse_card
from bayescale.posterior import Posterior
from bayescale.runs import Runs, read_runs

N_DRAWS = 4000
SIGMA = 0.01
TRUTH = {"C_c": 1e24, "alpha_C": 0.05}
SIGMAS = {"kaplan_compute": SIGMA, "henighan_compute": 3 * SIGMA}


def even_normal(mean: float = 0.0, sd: float = 1.0) -> np.ndarray:
    """Evenly spaced quantiles, so that quantiles of the draws have no Monte Carlo error."""
    return stats.norm.ppf((np.arange(N_DRAWS) + 0.5) / N_DRAWS, mean, sd)


def exact(card: ModelCard) -> ModelCard:
    """The card without its section on drift, in its text as well."""
    text = re.sub(r"\[drift\].*?(?=\n\[(?!drift)|\Z)", "", card.text, flags=re.S)
    return parse_card(text, law=card.law)


def built(
    card: ModelCard,
    runs: Runs,
    values: dict[str, float | np.ndarray],
    *,
    passed: bool = True,
    groups: dict[str, xr.Dataset] | None = None,
) -> Posterior:
    """A posterior with these draws in one chain, of a law that is taken to hold exactly."""
    draws = xr.Dataset(
        {k: (("chain", "draw"), np.broadcast_to(v, (1, N_DRAWS))) for k, v in values.items()},
        coords={"chain": [0], "draw": np.arange(N_DRAWS)},
    )
    reasons = [] if passed else ["R-hat of E is 1.200, above 1.01"]
    record = {
        "diagnostics": {
            "passed": passed,
            "reasons": reasons,
            "rhat_max": 1.0 if passed else 1.2,
            "ess_bulk_min": 4000,
            "ess_tail_min": 4000,
            "divergences": 0,
            "n_draws": N_DRAWS,
        },
        "provenance": {"seed": 1},
        "seconds": {},
    }
    tree = xr.DataTree.from_dict({"posterior": draws} | (groups or {}))
    return Posterior(tree, exact(card), runs, record)


def power_law_log(off: list[float], step: float = 4.0) -> Runs:
    """Runs of the true law, each off by so many SIGMA, at sizes that grow by ``step``."""
    flops = 1e18 * step ** np.arange(len(off))
    loss = (TRUTH["C_c"] / flops) ** TRUTH["alpha_C"] * np.exp(SIGMA * np.array(off))
    ids = [f"r{i}" for i in range(len(off))]
    return read_runs(pd.DataFrame({"run_id": ids, "flops": flops, "loss": loss}))


def known(runs: Runs, card: ModelCard, seed: int = 0) -> Posterior:
    """The true law, with normal noise of 1 % for kaplan_compute and 3 % for the other."""
    floor = {"E": 1e-12} if "E" in card.law.coefficients else {}
    return built(card, runs, TRUTH | floor | {"sigma": SIGMAS[card.law.name]})


def too_sure(runs: Runs, card: ModelCard, seed: int = 0) -> Posterior:
    """The true law with a tenth of the noise, so that its intervals are overconfident."""
    return built(card, runs, TRUTH | {"sigma": SIGMA / 10})


def unconverged(runs: Runs, card: ModelCard, seed: int = 0) -> Posterior:
    return built(card, runs, TRUTH | {"sigma": SIGMA}, passed=len(runs) > 5)


def failing(runs: Runs, card: ModelCard, seed: int = 0) -> Posterior:
    """Fails on six runs."""
    if len(runs) == 6:
        raise ValueError("no minimum\nfound")
    return known(runs, card, seed)


def always_failing(runs: Runs, card: ModelCard, seed: int = 0) -> Posterior:
    raise ValueError("no")


def dying(runs: Runs, card: ModelCard, seed: int = 0) -> Posterior:
    """Ends its process on six runs, while others wait for theirs."""
    if len(runs) == 6 and card.law.name == "kaplan_compute":
        os._exit(1)
    return known(runs, card, seed)
