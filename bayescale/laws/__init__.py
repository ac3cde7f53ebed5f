"""The equations of scaling laws, independent of any fit."""

from pathlib import Path

from bayescale.errors import MOST_NAMES, LawError, did_you_mean, listed
from bayescale.laws.chinchilla import CHINCHILLA, CHINCHILLA_OUTER
from bayescale.laws.curves import (
    BROKEN_COMPUTE,
    BROKEN_PARAMS,
    BROKEN_TOKENS,
    SATURATING_COMPUTE,
    SATURATING_PARAMS,
    SATURATING_TOKENS,
)
from bayescale.laws.downstream import DOWNSTREAM
from bayescale.laws.experts import EXPERTS
from bayescale.laws.farseer import FARSEER
from bayescale.laws.henighan import HENIGHAN_COMPUTE, HENIGHAN_PARAMS, HENIGHAN_TOKENS
from bayescale.laws.kaplan import (
    KAPLAN,
    KAPLAN_COMPUTE,
    KAPLAN_IRREDUCIBLE,
    KAPLAN_PARAMS,
    KAPLAN_TOKENS,
)
from bayescale.laws.law import Law
from bayescale.laws.optimum import compute_optimal
from bayescale.laws.own import own_fault, own_law
from bayescale.laws.pruned import PRUNED, worth
from bayescale.laws.repetition import REPETITION
from bayescale.laws.terms import (
    Amplitude,
    Balance,
    Bent,
    Constant,
    CriticalScale,
    Decay,
    Depth,
    Onset,
    OuterAmplitude,
    Sloped,
    Term,
)
from bayescale.laws.unified import UNIFIED
from bayescale.laws.vocabulary import VOCABULARY


class Laws(dict[str, Law]):
    """Laws by name."""

    def __repr__(self) -> str:
        return f"<{len(self)} laws: {listed(self)}>"


LAWS = Laws(
    (law.name, law)
    for law in (
        UNIFIED,
        CHINCHILLA,
        CHINCHILLA_OUTER,
        REPETITION,
        PRUNED,
        KAPLAN,
        KAPLAN_IRREDUCIBLE,
        KAPLAN_PARAMS,
        KAPLAN_TOKENS,
        KAPLAN_COMPUTE,
        HENIGHAN_PARAMS,
        HENIGHAN_TOKENS,
        HENIGHAN_COMPUTE,
        SATURATING_PARAMS,
        SATURATING_TOKENS,
        SATURATING_COMPUTE,
        BROKEN_PARAMS,
        BROKEN_TOKENS,
        BROKEN_COMPUTE,
        DOWNSTREAM,
        EXPERTS,
        VOCABULARY,
        FARSEER,
    )
)


def find_law(name: str) -> Law:
    """Return the law with this name, or your own law from ``file.py:NAME``.

    Raises
    ------
    LawError
        If there is no such law, no such file or no such name in it, or if running the file fails.
    """
    if not isinstance(name, str):
        raise LawError(f"law is {name!r}, but must be a law's name, or your own as file.py:NAME")
    if name in LAWS:
        return LAWS[name]
    path, _, attribute = name.rpartition(":") if not name.endswith(".py") else (name, "", "")
    if path.endswith(".py"):
        return own_law(Path(path), attribute)
    raise LawError(
        f"law {name!r} is unknown: use one of {listed(LAWS, MOST_NAMES)}, or your own as "
        f"file.py:NAME{did_you_mean(name, LAWS)}"
    )


__all__ = [
    "BROKEN_COMPUTE",
    "BROKEN_PARAMS",
    "BROKEN_TOKENS",
    "CHINCHILLA",
    "CHINCHILLA_OUTER",
    "DOWNSTREAM",
    "EXPERTS",
    "FARSEER",
    "HENIGHAN_COMPUTE",
    "HENIGHAN_PARAMS",
    "HENIGHAN_TOKENS",
    "KAPLAN",
    "KAPLAN_COMPUTE",
    "KAPLAN_IRREDUCIBLE",
    "KAPLAN_PARAMS",
    "KAPLAN_TOKENS",
    "LAWS",
    "PRUNED",
    "REPETITION",
    "SATURATING_COMPUTE",
    "SATURATING_PARAMS",
    "SATURATING_TOKENS",
    "UNIFIED",
    "VOCABULARY",
    "Amplitude",
    "Balance",
    "Bent",
    "Constant",
    "CriticalScale",
    "Decay",
    "Depth",
    "Law",
    "Onset",
    "OuterAmplitude",
    "Sloped",
    "Term",
    "compute_optimal",
    "find_law",
    "own_fault",
    "worth",
]
