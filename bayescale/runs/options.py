"""The options of :func:`bayescale.read_runs` as one value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from bayescale.errors import RunLogError, argument, collected, did_you_mean

Missing = Literal["error", "drop", "keep"]
Repeats = Literal["error", "keep", "drop", "best"]
Values = str | float | Sequence[str | float]
"""One value or several."""

CHOICES: Mapping[str, tuple[str, ...]] = {
    "missing": ("error", "drop", "keep"),
    "repeats": ("error", "keep", "drop", "best"),
}
_PAIRS = ("columns", "units", "fill", "conventions", "convert")
_SEVERAL = ("exclude", "only")


@dataclass(frozen=True)
class ReadOptions:
    """The options of :func:`bayescale.read_runs`, whose documentation explains each."""

    columns: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    exclude: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    fill: Mapping[str, str] = field(default_factory=dict)
    missing: Missing | None = None
    repeats: Repeats | None = None
    conventions: Mapping[str, Any] = field(default_factory=dict)
    convert: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, **given: Any) -> "ReadOptions":
        """Make the options from arguments; those that are None are left out.

        Raises
        ------
        RunLogError
            If an argument has a wrong type, or is not one of its choices.
        """
        problems: list[str] = []
        values: dict[str, Any] = {}
        for name, value in given.items():
            if value is None:
                continue
            if name in CHOICES and value not in CHOICES[name]:
                problems.append(
                    f"`{name}={value!r}` is none of {', '.join(CHOICES[name])}"
                    f"{did_you_mean(value, CHOICES[name])}"
                )
            elif name in (*_PAIRS, *_SEVERAL) and not isinstance(value, Mapping):
                problems.append(f"`{name}=` is {value!r}: give a mapping")
            elif name in _SEVERAL:
                values[name] = {str(key): _texts(one) for key, one in value.items()}
            elif name == "ignore":
                values[name] = _texts(value)
            else:
                values[name] = dict(value) if name in _PAIRS else value
        values["units"] = {name: str(unit) for name, unit in values.get("units", {}).items()}
        if problems:
            raise RunLogError(collected("the options of reading cannot be used:", problems))
        return cls(**values)

    def joined(self, file: "ReadOptions", place: str) -> "ReadOptions":
        """Return these options joined with those of a file.

        Raises
        ------
        RunLogError
            If the two contradict each other.
        """
        problems: list[str] = []
        joined: dict[str, Any] = {"ignore": tuple(dict.fromkeys((*file.ignore, *self.ignore)))}
        for name in _PAIRS:
            ours, theirs = getattr(self, name), getattr(file, name)
            problems += [
                f"{argument(name, **{key: ours[key]})} contradicts {name}.{key} = "
                f"{str(theirs[key])!r} there"
                for key in ours.keys() & theirs.keys()
                if str(ours[key]) != str(theirs[key])
            ]
            joined[name] = {**theirs, **ours}
        for name in _SEVERAL:
            ours, theirs = getattr(self, name), getattr(file, name)
            joined[name] = {
                key: tuple(dict.fromkeys((*theirs.get(key, ()), *ours.get(key, ()))))
                for key in {**theirs, **ours}
            }
        for name in CHOICES:
            ours, theirs = getattr(self, name), getattr(file, name)
            if ours is not None and theirs is not None and ours != theirs:
                problems.append(f"`{name}={ours!r}` contradicts {name} = {theirs!r} there")
            joined[name] = ours or theirs
        if problems:
            raise RunLogError(
                collected(f"options contradict {place}; change one of the two:", problems)
            )
        return replace(self, **joined)

    def stated(self) -> dict[str, Any]:
        """Return the options that are set, by name."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if value}


def _texts(values: Any) -> tuple[str, ...]:
    several = isinstance(values, Sequence | set | frozenset) and not isinstance(values, str)
    return tuple(str(one) for one in (values if several else (values,)))
