"""What the answer rests on: coefficients, trust, and what the runs cannot tell."""

from collections.abc import Iterator

from bayescale.findings import Finding
from bayescale.plotting import plot_coefficients, plot_coverage, plot_trust
from bayescale.posterior import Summary, diagnosis
from bayescale.reporting.blocks import (
    Answer,
    Block,
    Bullets,
    Checked,
    Checks,
    Prose,
    Table,
    Text,
)
from bayescale.reporting.figures import drawn
from bayescale.reporting.formatting import (
    SIZE,
    UNIT,
    as_loss,
    as_share,
    as_tenths,
    four_digits,
    three_digits,
)
from bayescale.reporting.questions import Questions, named
from bayescale.validation.identifiability import identifiability_checks
from bayescale.validation.notes import fit_notes
from bayescale.verdict import BREAK

_OF_TRUST = ("converged", "precision", "coverage", "held_out_runs", "laws_agree", "outliers")
STATES = {True: "pass", False: "fail", None: "information"}
MOST_OUTLIERS = 20
_LIMITS = {
    "precision": "Beyond, the loss is not known within the tolerance.",
    "backtest": "Beyond, intervals inside the runs did not cover.",
    "untested": "Beyond, nothing could be tested inside the runs.",
}


def told_coefficients(questions: Questions) -> Iterator[Block]:
    """Prior and posterior of every coefficient, law by law."""
    _, answer = questions.summary
    pooled = len(questions.fit.members) > 1
    yield Text(
        (
            "Coefficients take the law to hold exactly, as published ones do. ",
            "Learned is the share of the prior's spread, on a log scale, that the runs removed.",
        )
    )
    for (summary, at), member in zip(questions.summaries, questions.fit.members, strict=True):
        head = f"{summary.law}: " if pooled else ""
        rows = []
        described = member.card.parameters
        for group in ("coefficients", "drift"):
            for name in answer.raw(*at, group):
                where = (*at, group, name)
                prior: Prose = ("not drawn",)
                if answer.raw(*where, "prior") is not None:
                    prior = answer.between(*where, "prior", form=four_digits)[1:-1]
                rows.append(
                    (
                        (name,),
                        (f"{described[name].meaning} (", answer(*where, "unit"), ")"),
                        (answer(*where, "median", form=four_digits),),
                        answer.between(*where, form=four_digits)[1:-1],
                        prior,
                        (answer(*where, "contraction", form=as_share, none="-"),),
                    )
                )
        mass = f"{summary.ci_prob:.0%}"
        yield Table(
            f"{head}Posterior and prior of every coefficient, of the noise and of the drift",
            ("", "meaning", "median", f"{mass} interval", f"prior, {mass}", "contraction"),
            tuple(rows),
            words=(1,),
        )
        if summary.frame["prior_lower"].notna().any():
            yield drawn(
                lambda ax, summary=summary: plot_coefficients(summary, ax),
                _coefficients_alt(summary),
                f"{head}Posterior beside prior. Each row has a log scale of its own: the grey bar "
                "is the prior's interval.",
            )
    shares = answer.raw("weights") if pooled else {}
    if shares:
        told = named([f"{weight:.0%} {law}" for law, weight in shares.items()])
        yield Text((f"Forecasts and decisions answer from all laws together: {told}.",))
    d = questions.fit.diagnostics
    yield Text((diagnosis(d),), "" if d["passed"] else "bad")


def _coefficients_alt(summary: Summary) -> str:
    said = [
        f"{name} {row['median']:.4g}, {row['lower']:.4g} to {row['upper']:.4g}, before "
        f"{row['prior_lower']:.4g} to {row['prior_upper']:.4g}"
        for name, row in summary.to_frame().iterrows()
        if row["prior_lower"] == row["prior_lower"]
    ]
    return f"Posterior intervals of {summary.law} beside their priors. {'; '.join(said)}."


def horizon_told(questions: Questions) -> Iterator[Block]:
    """The trust horizon in a sentence, and what to run where nothing was tested."""
    result, answer = questions.trust
    limit = _LIMITS[result.limited_by] if questions.backtested else "Beyond, nothing was tested."
    if result.horizon_ratio > 1:
        size = (" (", answer("horizon", form=SIZE[questions.scale]), f" {UNIT[questions.scale]})")
        parts: Prose = (
            "Trust horizon: up to ", answer("horizon_ratio", form=three_digits),
            " times the largest run", *size, ", within ", answer("tolerance", form=as_tenths),
            f" of the loss. {limit}",
        )  # fmt: skip
        yield Text(parts)
    else:
        parts = (
            "Trust horizon: none beyond the largest run, within ",
            answer("tolerance", form=as_tenths), f" of the loss. {limit}",
        )  # fmt: skip
        yield Text(parts)
    if not questions.backtested:
        yield Text(
            (
                "This file holds no backtest, and without one nothing beyond the runs is trusted. "
                f"Make one, and this report again: {answer.command}",
            ),
            "note",
        )


def told_trust(questions: Questions) -> Iterator[Block]:
    """The horizon, each check, and what backtests covered."""
    result, answer = questions.trust
    yield from horizon_told(questions)
    own, _ = parted(result.checks)
    yield checks_of(own, answer)
    far = result.path.iloc[-1]
    width = f"{far['half_width']:.1%} at {far['ratio']:g} times"
    yield drawn(
        lambda ax: plot_trust(result, ax),
        f"Half the width of the interval of the mean loss against how many times larger: "
        f"{result.path['half_width'].iloc[0]:.1%} at the largest run, {width}. Tolerance "
        f"{result.tolerance:.1%}; horizon {result.horizon_ratio:.3g} times.",
        "How precisely the mean loss is known, the farther out.",
    )
    if result.bins:
        rows = tuple(
            (
                (answer("bins", i, "lower", form=three_digits), " to ", answer("bins", i, "upper",
                                                                       form=three_digits)),
                (answer("bins", i, "n"),),
                (answer("bins", i, "n_covered"),),
                (answer("bins", i, "n_cutoffs"),),
                (answer("bins", i, "coverage90", form=as_share),),
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
        yield drawn(
            lambda ax: plot_coverage(result, ax),
            f"Held-out larger runs inside their 90% interval: {covered}.",
            "What backtests inside the runs covered, by how many times larger the run was.",
        )
    yield Text((answer("caveat"),))


def _spelt(name: str) -> str:
    """A check's name in words; the law's before it stays as it is."""
    law, dot, check = name.rpartition(".")
    return f"{law}{dot}{check.replace('_', ' ')}"


def parted(checks: tuple[Finding, ...]) -> tuple[list[int], list[int]]:
    """Places of checks of extrapolation, and of those of what the runs can tell."""
    own = [i for i, check in enumerate(checks) if check.code in _OF_TRUST]
    return own, [i for i in range(len(checks)) if i not in own]


def checks_of(which: list[int], answer: Answer) -> Checks:
    """These of an answer's checks."""
    return Checks(
        tuple(
            Checked(
                _spelt(answer.raw("checks", i, "name")),
                STATES[answer.raw("checks", i, "passed")],
                (answer("checks", i, "text"),),
            )
            for i in which
        )
    )


def told_limits(questions: Questions) -> Iterator[Block]:
    """What the runs could not tell apart, runs that stand out, and warnings."""
    fit = questions.fit
    if fit.runs is None:
        checks = identifiability_checks(fit)
        yield Checks(
            tuple(Checked(c.code.replace("_", " "), STATES[c.passed], (c.text,)) for c in checks)
        )
        return
    result, answer = questions.trust
    _, rest = parted(result.checks)
    yield checks_of(rest, answer)
    planned = []
    for law, design in questions.design:
        for i, check in enumerate(design.raw("checks")):
            if check["name"] == "expected_contraction":
                name = "expected learning" if len(fit.members) == 1 else f"{law}.expected learning"
                state = STATES[check["passed"]]
                planned.append(Checked(name, state, (design("checks", i, "text"),)))
    yield Text(("By the design of the runs alone, before any loss was seen:",))
    yield Checks(tuple(planned))
    _, summary = questions.summary
    for (_, at), member in zip(questions.summaries, fit.members, strict=True):
        head = f"{member.name}: " if len(fit.members) > 1 else ""
        yield from _surprises(summary, at, head)
    notes = fit_notes(fit)
    if notes:
        yield Text(("Warnings:",))
        yield Bullets(tuple((f"{note.code.replace('_', ' ')}: {note.text}",) for note in notes))
    yield Text((f"{BREAK} No backtest sees one that lies beyond the data.",))


def _surprises(summary: Answer, at: tuple[str | int, ...], head: str) -> Iterator[Block]:
    found = summary.raw(*at, "outliers")
    if not found:
        return
    shown = min(len(found), MOST_OUTLIERS)
    yield Table(
        f"{head}Runs that the law does not explain, by leave-one-out"
        + (f" (the first {shown} of {len(found)})" if shown < len(found) else ""),
        ("run", "loss", "law says", "why"),
        tuple(
            (
                (summary(*at, "outliers", i, "run_id"),),
                (summary(*at, "outliers", i, "loss", form=as_loss),),
                (summary(*at, "outliers", i, "expected", form=as_loss),),
                (summary(*at, "outliers", i, "why"),),
            )
            for i in range(shown)
        ),
        words=(3,),
    )
    without = (*at, "without_outliers")
    if summary.raw(*without) is not None:
        yield Table(
            f"{head}Coefficients with all runs, and without the surprising ones (90% intervals)",
            ("", "with", "without"),
            tuple(
                (
                    (name,),
                    summary.middle(*without, "coefficients", name, "with", form=four_digits),
                    summary.middle(*without, "coefficients", name, "without", form=four_digits),
                )
                for name in summary.raw(*without, "coefficients")
            ),
        )
