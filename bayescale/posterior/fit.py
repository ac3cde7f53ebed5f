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
compute-optimal split of a forecast       ``exact``
allocate, regret                          coefficients of ``drifting`` where the card's drift goes
                                          along compute, else of ``exact``; the walk is left out of
                                          both (:meth:`View.without_walk`)
data_budget for a bound on overfit        ``exact``
data_budget for a target loss             ``drifting``; ``exact`` with ``drift=False``
next_run for a loss                       ``drifting``; ``exact`` with ``drift=False``
next_run for a regret                     ``drifting`` where the card's drift goes along compute,
                                          else ``exact``
prune, emergence                          ``drifting``; ``exact`` with ``drift=False``
========================================  ==========================================================

Both kinds of fit have ``members`` (the posterior of each law), ``weights`` (each member's share of
the answer), ``exact``, ``drifting`` and ``view(drift)``, ``combine`` (make one answer from each
member's), ``runs``, ``inputs``, ``families``, ``record``, ``diagnostics`` and
``require_converged``.
"""

from bayescale.posterior.average import ModelAverage
from bayescale.posterior.posterior import Posterior

Fit = Posterior | ModelAverage
"""The posterior of one law, or of several laws."""
