"""The interface of a fit, of one law or of several: which draws a question uses.

A fit holds two samplings of each law, as two views. ``fit.exact`` takes the law to hold exactly, as
published coefficients do; in ``fit.drifting`` losses may depart from the law by its drift (model
discrepancy). This table alone decides which draws answer a question:

========================================  ==========================================================
question                                  view
========================================  ==========================================================
summary, identifiability, sensitivity     ``exact``; the rows of drift come from ``drifting``
leave-one-out, outliers, lack of fit      ``exact``
published laws, point estimates           ``exact``, the only one that they have
forecast, trust, backtest                 ``drifting``; ``exact`` with ``drift=False``
compute-optimal split, allocate, regret   ``drifting``; ``exact`` with ``drift=False``
data_budget for a bound on overfit        ``exact``
data_budget for a target loss             ``drifting``; ``exact`` with ``drift=False``
next_run                                  ``drifting``; ``exact`` with ``drift=False``
prune, emergence                          ``drifting``; ``exact`` with ``drift=False``
========================================  ==========================================================

Both kinds of fit have ``members`` (the posterior of each law), ``weights`` (each member's share of
the answer), ``exact``, ``drifting`` and ``view(drift)``, ``combine`` (make one answer from each
member's), ``runs``, ``inputs``, ``families``, ``record``, ``diagnostics`` and
``require_converged``.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from bayescale.conventions import (
    SIX_ND,
    Conventions,
    FlopCount,
    LossUnit,
    chosen_unit,
    unit_of_log,
)
from bayescale.plausible import require_plausible
from bayescale.posterior.average import ModelAverage
from bayescale.posterior.posterior import Posterior

Fit = Posterior | ModelAverage
"""The posterior of one law, or of several laws."""


def flop_count_of(fit: Fit) -> FlopCount:
    """Return how the fitted log counts compute; 6 N D for a point estimate."""
    return SIX_ND if fit.runs is None else fit.runs.flop_count


def require_plausible_sizes(
    fit: Fit, sizes: Mapping[str, Any], scales: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Refuse params, tokens or flops that no run can have, unless the fitted runs are near them.

    Parameters
    ----------
    fit : Posterior or ModelAverage
    sizes : mapping of str to array_like or None
        Raw counts by argument.
    scales : mapping of str to str
        What the sizes of an argument count, for arguments that are not named like a scale.

    Raises
    ------
    UnitError
        If there is one: see :func:`bayescale.units.require_plausible`.
    """
    for name, asked in sizes.items():
        scale = scales.get(name, name)
        known = fit.runs[scale] if fit.runs is not None and scale in fit.runs else None
        require_plausible(asked, scale, name, known)


def fitted_unit_of(fit: Fit) -> LossUnit:
    """Return the unit of losses in a fit's draws: nats per token unless the law has another."""
    return unit_of_log(Conventions(), fit.members[0].law.unit)


def loss_unit_of(fit: Fit, name: str | LossUnit | None = None) -> LossUnit:
    """Return the unit of a fit's answers: the one with this name, or the log's own.

    Raises
    ------
    UnitError
        If the unit is unknown, or losses cannot be converted to it: see
        :func:`bayescale.conventions.chosen_unit`.
    """
    conventions = Conventions() if fit.runs is None else fit.runs.conventions
    return chosen_unit(unit_of_log(conventions, fit.members[0].law.unit), name)


def runs_by_family(fit: Fit) -> dict[str, int]:
    """Return the number of runs of each family that has its own coefficients."""
    if fit.runs is None or not fit.families:
        return {}
    of_runs = fit.runs["family"].astype(str)
    return {name: int((of_runs == name).sum()) for name in fit.families}
