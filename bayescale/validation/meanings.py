"""What the checks behind a trust horizon mean for answers, and what to do about them."""

from collections.abc import Iterable
from dataclasses import replace

from bayescale.findings import Finding, Severity

MEANINGS = {
    "converged": "No number of this fit is to be relied on. Fit again with more draws.",
    "precision": "No forecast of this fit is as precise as the tolerance asks.",
    "coverage": "From that ratio on, intervals are overconfident. Train runs of sizes between, or "
    "fit another law.",
    "held_out_runs": "The horizon may be due to chance. Train a few more runs of other sizes.",
    "across_more": "Do not rely on forecasts at more tokens per parameter than the runs have. "
    "Train a run there first.",
    "across_fewer": "Do not rely on forecasts at fewer tokens per parameter than the runs have. "
    "Train a run there first.",
    "splits": "The horizon of the loss stands, but a split of a budget may waste more than "
    "allocate states. Train runs of like compute and other sizes.",
    "runs": "Answers rest on the priors as much as on the runs. Train more runs.",
    "ranges": "Answers beyond the runs rest on that prior. Train runs of other sizes.",
    "ridges": "Forecasts along the runs' own mix of scales stand; off it they rest on the priors.",
}
"""Meanings by code of findings that warn or stop, unless their text says enough."""

ONE_LAW = "Fit a second law as well to see by how much."
KEPT_OUTLIERS = (
    "They are kept, and the summary has the coefficients without them. Look up how they were "
    "trained."
)


def with_meanings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings with meanings for those that warn or stop."""
    return tuple(
        replace(found, means=MEANINGS.get(found.code.split(".")[-1], ""))
        if found.severity in (Severity.WARNS, Severity.STOPS)
        else found
        for found in findings
    )
