"""The record of a fit: how it was made, and whether the sampler converged."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

RENAMED_KEYS = {"without_flagged": "without_outliers", "pool": "families"}
"""Keys of records in files of earlier versions, and today's names."""

_WORST: Mapping[str, Any] = {
    "rhat_max": max,
    "ess_bulk_min": min,
    "ess_tail_min": min,
    "divergences": sum,
    "n_draws": sum,
    "attempts": max,
    "passed": all,
}


class _Diagnostics(BaseModel):
    model_config = ConfigDict(extra="allow")
    passed: bool
    reasons: list[str]


class _Provenance(BaseModel):
    model_config = ConfigDict(extra="allow")
    seed: int


class _Record(BaseModel):
    """The required part of a record; other keys pass through."""

    model_config = ConfigDict(extra="allow")
    diagnostics: _Diagnostics
    provenance: _Provenance
    seconds: dict[str, float]


def parse_record(text: str) -> dict[str, Any]:
    """Return the record that a JSON text holds, with today's names of keys.

    Raises
    ------
    pydantic.ValidationError
        If it lacks a key that every record has.
    """
    _Record.model_validate_json(text)
    record = json.loads(text)
    for part in (record, record["provenance"]):
        for old, new in RENAMED_KEYS.items():
            if old in part:
                part[new] = part.pop(old)
    return record


def worst_diagnostics(each: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the worst of each diagnostic over several samplings, and all their reasons."""
    worst: dict[str, Any] = {}
    for figure, pick in _WORST.items():
        if all(figure in diagnostics for diagnostics in each.values()):
            worst[figure] = pick(diagnostics[figure] for diagnostics in each.values())
    reasons = [(name, why) for name, d in each.items() for why in d["reasons"]]
    worst["reasons"] = [f"{name}: {why}" if len(each) > 1 else why for name, why in reasons]
    return worst


def diagnosis(diagnostics: Mapping[str, Any]) -> str:
    """Return a sentence on the sampler's convergence checks."""
    if diagnostics.get("point"):
        return "A point estimate: one draw, nothing sampled."
    figures = (
        f"R-hat at most {diagnostics['rhat_max']:.3f}, effective draws at least "
        f"{min(diagnostics['ess_bulk_min'], diagnostics['ess_tail_min']):.0f}, "
        f"{diagnostics['divergences']} divergences in {diagnostics['n_draws']} draws"
    )
    if diagnostics["passed"]:
        return f"Sampler: passed ({figures})."
    return f"Sampler: NOT TO BE TRUSTED. {'; '.join(diagnostics['reasons'])} ({figures})."
