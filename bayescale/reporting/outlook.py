"""The answer, and the forecast behind it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bayescale.plotting import plot_downstream, plot_forecast
from bayescale.reporting.asked import Asked
from bayescale.reporting.blocks import Answer, Block, Facts, Prose, Table, Text
from bayescale.reporting.evidence import horizon_told
from bayescale.reporting.figures import drawn
from bayescale.reporting.formatting import SIZE, UNIT, as_few, as_loss, as_share, unit_of
from bayescale.units import format_size
from bayescale.verdict import NEXT_LOWER_LOSS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_VERDICTS = {
    "inside": ("Inside the runs.", "good"),
    "trusted": ("Trusted.", "good"),
    "too_wide": ("Too wide.", "bad"),
    "failed": ("Failed.", "bad"),
    "untested": ("Untested.", "note"),
}


def _next(asked: Asked) -> tuple[Answer, tuple[str | int, ...]]:
    """Where the next scale's loss and verdict stand."""
    if asked.split:
        return asked.allocation[1], ("budgets", asked.at)
    return asked.forecast[1], ()


def told_answer(asked: Asked) -> Iterator[Block]:
    """What the next scale costs, what it reaches, and how far to trust it."""
    answer, at = _next(asked)
    mass = answer("interval", form=as_share)
    where: Prose = (answer(*at, asked.scale, form=SIZE[asked.scale]), f" {UNIT[asked.scale]}")
    times: Prose = ()
    if asked.fit.runs is not None:
        ratio = answer(*at, "extrapolation_ratio", form=as_few)
        times = (", ", ratio, " times the largest run")
        if asked.scale == "lm_loss":
            times = (f", {1 - NEXT_LOWER_LOSS:.0%} less than the lowest seen,",)
    run: Prose = ()
    if asked.split:
        params, tokens = (
            answer(*at, "choice", name, form=format_size) for name in ("params", "tokens")
        )
        run = (", spent on ", params, " params and ", tokens, " tokens,")
    mean = answer.middle(*at, "loss", form=as_loss)
    unit = unit_of(asked)
    yield Text(
        (
            "At ", *where, *times, *run, f" the {asked.fit.meaning} reaches ", *mean,
            f" {unit}; in brackets, the ", mass, " interval.",
        ),
        "lead",
    )  # fmt: skip
    facts: list[tuple[str, Prose]] = [("Cost" if _costs(asked) else "Next scale", where)]
    if run:
        facts.append(("Split of least expected loss", (params, " params, ", tokens, " tokens")))
    facts.append((f"Loss, {asked.fit.meaning}", (*mean, ", ", mass, " interval")))
    if answer.raw(*at, "loss_new") is not None:
        new = answer.middle(*at, "loss_new", form=as_loss)
        facts.append((f"Loss, {asked.forecast[0].meaning_new}", (*new, ", ", mass, " interval")))
    if asked.target is not None:
        chance = asked.forecast[1]
        facts.append(
            (
                f"Chance that one new run is below {asked.target:g}",
                (chance("p_below_target", form=as_share),),
            )
        )
    yield Facts(tuple(facts))
    word, tone = _VERDICTS[answer.raw(*at, "verdict")]
    yield Text((f"{word} ", answer(*at, "why")), tone)
    if asked.fit.runs is not None:
        yield from horizon_told(asked)
    if asked.family or asked.fit.families:
        yield Text(
            (f"All of this is for the family {asked.family}.",)
            if asked.family
            else (
                "The log has several families. All of this is for a new one, drawn from the spread "
                "between those known; for each of them see the forecast.",
            )
        )


def _costs(asked: Asked) -> bool:
    return asked.scale == "flops"


def told_forecast(asked: Asked) -> Iterator[Block]:
    """The loss along the scale, about the next one, by law and by family."""
    horizon, runs = asked.trust[0] if asked.fit.runs is not None else None, asked.fit.runs
    curve, unit = asked.curve, unit_of(asked)
    frame = curve.to_frame().sort_values(asked.scale)
    first, last = frame.iloc[0], frame.iloc[-1]
    size = SIZE[asked.scale]
    alt = (
        f"{unit.capitalize()} against {UNIT[asked.scale]}, both ends: {first['loss_median']:.3f} "
        f"at {size(first[asked.scale])}, {last['loss_median']:.3f} at {size(last[asked.scale])} "
        f"(90% interval of the mean {last['loss_lower']:.3f} to {last['loss_upper']:.3f}), with "
        f"bands of the {curve.meaning} and of {curve.meaning_new}"
        + ("" if runs is None else f", and {len(runs)} runs as points")
        + "."
    )
    caption = f"The line is the median, the bands are the {curve.meaning} and {curve.meaning_new}."
    if asked.split and runs is not None:
        caption += (
            " The curve is at the split that the laws find best; runs trained at another split "
            "lie above it."
        )

    def draw(ax: "Axes") -> None:
        if asked.scale == "lm_loss":
            plot_downstream(curve, ax, runs=runs)
        else:
            plot_forecast(curve, ax, scale=asked.scale, runs=runs, horizon=horizon)

    yield drawn(draw, alt, caption)
    yield _scales(asked)
    if len(asked.fit.members) > 1:
        _, answer = asked.forecast
        mass = answer("interval", form=as_share).text
        rows = tuple(
            (
                (law,),
                (answer("laws", law, "weight", form=as_share),),
                answer.middle("laws", law, "loss", form=as_loss),
            )
            for law in answer.raw("laws")
        )
        yield Table(
            "The next run, by each law alone",
            ("law", "share", f"loss, {asked.fit.meaning} ({mass})"),
            rows,
        )
    if asked.families:
        found = asked.families
        mass = next(iter(found.values()))("interval", form=as_share).text
        rows = tuple(
            (
                (family,),
                answer.middle("loss", form=as_loss),
                answer.middle("loss_new", form=as_loss),
            )
            for family, answer in found.items()
        )
        yield Table(
            "The next run, by family",
            (
                "family",
                f"loss, {asked.fit.meaning} ({mass})",
                f"loss, {curve.meaning_new} ({mass})",
            ),
            rows,
        )
        if len(asked.fit.families) > len(found):
            more = len(asked.fit.families) - len(found)
            yield Text((f"And {more} more families: bayescale forecast --family NAME.",))


def _scales(asked: Asked) -> Table:
    """The loss at the next scale and about it."""
    if asked.split:
        answer = asked.allocation[1]
        where = [(answer, ("budgets", i)) for i in range(len(asked.around))]
    else:
        where = [(answer, ()) for answer in asked.scales]
    mass = where[0][0]("interval", form=as_share).text
    rows = []
    for answer, at in where:
        row: list[Prose] = [(answer(*at, asked.scale, form=SIZE[asked.scale]),)]
        if asked.fit.runs is not None:
            row.append((answer(*at, "extrapolation_ratio", form=as_few),))
        if asked.split:
            row += [
                (answer(*at, "choice", name, form=format_size),) for name in ("params", "tokens")
            ]
        row.append(answer.middle(*at, "loss", form=as_loss))
        if answer.raw(*at, "loss_new") is not None:
            row.append(answer.middle(*at, "loss_new", form=as_loss))
        row.append((answer(*at, "verdict", form=lambda state: state.replace("_", " ")),))
        rows.append(tuple(row))
    columns = [
        UNIT[asked.scale],
        *(["times the largest run"] if asked.fit.runs is not None else []),
        *(["params", "tokens"] if asked.split else []),
        f"loss, {asked.fit.meaning} ({mass})",
        f"loss, {asked.curve.meaning_new} ({mass})",
        "verdict",
    ]
    if len(rows[0]) < len(columns):  # a point estimate says nothing of one run
        columns.pop(-2)
    return Table(
        f"The loss at the next scale and about it, in {unit_of(asked)}",
        tuple(columns),
        tuple(rows),
        words=(len(columns) - 1,),
    )
