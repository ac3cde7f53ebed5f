"""Where a fit comes from, and what a reader would have to know besides."""

from collections.abc import Iterator
from pathlib import Path

from bayescale.reporting.blocks import Block, Bullets, Facts, Prose, Table, Text
from bayescale.reporting.checklist import REFERENCE, checklist
from bayescale.reporting.formatting import SIZE, UNIT, as_loss
from bayescale.reporting.questions import Questions, frame_of

MOST_RUNS, MOST_LEFT_OUT = 100, 50


def told_checklist(questions: Questions) -> Iterator[Block]:
    """The checklist, theme by theme, with its blanks named."""
    scale = SIZE[questions.scale](questions.next)
    of = f"loss at {scale} {UNIT[questions.scale]}"
    items = checklist(
        questions.fit, questions=f"{of}, and how to split that budget" if questions.split else of
    )
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


def told_provenance(questions: Questions) -> Iterator[Block]:
    """Runs, cards, seed, versions, and the commands behind every number."""
    fit = questions.fit
    record, runs = fit.record["provenance"], fit.runs
    facts: list[tuple[str, Prose]] = [("Fit", (Path(questions.file).name,))]
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
        yield _runs_table(questions)
    yield Text(("Commands that give these numbers:",))
    yield Bullets(tuple((answer.command,) for answer in questions.answers.values()), "commands")
    for member in fit.members:
        yield Text((f"{member.card.title}. {' '.join(member.card.references)}",))


def _runs_table(questions: Questions) -> Table:
    assert questions.fit.runs is not None
    frame, more = frame_of(questions.fit.runs.frame, MOST_RUNS)
    forms = {name: form for name, form in SIZE.items() if name in frame} | {"loss": as_loss}
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
