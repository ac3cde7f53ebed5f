"""The guard that keeps draws that failed the convergence checks from answering questions."""

from collections.abc import Mapping
from typing import Any

from bayescale.errors import UnconvergedError


def refuse_unconverged(diagnostics: Mapping[str, Any], allow: bool = False) -> None:
    """Refuse draws that failed the convergence checks.

    Parameters
    ----------
    diagnostics : mapping
        Results of the checks: ``passed`` and ``reasons``.
    allow : bool
        Whether to accept such draws.

    Raises
    ------
    UnconvergedError
        Unless the checks passed or ``allow`` is true.
    """
    if not (allow or diagnostics["passed"]):
        raise UnconvergedError(
            "this posterior failed its convergence checks, so nothing is computed from it: "
            f"{'; '.join(diagnostics['reasons'])}. Fit again with more draws (`draws=`), "
            "or use it anyway with `allow_unconverged=True`"
        )
