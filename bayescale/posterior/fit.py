"""The interface of a fit, of one law or of several: which draws a question uses.

A fit holds two samplings of each law, as two views. In ``fit.exact`` the law is taken to hold
exactly, as published coefficients take it; in ``fit.drifting`` losses may depart from it by its
drift (model discrepancy). Nothing else decides which draws answer a question:

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

from bayescale.conventions import (
    SIX_ND,
    Conventions,
    FlopCount,
    LossUnit,
    chosen_unit,
    unit_of_log,
)
from bayescale.posterior.average import ModelAverage
from bayescale.posterior.posterior import Posterior

Fit = Posterior | ModelAverage
"""The posterior of one law, or of several laws."""


def flop_count_of(fit: Fit) -> FlopCount:
    """Return how the fitted log counts compute; 6 N D for a point estimate."""
    return SIX_ND if fit.runs is None else fit.runs.flop_count


def fitted_unit_of(fit: Fit) -> LossUnit:
    """Return the unit in which a fit's draws state losses: nats per token, but for other laws."""
    return unit_of_log(Conventions(), fit.members[0].law.unit)


def loss_unit_of(fit: Fit, name: str | LossUnit | None = None) -> LossUnit:
    """Return the unit of a fit's answers: the one named, or the log's own.

    Raises
    ------
    UnitError
        If the unit is unknown, or cannot be had: see :func:`bayescale.conventions.chosen_unit`.
    """
    conventions = Conventions() if fit.runs is None else fit.runs.conventions
    return chosen_unit(unit_of_log(conventions, fit.members[0].law.unit), name)


def runs_by_family(fit: Fit) -> dict[str, int]:
    """Count the runs of each family that has coefficients of its own; empty where none has."""
    if fit.runs is None or not fit.families:
        return {}
    of_runs = fit.runs["family"].astype(str)
    return {name: int((of_runs == name).sum()) for name in fit.families}
