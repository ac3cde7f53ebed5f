"""The answer, and the forecast behind it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bayescale.plotting import plot_downstream, plot_forecast
from bayescale.reporting.blocks import Answer, Block, Facts, Prose, Table, Text
from bayescale.reporting.evidence import horizon_told
from bayescale.reporting.figures import drawn
from bayescale.reporting.formatting import SIZE, UNIT, as_loss, as_share, three_digits, unit_of
from bayescale.reporting.questions import Questions
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


def _next(questions: Questions) -> tuple[Answer, tuple[str | int, ...]]:
    """Where the next scale's loss and verdict stand."""
    if questions.split:
        return questions.allocation[1], ("budgets", questions.at)
    return questions.forecast[1], ()


def told_answer(questions: Questions) -> Iterator[Block]:
    """What the next scale costs, what it reaches, and how far to trust it."""
    answer, at = _next(questions)
    mass = answer("interval", form=as_share)
    where: Prose = (
        answer(*at, questions.scale, form=SIZE[questions.scale]),
        f" {UNIT[questions.scale]}",
    )
    times: Prose = ()
    if questions.fit.runs is not None:
        ratio = answer(*at, "extrapolation_ratio", form=three_digits)
        times = (", ", ratio, " times the largest run")
        if questions.scale == "lm_loss":
            times = (f", {1 - NEXT_LOWER_LOSS:.0%} less than the lowest seen,",)
    run: Prose = ()
    if questions.split:
        params, tokens = (
            answer(*at, "choice", name, form=format_size) for name in ("params", "tokens")
        )
        run = (", spent on ", params, " params and ", tokens, " tokens,")
    mean = answer.middle(*at, "loss", form=as_loss)
    unit = unit_of(questions)
    yield Text(
        (
            "At ", *where, *times, *run, f" the {questions.fit.meaning} reaches ", *mean,
            f" {unit}; in brackets, the ", mass, " interval.",
        ),
        "lead",
    )  # fmt: skip
    facts: list[tuple[str, Prose]] = [("Cost" if _costs(questions) else "Next scale", where)]
    if run:
        facts.append(("Split of least expected loss", (params, " params, ", tokens, " tokens")))
    facts.append((f"Loss, {questions.fit.meaning}", (*mean, ", ", mass, " interval")))
    if answer.raw(*at, "loss_new") is not None:
        new = answer.middle(*at, "loss_new", form=as_loss)
        facts.append(
            (f"Loss, {questions.forecast[0].meaning_new}", (*new, ", ", mass, " interval"))
        )
    if questions.target is not None:
        chance = questions.forecast[1]
        facts.append(
            (
                f"Chance that a single new run is below {questions.target:g}",
                (chance("p_below_target", form=as_share),),
            )
        )
    yield Facts(tuple(facts))
    word, tone = _VERDICTS[answer.raw(*at, "verdict")]
    yield Text((f"{word} ", answer(*at, "why")), tone)
    if questions.fit.runs is not None:
        yield from horizon_told(questions)
    if questions.family or questions.fit.families:
        yield Text(
            (f"All of this is for the family {questions.family}.",)
            if questions.family
            else (
                "The log has several families. All of this is for a new one, drawn from the spread "
                "between those known; for each of them see the forecast.",
            )
        )


def _costs(questions: Questions) -> bool:
    return questions.scale == "flops"


def told_forecast(questions: Questions) -> Iterator[Block]:
    """The loss along the scale, about the next one, by law and by family."""
    horizon, runs = (
        questions.trust[0] if questions.fit.runs is not None else None,
        questions.fit.runs,
    )
    curve, unit = questions.curve, unit_of(questions)
    frame = curve.to_frame().sort_values(questions.scale)
    first, last = frame.iloc[0], frame.iloc[-1]
    size = SIZE[questions.scale]
    alt = (
        f"{unit.capitalize()} against {UNIT[questions.scale]}, both ends: "
        f"{first['loss_median']:.3f} "
        f"at {size(first[questions.scale])}, {last['loss_median']:.3f} "
        f"at {size(last[questions.scale])} "
        f"(90% interval of the mean {last['loss_lower']:.3f} to {last['loss_upper']:.3f}), with "
        f"bands of the {curve.meaning} and of {curve.meaning_new}"
        + ("" if runs is None else f", and {len(runs)} runs as points")
        + "."
    )
    caption = f"The line is the median, the bands are the {curve.meaning} and {curve.meaning_new}."
    if questions.split and runs is not None:
        caption += (
            " The curve is at the split that the laws find best; runs trained at another split "
            "lie above it."
        )

    def draw(ax: "Axes") -> None:
        if questions.scale == "lm_loss":
            plot_downstream(curve, ax, runs=runs)
        else:
            plot_forecast(curve, ax, scale=questions.scale, runs=runs, horizon=horizon)

    yield drawn(draw, alt, caption)
    yield _scales(questions)
    if len(questions.fit.members) > 1:
        _, answer = questions.forecast
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
            ("law", "share", f"loss, {questions.fit.meaning} ({mass})"),
            rows,
        )
    if questions.families:
        found = questions.families
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
                f"loss, {questions.fit.meaning} ({mass})",
                f"loss, {curve.meaning_new} ({mass})",
            ),
            rows,
        )
        if len(questions.fit.families) > len(found):
            more = len(questions.fit.families) - len(found)
            yield Text((f"And {more} more families: bayescale forecast --family NAME.",))


def _scales(questions: Questions) -> Table:
    """The loss at the next scale and about it."""
    if questions.split:
        answer = questions.allocation[1]
        where = [(answer, ("budgets", i)) for i in range(len(questions.around))]
    else:
        where = [(answer, ()) for answer in questions.scales]
    mass = where[0][0]("interval", form=as_share).text
    rows = []
    for answer, at in where:
        row: list[Prose] = [(answer(*at, questions.scale, form=SIZE[questions.scale]),)]
        if questions.fit.runs is not None:
            row.append((answer(*at, "extrapolation_ratio", form=three_digits),))
        if questions.split:
            row += [
                (answer(*at, "choice", name, form=format_size),) for name in ("params", "tokens")
            ]
        row.append(answer.middle(*at, "loss", form=as_loss))
        if answer.raw(*at, "loss_new") is not None:
            row.append(answer.middle(*at, "loss_new", form=as_loss))
        row.append((answer(*at, "verdict", form=lambda state: state.replace("_", " ")),))
        rows.append(tuple(row))
    columns = [
        UNIT[questions.scale],
        *(["times the largest run"] if questions.fit.runs is not None else []),
        *(["params", "tokens"] if questions.split else []),
        f"loss, {questions.fit.meaning} ({mass})",
        f"loss, {questions.curve.meaning_new} ({mass})",
        "verdict",
    ]
    if len(rows[0]) < len(columns):  # a point estimate says nothing of one run
        columns.pop(-2)
    return Table(
        f"The loss at the next scale and about it, in {unit_of(questions)}",
        tuple(columns),
        tuple(rows),
        words=(len(columns) - 1,),
    )
