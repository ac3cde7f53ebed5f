"""Learning rate and batch size: the loss as a valley about the best setting of each size of run.

A sweep has cells: sizes (params, tokens) that are trained at several settings. Let z1 and z2 be the
logs of learning rate and batch size relative to the cell's best. The log loss of a run is u + g +
noise:

- u, the level, is the log loss of well-tuned runs. Over cells it is normal about the frontier, the
  law `unified` with its drift along compute and across tokens per parameter.
- g is the excess, zero at the best setting:
  g = q exp(skew_lr tanh(z1 - turn_lr z2) + skew_batch tanh(z2 + turn_batch z1)) with
  q = exp(k) (z1^2 + 2 rho sqrt(r) z1 z2 + r z2^2).
- Logs of the best learning rate and batch size and of the curvature, k, are normal about power laws
  of params and tokens.
- The noise is a Student-t of two scales, wider above than below, that grows with the excess.

Diverged settings are data about the valley's edge. Because the noise grows with the excess, they
show where the edge is and hardly move the valley's floor.

The valley is not a law of ``LAWS``. A law is a function of a run's inputs, with one positive value
per coefficient and residual noise of one scale. Here each cell has its own level, best setting and
curvature, powers have either sign, and the noise depends on the excess; without these, intervals of
a cell that was left out held 70 % of its losses instead of 90 %. It shares this with laws: the
frontier is the law ``unified`` with its drift, and the equations keep the contract of laws (a test
checks that). It shares with fits the cache of compiled code, the retries, the convergence guard and
the format of runs in files.
"""

from bayescale.tuning.card import TuningCard, load_tuning_card
from bayescale.tuning.files import open_tuning, save_tuning
from bayescale.tuning.posterior import Tuning
from bayescale.tuning.sweep import Sweep, read_sweep
from bayescale.tuning.valley import excess, frontier

__all__ = [
    "Sweep",
    "Tuning",
    "TuningCard",
    "excess",
    "frontier",
    "load_tuning_card",
    "open_tuning",
    "read_sweep",
    "save_tuning",
]
