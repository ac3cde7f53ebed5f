"""What runs cannot tell apart: from their design alone, and from a posterior."""

import numpy as np

from bayescale.laws import Law
from bayescale.posterior import Posterior, learned
from bayescale.runs import Note, Runs

LEAST_RATIO_SPREAD = 2.0
"""Tokens per parameter must differ by this factor, besides any trend with size."""

LEAST_SCALE_SPREAD = 4.0
STRONG_CORRELATION = 0.95
LITTLE_LEARNED = 0.2


def design_notes(runs: Runs, law: Law) -> tuple[Note, ...]:
    """What the design of these runs leaves open, whatever their losses.

    Parameters
    ----------
    runs : Runs
        With the columns that the law needs.
    law : Law

    Returns
    -------
    tuple of Note
        Codes ``few_runs``, ``narrow_range`` and ``collinear_design``.
    """
    notes = []
    if len(runs) <= len(law.coefficients) + 1:
        notes.append(
            Note(
                "few_runs",
                f"{len(runs)} runs for the {len(law.coefficients)} coefficients of {law.name} "
                "and their scatter: the priors in the card decide much of the answer",
            )
        )
    for name in law.inputs:
        spread = runs[name].max() / runs[name].min()
        if spread < LEAST_SCALE_SPREAD:
            notes.append(
                Note(
                    "narrow_range",
                    f"{name} goes over a factor of {spread:.2g} only: its exponent comes from the "
                    "prior more than from the runs",
                )
            )
    if {"params", "tokens"} <= set(law.inputs):
        notes += _collinear(runs)
    return tuple(notes)


def _collinear(runs: Runs) -> list[Note]:
    n, d = np.log(runs["params"]), np.log(runs["tokens"])
    slope, level = np.polyfit(n, d, 1) if np.ptp(n) > 0 else (0.0, d.mean())
    spread = float(np.exp(np.ptp(d - level - slope * n)))
    if spread >= LEAST_RATIO_SPREAD and len(runs) > 2:
        return []
    ratio = np.exp(d - n)
    if np.ptp(np.log(ratio)) < np.log(LEAST_RATIO_SPREAD):
        line = f"tokens are {np.median(ratio):.3g} times params in every run"
        line += f" (from {ratio.min():.3g} to {ratio.max():.3g})"
    else:
        line = f"tokens follow params^{slope:.2f} within a factor of {spread:.2g}"
    return [
        Note(
            "collinear_design",
            f"{line}, so size and data grow together and these runs cannot separate alpha from "
            "beta, nor the loss due to size from that due to data: forecasts along this line "
            "are supported, the split of a budget is not. Buy runs with at least twice and half "
            "as many tokens per parameter",
        )
    ]


def posterior_notes(posterior: Posterior) -> tuple[Note, ...]:
    """What the posterior shows that the runs left open.

    Returns
    -------
    tuple of Note
        Codes ``ridge`` (two coefficients that only their combination is known of, on the log
        scale) and ``prior_decides`` (a coefficient about which the runs said next to nothing).
    """
    draws, notes = posterior.draws, []
    names = list(posterior.law.coefficients)
    terms = posterior.law.terms
    shape = [name for name in names if name not in terms or terms[name].exponent is None]
    logs = {name: np.log(draws[name].values).ravel() for name in names}
    for i, first in enumerate(shape):
        for second in shape[i + 1 :]:
            together = np.corrcoef(logs[first], logs[second])[0, 1]
            if abs(together) > STRONG_CORRELATION:
                notes.append(
                    Note(
                        "ridge",
                        f"{first} and {second} are known only together (correlation "
                        f"{together:.2f} of their logs)",
                    )
                )
    for name in shape:
        share = learned(posterior, name)
        if share < LITTLE_LEARNED:
            notes.append(
                Note(
                    "prior_decides",
                    f"{name} comes from the prior: the runs removed {max(share, 0):.0%} of its "
                    "spread",
                )
            )
    return tuple(notes)
