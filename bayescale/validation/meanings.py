"""What the checks behind a trust horizon mean for answers, and what to do about them."""

from collections.abc import Iterable
from dataclasses import replace

from bayescale.findings import Finding, Severity
from bayescale.laws import LAWS, Law

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

ONE_LAW = "Fit a second law as well to see by how much"
SECOND = (
    "unified",
    "chinchilla",
    "henighan_params",
    "kaplan_params",
    "henighan_tokens",
    "kaplan_tokens",
    "henighan_compute",
    "kaplan_compute",
)
"""Laws to fit beside a single law, the first of the same inputs that is not that law."""

KEPT_OUTLIERS = (
    "They are kept, and the summary has the coefficients without them. Look up how they were "
    "trained."
)


def second_law(law: Law) -> str:
    """Return advice to fit a second law of the same inputs, with a name if the package has one."""
    pair = [name for name in SECOND if LAWS[name].inputs == law.inputs and name != law.name]
    if not pair:
        return f"{ONE_LAW}."
    if LAWS.get(law.name) is not law:  # your own law has no name to fit it by
        return f"{ONE_LAW}, for example {pair[0]}."
    return f"{ONE_LAW}, for example `law={[law.name, pair[0]]}`."


def with_meanings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings with meanings for those that warn or stop."""
    return tuple(
        replace(found, means=MEANINGS.get(found.code.split(".")[-1], ""))
        if found.severity in (Severity.WARNS, Severity.STOPS)
        else found
        for found in findings
    )
