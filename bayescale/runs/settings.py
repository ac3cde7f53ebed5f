"""``runs.toml``: options for reading the logs of a folder, which commands need not repeat."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from bayescale.errors import RunLogError, collected
from bayescale.files import replacing
from bayescale.runs.options import ReadOptions

NAME = "runs.toml"

Text = str | float | bool
"""A value in TOML."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    log: str | list[str] = []
    columns: dict[str, str] = {}
    units: dict[str, Text] = {}
    exclude: dict[str, Text | list[Text]] = {}
    only: dict[str, Text | list[Text]] = {}
    ignore: str | list[str] = []
    fill: dict[str, str] = {}
    missing: str | None = None
    repeats: str | None = None
    conventions: dict[str, Text] = {}
    convert: dict[str, Text] = {}


def settings_beside(log: Path) -> ReadOptions | None:
    """Return the options of ``runs.toml`` beside a log; None if there is none, or for other logs.

    Raises
    ------
    RunLogError
        If it is not TOML, or a key is unknown or has a wrong type.
    """
    path = log.parent / NAME
    if not path.is_file():
        return None
    settings = _parsed(path)
    logs = [settings.log] if isinstance(settings.log, str) else settings.log
    if logs and log.name not in logs:
        return None
    values = settings.model_dump(exclude={"log"}, exclude_none=True)
    values["units"] = {name: _plain(unit) for name, unit in settings.units.items()}
    try:
        return ReadOptions.of(**values)
    except RunLogError as error:
        raise RunLogError(f"{path.name} beside {log.name}: {error}") from None


def _plain(value: Text) -> str:
    return f"{value:.17g}" if isinstance(value, float) else str(value)


def _parsed(path: Path) -> _Settings:
    try:
        return _Settings.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        problems = []
        for item in error.errors():
            place = ".".join(str(part) for part in item["loc"][:2])
            unknown = item["type"] == "extra_forbidden"
            needed = f"keys are {', '.join(_Settings.model_fields)}"
            what = f"an unknown key; {needed}" if unknown else f"{item['input']!r}: {item['msg']}"
            problems.append(f"{place} is {what}")
        problems = list(dict.fromkeys(problems))
        raise RunLogError(collected(f"{path} cannot be used:", problems)) from None
    except (ValueError, RecursionError, OSError) as error:
        raise RunLogError(
            f"{path} is not valid TOML: {error}; correct it, or remove it from the folder"
        ) from error


def write_settings(log: Path, options: ReadOptions) -> Path:
    """Write ``runs.toml`` beside a log, completely or not at all, and return its path.

    Raises
    ------
    RunLogError
        If no option is set, or the existing file is for another log.
    OutputError
        If it cannot be written.
    """
    path, stated = log.parent / NAME, options.stated()
    if not stated:
        raise RunLogError(
            f"there is nothing to write into {NAME}: give options for reading {log.name}, for "
            "example `units={'tokens': '1e9'}`"
        )
    if path.is_file():
        there = _parsed(path).log
        logs = [there] if isinstance(there, str) else there
        if log.name not in logs:
            about = f"for {', '.join(logs)}" if logs else "for every log of the folder"
            raise RunLogError(
                f"{path} exists already, {about}: move one of the logs into a folder of its own, "
                "or edit the file"
            )
    lines = [f"log = {_toml(log.name)}"]
    lines += [f"{n} = {_toml(v)}" for n, v in stated.items() if not isinstance(v, Mapping)]
    for name, pairs in stated.items():
        if isinstance(pairs, Mapping):
            lines += ["", f"[{name}]", *(f"{_toml(k)} = {_toml(v)}" for k, v in pairs.items())]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _toml(value: Any) -> str:
    """Return a text, number or list in TOML, whose strings and lists are written as in JSON."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=True)
