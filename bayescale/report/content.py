"""What a report says, section by section; one that fails leaves the others standing."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayescale.errors import BayescaleError
from bayescale.plots import (
    plot_allocation,
    plot_coefficients,
    plot_coverage,
    plot_downstream,
    plot_forecast,
    plot_next_run,
    plot_trust,
)
from bayescale.posterior import Fit, Summary
from bayescale.report.asked import LOWER_LOSS, Asked, frame_of, named
from bayescale.report.blocks import (
    Answer,
    Block,
    Bullets,
    Checked,
    Checks,
    Facts,
    Failed,
    Figure,
    Prose,
    Report,
    Section,
    Table,
    Text,
)
from bayescale.report.checklist import REFERENCE, checklist
from bayescale.trust.checks import Check
from bayescale.trust.identifiability import identifiability_checks
from bayescale.trust.notes import fit_notes
from bayescale.units import format_size
from bayescale.verdict import BREAK, TOLERANCE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_RUNS, MOST_LEFT_OUT, MOST_CANDIDATES = 100, 50, 8
DENSE = 2000
"""Points from which on a figure holds a picture of them: as shapes they would fill the page."""

_OF_TRUST = ("converged", "precision", "coverage", "held-out runs", "laws agree", "surprising runs")
_STATES = {True: "pass", False: "fail", None: "information"}
_VERDICTS = {
    "inside": ("Inside the runs.", "good"),
    "trusted": ("Trusted.", "good"),
    "too_wide": ("Too wide.", "bad"),
    "failed": ("Failed.", "bad"),
    "untested": ("Untested.", "note"),
}
_LIMITS = {
    "precision": "Beyond, the loss is not known within the tolerance.",
    "backtest": "Beyond, intervals inside the runs did not cover.",
    "untested": "Beyond, nothing could be tested inside the runs.",
}


def report(
    fit: Fit,
    file: str | Path = "FIT.nc",
    *,
    flops: float | None = None,
    target: float | None = None,
    tolerance: float = TOLERANCE,
    family: str | None = None,
    laws: tuple[str, ...] = (),
    allow_unconverged: bool = False,
) -> Report:
    """Everything that a fit says of the next scale, for a page that can be sent.

    Parameters
    ----------
    fit : Posterior or Pool
    file : path
        The fit's file, as the commands in the report name it.
    flops : float, optional
        The next scale in FLOP. Ten times the largest run's where not given, or ten times the
        law's only input; for a law of the language model's loss, 5 % less than the lowest.
    target : float, optional
        A loss in nats per token, for the chance of ending below it.
    tolerance : float
        As for :func:`bayescale.forecast` and :func:`bayescale.trust`.
    family : str, optional
        A family of the fit; a new family where not given and families are pooled.
    laws : tuple of str
        The caller's own laws, as the command line names them.
    allow_unconverged : bool
        Report although the convergence gate was missed.

    Returns
    -------
    Report
        Its sections hold what could be made, and errors in the place of what could not.

    Raises
    ------
    LawError
        If the next scale is not one of the law, or must be named.
    UnconvergedError
        If the fit failed its convergence gate.

    Notes
    -----
    Nothing is sampled: of backtests, the report tells the one that ``bayescale trust`` has kept
    with the fit, or that there is none.
    """
    asked = Asked(
        fit=fit, file=str(file), flops=flops, target=target, tolerance=tolerance, family=family,
        own=laws, allow=allow_unconverged,
    )  # fmt: skip
    sections = tuple(_section(name, title, make, asked) for name, title, make in _sections(asked))
    n = 0 if fit.runs is None else len(fit.runs)
    whose = f"{n} runs say" if n else f"A point estimate of {fit.name} says"
    return Report(
        title=f"What {whose} of the next scale" if n else f"{whose} of the next scale",
        file=Path(file).name,
        date=datetime.now(UTC).date().isoformat(),
        law=fit.name,
        n_runs=n,
        converged=bool(fit.diagnostics["passed"]),
        reasons=tuple(fit.diagnostics["reasons"]),
        sections=sections,
        answers=tuple(asked.answers.values()),
    )


Make = Callable[[Asked], Iterator[Block]]


def _sections(asked: Asked) -> list[tuple[str, str, Make]]:
    decisions: list[tuple[str, str, Make]] = []
    if asked.split:
        decisions += [
            ("allocation", "Decision: how to split the budget", _allocation),
            ("data", "Decision: how much data the model needs", _data),
        ]
    if asked.split or asked.scale == "flops":
        decisions.append(("next_run", "Decision: which run to buy next", _next_run))
    return [
        ("answer", "The answer", _answer),
        ("coefficients", "Coefficients: before and after the runs", _coefficients),
        ("forecast", "Forecast", _forecast),
        ("trust", "How far to trust it", _trust),
        *decisions,
        ("limits", "What the runs cannot tell", _limits),
        ("checklist", "Checklist for readers", _checklist),
        ("provenance", "Provenance", _provenance),
    ]


def _section(name: str, title: str, make: Make, asked: Asked) -> Section:
    blocks: list[Block] = []
    try:
        blocks.extend(make(asked))
    except Exception as error:  # whatever it is, the other sections stand
        known = isinstance(error, BayescaleError)
        told = str(error) if known else f"{type(error).__name__}: {error}"
        return Section(name, title, (*blocks, Failed(title, told)), told)
    return Section(name, title, tuple(blocks))


# how values are written


def _loss(value: float) -> str:
    return f"{value:.4f}"


def _flop(value: float) -> str:
    return f"{value:.3g}".replace("e+", "e")


def _share(value: float) -> str:
    return f"{value:.0%}"


def _tenths(value: float) -> str:
    return f"{value:.1%}"


def _few(value: float) -> str:
    return f"{value:.3g}"


def _more(value: float) -> str:
    return f"{value:.4g}"


def _nats(value: float) -> str:
    return f"{value:.2g}".replace("e+", "e")


_SIZE: Mapping[str, Callable[[float], str]] = {
    "params": format_size, "tokens": format_size, "flops": _flop, "lm_loss": _few
}  # fmt: skip
_UNIT = {"params": "params", "tokens": "tokens", "flops": "FLOP", "lm_loss": "nats per token"}


def _unit(asked: Asked) -> str:
    return "mean error over tasks" if asked.scale == "lm_loss" else "nats per token"


# the answer first


def _next(asked: Asked) -> tuple[Answer, tuple[str | int, ...]]:
    """Where the next scale's loss and verdict stand."""
    if asked.split:
        return asked.allocation[1], ("budgets", asked.at)
    return asked.forecast[1], ()


def _answer(asked: Asked) -> Iterator[Block]:
    answer, at = _next(asked)
    mass = answer("interval", form=_share)
    where: Prose = (answer(*at, asked.scale, form=_SIZE[asked.scale]), f" {_UNIT[asked.scale]}")
    times: Prose = ()
    if asked.fit.runs is not None:
        ratio = answer(*at, "extrapolation_ratio", form=_few)
        times = (", ", ratio, " times the largest run")
        if asked.scale == "lm_loss":
            times = (f", {1 - LOWER_LOSS:.0%} less than the lowest seen",)
    run: Prose = ()
    if asked.split:
        params, tokens = (
            answer(*at, "choice", name, form=format_size) for name in ("params", "tokens")
        )
        run = (", spent on ", params, " params and ", tokens, " tokens,")
    mean = answer.middle(*at, "loss", form=_loss)
    unit = _unit(asked)
    yield Text(
        (
            "At ", *where, *times, *run, " the mean of runs reaches ", *mean,
            f" {unit}; in brackets, the ", mass, " interval.",
        ),
        "lead",
    )  # fmt: skip
    facts: list[tuple[str, Prose]] = [("Cost" if _costs(asked) else "Next scale", where)]
    if run:
        facts.append(("Split of least expected loss", (params, " params, ", tokens, " tokens")))
    facts.append(("Loss, mean of runs", (*mean, ", ", mass, " interval")))
    if answer.raw(*at, "loss_new") is not None:
        new = answer.middle(*at, "loss_new", form=_loss)
        facts.append(("Loss, one new run", (*new, ", ", mass, " interval")))
    if asked.target is not None:
        chance = asked.forecast[1]
        facts.append(
            (
                f"Chance that one new run is below {asked.target:g}",
                (chance("p_below_target", form=_share),),
            )
        )
    yield Facts(tuple(facts))
    word, tone = _VERDICTS[answer.raw(*at, "verdict")]
    yield Text((f"{word} ", answer(*at, "why")), tone)
    if asked.fit.runs is not None:
        yield from _horizon(asked)
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


def _horizon(asked: Asked) -> Iterator[Block]:
    result, answer = asked.trust
    limit = _LIMITS[result.limited_by] if asked.backtested else "Beyond, nothing was tested."
    if result.horizon_ratio > 1:
        size: Prose = ()
        if asked.scale != "lm_loss":
            size = (" (", answer("horizon", form=_SIZE[asked.scale]), f" {_UNIT[asked.scale]})")
        parts: Prose = (
            "Trust horizon: up to ", answer("horizon_ratio", form=_few),
            " times the largest run", *size, ", within ", answer("tolerance", form=_tenths),
            f" of the loss. {limit}",
        )  # fmt: skip
        yield Text(parts)
    else:
        parts = (
            "Trust horizon: none beyond the largest run, within ",
            answer("tolerance", form=_tenths), f" of the loss. {limit}",
        )  # fmt: skip
        yield Text(parts)
    if not asked.backtested:
        yield Text(
            (
                "This file holds no backtest, and without one nothing beyond the runs is trusted. "
                f"Make one, and this report again: {answer.command}",
            ),
            "note",
        )


# coefficients


def _coefficients(asked: Asked) -> Iterator[Block]:
    _, answer = asked.summary
    pooled = len(asked.fit.members) > 1
    yield Text(
        (
            "Coefficients take the law to hold exactly, as published ones do. ",
            "Learned is the share of the prior's spread, on a log scale, that the runs removed.",
        )
    )
    for (summary, at), member in zip(asked.summaries, asked.fit.members, strict=True):
        head = f"{summary.law}: " if pooled else ""
        rows = []
        described = member.card.parameters
        for group in ("coefficients", "drift"):
            for name in answer.raw(*at, group):
                where = (*at, group, name)
                prior: Prose = ("not drawn",)
                if answer.raw(*where, "prior") is not None:
                    prior = answer.between(*where, "prior", form=_more)[1:-1]
                rows.append(
                    (
                        (name,),
                        (described[name].meaning,),
                        (answer(*where, "median", form=_more),),
                        answer.between(*where, form=_more)[1:-1],
                        prior,
                        (answer(*where, "learned", form=_share, none="-"),),
                        (answer(*where, "unit"),),
                    )
                )
        mass = f"{summary.interval:.0%}"
        yield Table(
            f"{head}posterior and prior of every coefficient, of the noise and of the drift",
            ("", "meaning", "median", f"{mass} interval", f"prior, {mass}", "learned", "unit"),
            tuple(rows),
            words=(1, 6),
        )
        if summary.frame["prior_lower"].notna().any():
            yield _drawn(
                lambda ax, summary=summary: plot_coefficients(summary, ax),
                _coefficients_alt(summary),
                f"{head}posterior beside prior. Each row has a log scale of its own: the grey bar "
                "is the prior's interval.",
            )
    shares = answer.raw("weights") if pooled else {}
    if shares:
        told = named([f"{weight:.0%} {law}" for law, weight in shares.items()])
        yield Text((f"Forecasts and decisions answer from all laws together: {told}.",))
    yield Text((_sampled(asked.fit),), "" if asked.fit.diagnostics["passed"] else "bad")


def _coefficients_alt(summary: Summary) -> str:
    said = [
        f"{name} {row['median']:.4g}, {row['lower']:.4g} to {row['upper']:.4g}, before "
        f"{row['prior_lower']:.4g} to {row['prior_upper']:.4g}"
        for name, row in summary.to_frame().iterrows()
        if row["prior_lower"] == row["prior_lower"]
    ]
    return f"Posterior intervals of {summary.law} beside their priors. {'; '.join(said)}."


def _sampled(fit: Fit) -> str:
    d = fit.diagnostics
    if d.get("point"):
        return "A point estimate: one draw, nothing sampled."
    figures = (
        f"R-hat at most {d['rhat_max']:.3f}, effective draws at least "
        f"{min(d['ess_bulk_min'], d['ess_tail_min']):.0f}, {d['divergences']} divergences in "
        f"{d['n_draws']} draws"
    )
    if d["passed"]:
        return f"The sampler passed its gate: {figures}."
    return f"The sampler missed its gate, and nothing here is to be trusted: {figures}."


# forecast


def _forecast(asked: Asked) -> Iterator[Block]:
    horizon, runs = asked.trust[0] if asked.fit.runs is not None else None, asked.fit.runs
    curve, unit = asked.curve, _unit(asked)
    frame = curve.to_frame().sort_values(asked.scale)
    first, last = frame.iloc[0], frame.iloc[-1]
    size = _SIZE[asked.scale]
    alt = (
        f"{unit.capitalize()} against {_UNIT[asked.scale]}, both ends: {first['loss_median']:.3f} "
        f"at {size(first[asked.scale])}, {last['loss_median']:.3f} at {size(last[asked.scale])} "
        f"(90% interval of the mean {last['loss_lower']:.3f} to {last['loss_upper']:.3f}), with "
        f"bands of the mean of runs and of one new run"
        + ("" if runs is None else f", and {len(runs)} runs as points")
        + "."
    )
    caption = "The line is the median, the bands are the mean of runs and one new run."
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

    yield _drawn(draw, alt, caption)
    yield _scales(asked)
    if len(asked.fit.members) > 1:
        _, answer = asked.forecast
        mass = answer("interval", form=_share).text
        rows = tuple(
            (
                (law,),
                (answer("laws", law, "weight", form=_share),),
                answer.middle("laws", law, "loss", form=_loss),
            )
            for law in answer.raw("laws")
        )
        yield Table(
            "The next run, by each law alone",
            ("law", "share", f"loss, mean of runs ({mass})"),
            rows,
        )
    if asked.families:
        found = asked.families
        mass = next(iter(found.values()))("interval", form=_share).text
        rows = tuple(
            (
                (family,),
                answer.middle("loss", form=_loss),
                answer.middle("loss_new", form=_loss),
            )
            for family, answer in found.items()
        )
        yield Table(
            "The next run, by family",
            ("family", f"loss, mean of runs ({mass})", f"loss, one new run ({mass})"),
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
    mass = where[0][0]("interval", form=_share).text
    rows = []
    for answer, at in where:
        row: list[Prose] = [(answer(*at, asked.scale, form=_SIZE[asked.scale]),)]
        if asked.fit.runs is not None:
            row.append((answer(*at, "extrapolation_ratio", form=_few),))
        if asked.split:
            row += [
                (answer(*at, "choice", name, form=format_size),) for name in ("params", "tokens")
            ]
        row.append(answer.middle(*at, "loss", form=_loss))
        if answer.raw(*at, "loss_new") is not None:
            row.append(answer.middle(*at, "loss_new", form=_loss))
        row.append((answer(*at, "verdict", form=lambda state: state.replace("_", " ")),))
        rows.append(tuple(row))
    columns = [
        _UNIT[asked.scale],
        *(["times the largest run"] if asked.fit.runs is not None else []),
        *(["params", "tokens"] if asked.split else []),
        f"loss, mean of runs ({mass})",
        f"loss, one new run ({mass})",
        "verdict",
    ]
    if len(rows[0]) < len(columns):  # a point estimate says nothing of one run
        columns.pop(-2)
    return Table(
        f"The loss at the next scale and about it, in {_unit(asked)}",
        tuple(columns),
        tuple(rows),
        words=(len(columns) - 1,),
    )


# trust


def _trust(asked: Asked) -> Iterator[Block]:
    result, answer = asked.trust
    yield from _horizon(asked)
    own, _ = _parted(result.checks)
    yield _checks(own, answer)
    far = result.path.iloc[-1]
    width = f"{far['half_width']:.1%} at {far['ratio']:g} times"
    yield _drawn(
        lambda ax: plot_trust(result, ax),
        f"Half the width of the interval of the mean loss against how many times larger: "
        f"{result.path['half_width'].iloc[0]:.1%} at the largest run, {width}. Tolerance "
        f"{result.tolerance:.1%}; horizon {result.horizon_ratio:.3g} times.",
        "How precisely the mean loss is known, the farther out.",
    )
    if result.bins:
        rows = tuple(
            (
                (answer("bins", i, "lower", form=_few), " to ", answer("bins", i, "upper",
                                                                       form=_few)),
                (answer("bins", i, "n"),),
                (answer("bins", i, "n_covered"),),
                (answer("bins", i, "n_cutoffs"),),
                (answer("bins", i, "coverage90", form=_share),),
            )
            for i in range(len(result.bins))
        )  # fmt: skip
        yield Table(
            "Backtests inside the runs: held-out larger runs inside their 90% interval",
            ("times larger", "held out", "covered", "cutoffs", "averaged over cutoffs"),
            rows,
        )
        covered = "; ".join(
            f"{b['n_covered']} of {b['n']} at {b['lower']:g} to {b['upper']:g} times"
            for b in result.bins
        )
        yield _drawn(
            lambda ax: plot_coverage(result, ax),
            f"Held-out larger runs inside their 90% interval: {covered}.",
            "What backtests inside the runs covered, by how many times larger the run was.",
        )
    yield Text((answer("caveat"),))


def _parted(checks: tuple[Check, ...]) -> tuple[list[int], list[int]]:
    """Places of checks of extrapolation, and of those of what the runs can tell."""
    own = [i for i, check in enumerate(checks) if check.name in _OF_TRUST]
    return own, [i for i in range(len(checks)) if i not in own]


def _checks(which: list[int], answer: Answer) -> Checks:
    return Checks(
        tuple(
            Checked(
                answer.raw("checks", i, "name").replace("_", " "),
                _STATES[answer.raw("checks", i, "passed")],
                (answer("checks", i, "text"),),
            )
            for i in which
        )
    )


# decisions


def _allocation(asked: Asked) -> Iterator[Block]:
    result, answer = asked.allocation
    at = ("budgets", asked.at)
    mass = answer("interval", form=_share)
    yield Facts(
        (
            ("Budget", (answer(*at, "flops", form=_flop), " FLOP")),
            (
                "Split of least expected loss",
                (answer(*at, "choice", "params", form=format_size), " params, ",
                 answer(*at, "choice", "tokens", form=format_size), " tokens"),
            ),
            (
                "Regret expected",
                (answer(*at, "expected_regret", "loss", form=_nats), " nats per token, as if ",
                 answer(*at, "expected_regret", "flops", form=_nats), " FLOP were wasted"),
            ),
        )
    )  # fmt: skip
    yield Text(
        (
            "Each draw has a best split of its own: params ",
            *answer.middle(*at, "params", form=format_size), ", tokens ",
            *answer.middle(*at, "tokens", form=format_size), ", tokens per param ",
            *answer.middle(*at, "tokens_per_param", form=_few), "; ", mass, " intervals. ",
            "Regret is what the choice gives up on those: ",
            *answer.middle(*at, "regret", "loss", form=_nats), " nats per token.",
        )
    )  # fmt: skip
    exponent = answer.middle("exponent", form=lambda value: f"{value:.3f}")
    yield Text(("Best params grow as C to the power ", *exponent, "."))
    rows = tuple(
        (
            (answer("budgets", i, "flops", form=_flop),),
            (answer("budgets", i, "choice", "params", form=format_size),),
            (answer("budgets", i, "choice", "tokens", form=format_size),),
            answer.middle("budgets", i, "tokens_per_param", form=_few),
            (answer("budgets", i, "expected_regret", "loss", form=_nats),),
            (answer("budgets", i, "expected_regret", "flops", form=_nats),),
        )
        for i in range(len(asked.around))
    )
    yield Table(
        "The frontier",
        ("FLOP", "params", "tokens", f"tokens per param, best ({mass.text})",
         "regret expected, nats", "wasted, FLOP"),
        rows,
    )  # fmt: skip
    ends = result.to_frame().iloc[[0, -1]]
    told = " to ".join(
        f"{format_size(row['choice_params'])} params on {format_size(row['choice_tokens'])} tokens "
        f"at {row['flops']:.3g} FLOP"
        for row in ends.to_dict(orient="records")
    )
    yield _drawn(
        lambda ax: plot_allocation(result, ax),
        f"Parameters and tokens of least expected loss against the budget: {told}.",
        "Parameters and tokens to choose; the bands hold each draw's own best split.",
    )
    if answer.raw(*at, "across"):
        yield Bullets(
            tuple(
                (
                    "If ", answer(*at, "across", i, "holds"), " holds, ",
                    answer(*at, "across", i, "follow"), "'s choice wastes ",
                    answer(*at, "across", i, "wasted", form=_nats), " FLOP and ",
                    answer(*at, "across", i, "regret", form=_nats), " nats per token.",
                )
                for i in range(len(answer.raw(*at, "across")))
            )
        )  # fmt: skip
    yield Text(
        (
            "Limits on tokens, params or sizes, tokens to be served, prices and named splits: "
            "bayescale allocate --help.",
        )
    )


def _data(asked: Asked) -> Iterator[Block]:
    answer = asked.data
    mass = answer("interval", form=_share)
    needed = answer.middle("tokens_needed", form=format_size, none="out of reach")
    yield Text(
        (
            "A model of ", answer("params", form=format_size), " params needs ", *needed,
            " tokens (", mass, " interval), so that finite data add at most ",
            answer("overfit", form=_share), " to its loss.",
        )
    )  # fmt: skip
    if answer.raw("p_reachable") < 1:
        yield Text(
            ("Some amount of tokens is enough with a chance of ",
             answer("p_reachable", form=_share), "."),
            "note",
        )  # fmt: skip
    if answer.raw("laws"):
        yield Table(
            "By each law alone",
            ("law", f"tokens needed ({mass.text})"),
            tuple(
                ((law,), answer.middle("laws", law, "tokens_needed", form=format_size,
                                       none="out of reach"))
                for law in answer.raw("laws")
            ),
        )  # fmt: skip
    yield Text(
        (
            "This compares with endless data, where no run can show how the law drifts, so the law "
            "is taken to hold exactly. For a loss to be reached: bayescale data --target.",
        )
    )


def _next_run(asked: Asked) -> Iterator[Block]:
    result, answer = asked.next_run
    yield Text(
        (
            "The log of the mean loss at the next scale is known within a standard deviation of ",
            answer("candidates", 0, "sd_before", form=lambda value: f"{value:.2%}"),
            ". For ", answer("budget", form=_flop),
            " FLOP, as much as the largest run, these runs would narrow it most for their price:",
        )
    )  # fmt: skip
    names = [name for name in ("params", "tokens", "flops") if name in result.candidates]
    good = result.candidates["affordable"] & result.candidates["worthwhile"]
    shown = [int(i) for i in good[good].index[:MOST_CANDIDATES]]
    if not shown:
        yield Text(("None of the candidates would take off a hundredth of it: buy none.",), "note")
    else:
        yield Table(
            "Candidate runs, best for their price first",
            (*(_UNIT[name] for name in names), "leaves, sd", "taken off per 1e18 FLOP"),
            tuple(
                (
                    *((answer("candidates", i, name, form=_SIZE[name]),) for name in names),
                    (answer("candidates", i, "sd_after", form=lambda value: f"{value:.2%}"),),
                    (answer("candidates", i, "reduction_per_flop",
                            form=lambda value: f"{1e18 * value:.2g}"),),
                )
                for i in shown
            ),
        )  # fmt: skip
    if len(result.batch):
        buys = []
        for i in range(len(result.batch)):
            sizes = [
                part
                for name in names
                for part in (answer("batch", i, name, form=_SIZE[name]), f" {_UNIT[name]}, ")
            ]
            left = answer("batch", i, "sd_after", form=lambda value: f"{value:.2%}")
            buys.append((*sizes, "leaves ", left, " in all."))
        yield Text(("To buy within the budget, in this order:",))
        yield Bullets(tuple(buys))
    left = result.candidates["sd_after"]
    yield _drawn(
        lambda ax: plot_next_run(result, ax),
        f"{len(left)} candidate runs by what buying each would leave of the uncertainty: from "
        f"{left.min():.2%} to {left.max():.2%}; {len(result.batch)} marked to buy.",
        "Candidate runs, and what each would leave of the uncertainty about the next scale.",
    )


# what it cannot say


def _limits(asked: Asked) -> Iterator[Block]:
    fit = asked.fit
    if fit.runs is None:
        checks = identifiability_checks(fit)
        yield Checks(
            tuple(Checked(c.name.replace("_", " "), _STATES[c.passed], (c.text,)) for c in checks)
        )
        return
    result, answer = asked.trust
    _, rest = _parted(result.checks)
    yield _checks(rest, answer)
    planned = []
    for law, design in asked.design:
        for i, check in enumerate(design.raw("checks")):
            if check["name"] == "expected_learning":
                name = "expected learning" if len(fit.members) == 1 else f"{law}.expected learning"
                state = _STATES[check["passed"]]
                planned.append(Checked(name, state, (design("checks", i, "text"),)))
    yield Text(("By the design of the runs alone, before any loss was seen:",))
    yield Checks(tuple(planned))
    _, summary = asked.summary
    for (_, at), member in zip(asked.summaries, fit.members, strict=True):
        head = f"{member.name}: " if len(fit.members) > 1 else ""
        yield from _surprises(summary, at, head)
    notes = fit_notes(fit)
    if notes:
        yield Text(("Warnings:",))
        yield Bullets(tuple((f"{note.code.replace('_', ' ')}: {note.text}",) for note in notes))
    yield Text((f"{BREAK} No backtest sees one that lies beyond the data.",))


def _surprises(summary: Answer, at: tuple[str | int, ...], head: str) -> Iterator[Block]:
    found = summary.raw(*at, "surprising_runs")
    if not found:
        return
    shown = min(len(found), 20)
    yield Table(
        f"{head}runs that the law does not explain, by leave-one-out"
        + (f" (the first {shown} of {len(found)})" if shown < len(found) else ""),
        ("run", "loss", "law says", "why"),
        tuple(
            (
                (summary(*at, "surprising_runs", i, "run_id"),),
                (summary(*at, "surprising_runs", i, "loss", form=_loss),),
                (summary(*at, "surprising_runs", i, "expected", form=_loss),),
                (summary(*at, "surprising_runs", i, "why"),),
            )
            for i in range(shown)
        ),
        words=(3,),
    )
    without = (*at, "without_surprising_runs")
    if summary.raw(*without) is not None:
        yield Table(
            f"{head}coefficients with all runs, and without the surprising ones (90% intervals)",
            ("", "with", "without"),
            tuple(
                (
                    (name,),
                    summary.middle(*without, "coefficients", name, "with", form=_more),
                    summary.middle(*without, "coefficients", name, "without", form=_more),
                )
                for name in summary.raw(*without, "coefficients")
            ),
        )


def _checklist(asked: Asked) -> Iterator[Block]:
    scale = _SIZE[asked.scale](asked.next)
    of = f"loss at {scale} {_UNIT[asked.scale]}"
    items = checklist(asked.fit, asked=f"{of}, and how to split that budget" if asked.split else of)
    blank = sum(item.answer is None for item in items)
    yield Text(
        (
            "What a reader needs in order to judge a scaling law, after the themes of "
            f"{REFERENCE}. {blank} of {len(items)} points are not recorded in the fit's file: tell "
            "them beside this report.",
        )
    )
    for theme in dict.fromkeys(item.theme for item in items):
        yield Table(
            theme,
            ("question", "answer"),
            tuple(
                ((item.question,), (item.answer or "not recorded",))
                for item in items
                if item.theme == theme
            ),
            words=(1,),
        )


def _provenance(asked: Asked) -> Iterator[Block]:
    fit = asked.fit
    record, runs = fit.record["provenance"], fit.runs
    facts: list[tuple[str, Prose]] = [("Fit", (Path(asked.file).name,))]
    if runs is not None:
        facts += [("Run log", (runs.source,)), ("Runs", (str(len(runs)),))]
        facts.append(("SHA-256 of the runs", (runs.digest,)))
    for member in fit.members:
        own = member.record["provenance"]
        facts.append((f"Card of {member.name}", (member.card.name,)))
        if "card_sha256" in own:
            facts.append((f"SHA-256 of card {member.card.name}", (own["card_sha256"],)))
    facts.append(("Seed", (str(record.get("seed", "not recorded")),)))
    told = ("seed", "runs", "runs_sha256", "card", "card_sha256")
    versions = [f"{name} {version}" for name, version in record.items() if name not in told]
    facts.append(("Versions at the fit", (", ".join(versions) or "not recorded",)))
    created = fit.members[0].draws.attrs.get("created_at")
    facts.append(("Sampled", (str(created)[:10] if created else "not recorded",)))
    kept = fit.record.get("backtest")
    facts.append(
        (
            "Backtest kept",
            (f"{kept['refits']} refits, {kept['n']} forecasts of held-out runs" if kept
             else "none",),
        )
    )  # fmt: skip
    yield Facts(tuple(facts))
    if runs is not None:
        yield Table(
            "Where each column comes from",
            ("column", "from"),
            tuple(((name,), (place,)) for name, place in runs.columns.items()),
            words=(1,),
        )
        if runs.dropped:
            shown = runs.dropped[:MOST_LEFT_OUT]
            more = len(runs.dropped) - len(shown)
            yield Table(
                f"Runs left out{f' (and {more} more)' if more else ''}",
                ("run", "why"),
                tuple(((item.id,), (item.reason,)) for item in shown),
                words=(1,),
            )
        yield _runs_table(asked)
    yield Text(("Commands that give these numbers:",))
    yield Bullets(tuple((answer.command,) for answer in asked.answers.values()), "commands")
    for member in fit.members:
        yield Text((f"{member.card.title}. {' '.join(member.card.references)}",))


def _runs_table(asked: Asked) -> Table:
    assert asked.fit.runs is not None
    frame, more = frame_of(asked.fit.runs.frame, MOST_RUNS)
    forms = {name: form for name, form in _SIZE.items() if name in frame} | {"loss": _loss}
    names = [name for name in ("family", *forms) if name in frame]
    rows = tuple(
        (
            (str(row["run_id"]),),
            *((forms.get(name, str)(row[name]),) for name in names),
        )
        for row in frame.to_dict(orient="records")
    )
    return Table(
        f"The runs{f', the {len(rows)} of lowest loss (and {more} more)' if more else ''}",
        ("run", *names),
        rows,
        words=(1,) if "family" in names else (),
        folded=True,
    )


# figures


def _drawn(draw: Callable[["Axes"], Any], alt: str, caption: str) -> Figure:
    """A figure of its own, away from pyplot's list of open ones."""
    from io import BytesIO

    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(6.2, 4.0), layout="constrained")
    ax = canvas.subplots()
    draw(ax)
    for line in ax.get_lines():
        line.set_rasterized(len(line.get_xdata()) > DENSE)  # pyright: ignore[reportArgumentType]
    into = BytesIO()
    with rc_context({"svg.hashsalt": "bayescale"}):
        canvas.savefig(into, format="svg", dpi=150, metadata={"Date": None})
    return Figure(into.getvalue(), alt, caption)
