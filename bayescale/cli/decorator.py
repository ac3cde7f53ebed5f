"""The decorator that passes options to a command: fields of its dataclasses become options."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints

from bayescale.cli.options import Brief, FigureSize, Quiet
from bayescale.cli.output import DETAIL, Detail, require_output
from bayescale.cli.parsing import inches


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that typer can read: fields of its option dataclasses become options.

    A command that prints an answer also takes --quiet and --brief, which :func:`show` obeys, and
    one that draws a figure takes its size.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            of_group = get_type_hints(groups[name], include_extras=True)
            known = [(field.name, field.default) for field in fields(groups[name])]
            parameters += [_keyword(field, of_group[field], default) for field, default in known]
        else:
            parameters.append(_keyword(name, hints[name], parameter.default))
    prints = "json_" in hints
    if prints:
        parameters += [_keyword("quiet", Quiet, False), _keyword("brief", Brief, False)]
    if "figure" in hints:
        after = [each.name for each in parameters].index("figure") + 1
        parameters.insert(after, _keyword("figure_size", FigureSize, None))

    metavar = _metavar_of(hints.get("output"))

    @wraps(command)
    def run(**typed: Any) -> None:
        if typed.get("output") is not None:
            read = [value for name, value in typed.items() if name not in ("output", "figure")]
            require_output(typed["output"], metavar, read)
        if prints:
            size = inches(typed.pop("figure_size", None), typed.get("figure"))
            DETAIL.set(Detail(typed.pop("quiet"), typed.pop("brief"), size))
        made = {
            name: kind(**{field.name: typed.pop(field.name) for field in fields(kind)})
            for name, kind in groups.items()
        }
        command(**typed, **made)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    # typer keeps the line breaks in all paragraphs except the first
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    run.__doc__ = "\n\n".join(" ".join(each.split()) for each in paragraphs)
    return run


def _metavar_of(hint: Any) -> str:
    """Return the name in the help of an option's value; empty if it has none."""
    return next((at.metavar or "" for at in getattr(hint, "__metadata__", ())), "")


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    required = default is MISSING or default is inspect.Parameter.empty
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if required else default,
        annotation=annotation,
    )
