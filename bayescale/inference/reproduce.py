"""A fit that is repeated from its file and compared draw by draw."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.errors import PosteriorError
from bayescale.inference.fit import fit, made_with
from bayescale.posterior import DRIFTING, Fit, Posterior
from bayescale.results import Content, Result

FAR = 4.0
"""The most Monte Carlo errors between two medians that agree."""


@dataclass(frozen=True, eq=False)
class Reproduction(Result):
    """A fit compared with a second one that was made in the same way.

    Attributes
    ----------
    rows : pandas.DataFrame
        One row for each law, group of draws and scalar variable: ``law``, ``group`` (``posterior``
        or ``posterior_drifting``), ``name``, ``then`` and ``now`` (medians, in raw units),
        ``identical`` (draw by draw), ``distance`` (between the medians, in Monte Carlo errors of
        their difference).
    changed : mapping of str to tuple of str
        Versions that differ, by package: then and now.
    """

    rows: pd.DataFrame
    changed: dict[str, tuple[str, str]]

    @property
    def identical(self) -> bool:
        """Whether every draw is the same to the last bit."""
        return bool(self.rows["identical"].all())

    @property
    def agrees(self) -> bool:
        """Whether no median differs by more than Monte Carlo error explains."""
        return bool((self.rows["distance"] <= FAR).all())

    def _table(self) -> pd.DataFrame:
        return self.rows

    def _json(self) -> Mapping[str, Any]:
        return {
            "identical": self.identical,
            "agrees": self.agrees,
            "changed": self.changed,
            "rows": self.rows,
        }

    def _content(self) -> Content:
        n = len(self.rows)
        versions = [f"{name} {then} -> {now}" for name, (then, now) in self.changed.items()]
        since = f" Versions differ: {'; '.join(versions)}." if versions else ""
        if self.identical:
            yield f"Reproduced: all draws of {n} variables are the same to the last bit.{since}"
            return
        far = self.rows.sort_values("distance").iloc[-1]
        moved = (
            f"the one that moved most, {far['name']} of {far['law']}, went from {far['then']:.6g} "
            f"to {far['now']:.6g}, {far['distance']:.1f} Monte Carlo errors"
        )
        if self.agrees:
            yield f"Agrees, not draw by draw: of {n} medians {moved}.{since}"
        else:
            yield f"NOT REPRODUCED: of {n} medians {moved}; up to {FAR:g} is chance.{since}"


def reproduce(fitted: Fit, *, show_progress: bool | None = None) -> Reproduction:
    """Fit a posterior's runs again with its cards, seed and settings, and compare.

    Parameters
    ----------
    fitted : Posterior or ModelAverage
        A fit that :func:`bayescale.fit` made, or that was read from its file.
    show_progress : bool, optional
        Show progress on standard error, or below the cell in a notebook; by default only in
        notebooks.

    Returns
    -------
    Reproduction
        Draws are identical with the same log, card, seed, settings, versions and machine. On
        another machine or with other versions, draws differ, and medians agree within Monte Carlo
        error.

    Raises
    ------
    PosteriorError
        If the posterior holds no runs or does not say how it was made.
    """
    made = fitted.members[0].record.get("provenance", {})
    how = {
        name: made[name] for name in ("seed", "draws", "tune", "chains", "families") if name in made
    }
    if fitted.runs is None or len(how) < 5:
        raise PosteriorError(
            "the posterior does not hold its runs and all settings of its sampler, so the fit "
            "cannot be repeated: fit the runs again with `bayescale.fit`"
        )
    cards = [member.card for member in fitted.members]
    again = fit(fitted.runs, cards, **how, show_progress=show_progress)
    rows = [
        row
        for then, now in zip(fitted.members, again.members, strict=True)
        for row in _compared(then, now)
    ]
    here = made_with()
    changed = {
        name: (str(made.get(name)), str(here[name]))
        for name in here
        if name not in how and made.get(name) != here[name]
    }
    return Reproduction(pd.DataFrame(rows), changed)


def _compared(then: Posterior, now: Posterior) -> list[dict[str, Any]]:
    import arviz as az

    rows = []
    for group in ("posterior", DRIFTING):
        if group not in then.tree.children:
            continue
        old, new = (one.tree[group].to_dataset() for one in (then, now))
        error = xr.ufuncs.sqrt(
            az.mcse(old, method="median") ** 2 + az.mcse(new, method="median") ** 2
        )
        for name in map(str, old.data_vars):
            if old[name].dims != ("chain", "draw"):
                continue
            same = bool(np.array_equal(old[name].values, new[name].values))
            medians = float(old[name].median()), float(new[name].median())
            apart = abs(medians[1] - medians[0])
            rows.append(
                {
                    "law": then.law.name,
                    "group": group,
                    "name": name,
                    "then": medians[0],
                    "now": medians[1],
                    "identical": same,
                    "distance": 0.0 if same or apart == 0 else apart / float(error[name]),
                }
            )
    return rows
