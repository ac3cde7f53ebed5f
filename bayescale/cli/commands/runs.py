"""Commands for run logs: check one, and simulate one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayescale.cli.options import Card, GivenSeed, Json, LawName, LogOptions, RunLog, Seed
from bayescale.cli.output import check_line, dropped_json, log_lines, note_line, show
from bayescale.cli.parsing import name_values, number, refuse_unread, sizes_of
from bayescale.errors import LawError, listed

if TYPE_CHECKING:
    from bayescale.cards import ModelCard
    from bayescale.laws import Law
    from bayescale.runs import Runs
    from bayescale.runs.rules.compute import Audit
    from bayescale.validation.sensitivity import Sensitivity


def check(
    runs: RunLog,
    log_options: LogOptions,
    law: LawName = None,
    card: Card = None,
    sensitivity: Annotated[
        bool,
        typer.Option("--sensitivity", help="Refit under other conventions that the log implies."),
    ] = False,
    write: Annotated[
        bool,
        typer.Option("--write", help="Write these options into runs.toml beside RUNS."),
    ] = False,
    seed: GivenSeed = None,
    json_: Json = False,
) -> None:
    """Show what a run log holds, its units, and what it cannot identify."""
    from bayescale.cards import runs_for
    from bayescale.findings import SCALE_NOT_READ
    from bayescale.runs import require_runs_for, with_inputs
    from bayescale.runs.rules.compute import audit_compute
    from bayescale.validation import run_quality
    from bayescale.validation.design import design_checks, notes_of
    from bayescale.validation.other_factors import other_factor_notes, other_factors
    from bayescale.validation.sensitivity import counting_notes

    if not sensitivity:
        refuse_unread({"--seed": seed}, "only --sensitivity samples", ", or add --sensitivity")
    log = log_options.read(runs)
    settings = log_options.write(runs) if write else None
    chosen, priors = _law_and_card(log, law, card)
    log = with_inputs(log, chosen) if priors is None else runs_for(priors, log)
    require_runs_for(chosen, log)
    checks = design_checks(log, chosen, priors)
    log_notes = [*log.warnings, *counting_notes(log, chosen, checks)]
    other = other_factors(log, chosen)
    of_runs = run_quality.log_checks(log, priors)
    notes = [
        *log_notes,
        *other_factor_notes(other),
        *run_quality.notes_of(of_runs),
        *notes_of(checks),
    ]
    of_runs = (*of_runs, *([other] if other else []))
    compute = audit_compute(log.frame)
    refitted = _refitted(log, law, card, seed or 0) if sensitivity else None
    answer = {
        **_log_json(log),
        "law": chosen.name,
        "warnings": [note.to_json() for note in notes],
        "checks": [check.check_json() for check in (*checks, *of_runs)],
        "compute": compute and compute._asdict(),
        "sensitivity": refitted and refitted.to_json(),
        "settings": settings and str(settings),
    }
    lines = [str(log), "", f"Fits the law {chosen.name}, of {' and '.join(chosen.inputs)}."]
    first = [found for found in log_notes if found.code == SCALE_NOT_READ]
    log_notes = [found for found in log_notes if found.code != SCALE_NOT_READ]
    lines += [*map(note_line, first), ""]
    lines += _column_lines(log, chosen, compute)
    lines += ["", "What the runs can identify:", *map(check_line, checks)]
    lines += ["", "Whether they are what a law assumes:", *map(check_line, of_runs)]
    below: list[str] = []
    if log.dropped or log_notes or log.unused:
        below += ["", *log_lines(log, log_notes, more=bool(first))]
    if settings is not None:
        below += ["", f"Written to {settings}, which every command that reads {runs.name} honors."]
    elif log_options.unwritten(runs):
        below += [
            "",
            "--write keeps these options in runs.toml, for all commands that read this log.",
        ]
    if refitted is not None:
        lines += ["", *map(str, refitted.content())]
    passed = refitted is None or refitted.passed
    show(answer, lines, json_, notes=below, passed=passed)


def _log_json(log: "Runs") -> dict[str, Any]:
    """Return the content of a log that does not depend on the law, by JSON key."""
    return {
        "n_runs": len(log),
        "columns": dict(log.columns),
        "ranges": {
            name: {"lower": float(log[name].min()), "upper": float(log[name].max())}
            for name in ("params", "tokens", "flops", "loss")
            if name in log
        },
        "dropped": dropped_json(log),
        "unused": list(log.unused),
        "conventions": log.conventions.to_json(),
        "families": _family_counts(log),
        "flop_count": log.flop_count.to_json(),
        "sha256": log.digest,
    }


def _column_lines(log: "Runs", law: "Law", compute: "Audit | None") -> list[str]:
    """Return lines on the columns' origins, what their numbers count, and the families."""
    width = max(13, *map(len, log.columns))
    lines = [f"  {name:<{width}} from {place}" for name, place in log.columns.items()]
    lines += ["", "What its numbers count, as stated:", *_convention_lines(log, law)]
    if compute is not None:
        lines.append(
            f"  {'C / (6 N D)':<15} {compute.lower:.3g} to {compute.upper:.3g}, median "
            f"{compute.median:.3g}"
        )
    if not log.flop_count.is_6nd:
        lines.append(f"  {'budgets':<15} {log.flop_count.in_words()}")
    if families := _family_counts(log):
        counts = [f"{name} {n}" for name, n in families.items()]
        lines += ["", f"Runs by family: {listed(counts, 20)}"]
    return lines


def _law_and_card(
    log: "Runs", law: str | None, card: Path | None
) -> "tuple[Law, ModelCard | None]":
    """Return the law, and its card if one is named or implied."""
    from bayescale.cards import choose_card
    from bayescale.laws import find_law

    if law is not None and card is None:
        return find_law(law), None
    chosen = choose_card(log, law, card)
    return chosen.law, chosen


def _family_counts(log: "Runs") -> dict[str, int]:
    """Return the number of runs of each family."""
    if "family" not in log:
        return {}
    counts = log.frame["family"].astype(str).value_counts(sort=False)
    return {str(name): int(n) for name, n in counts.items()}


def _convention_lines(log: "Runs", law: "Law") -> list[str]:
    """Return a line for each stated convention and the loss, and one for all that are unknown."""
    from bayescale.conventions import UNKNOWN, unit_of_log

    stated, unit = log.conventions.in_words(), unit_of_log(log.conventions, law.unit)
    if not unit.is_loss:
        stated["loss"] = f"{unit.words}, which the law predicts"
    elif not unit.stated:
        stated["loss"] = (
            f"not stated; fit takes it as {unit.words}. To state it: --unit loss=bits (or nats, "
            "bits_per_byte, perplexity)"
        )
    unknown = [name for name, words in stated.items() if words.startswith(UNKNOWN)]
    lines = [f"  {name:<15} {words}" for name, words in stated.items() if name not in unknown]
    return [*lines, *([f"  {UNKNOWN:<15} {', '.join(unknown)}"] if unknown else [])]


def _refitted(log: "Runs", law: str | None, card: Path | None, seed: int) -> "Sensitivity":
    from functools import partial

    from bayescale.cards import choose_card
    from bayescale.inference.fit import refit
    from bayescale.validation.sensitivity import sensitivity

    return sensitivity(log, choose_card(log, law, card), partial(refit, seed=seed, drift=False))


def simulate(
    law: Annotated[str, typer.Option("--law", help="A law's name, or file.py:NAME.")],
    published: Annotated[
        str | None, typer.Option("--published", help="Coefficients of this name in the card.")
    ] = None,
    coefficient: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A coefficient, in raw units."),
    ] = None,
    params: Annotated[str | None, typer.Option("--params", help="Sizes: 100M,1B,10B.")] = None,
    tokens: Annotated[str | None, typer.Option("--tokens", help="Sizes: 2B,20B.")] = None,
    tokens_per_param: Annotated[
        str | None, typer.Option("--tokens-per-param", help="In place of --tokens: 5,20,80.")
    ] = None,
    flops: Annotated[str | None, typer.Option("--flops", help="Budgets: 1e20,1e21.")] = None,
    sigma: Annotated[float, typer.Option("--sigma", help="Residual noise of log loss.")] = 0.005,
    nu: Annotated[float | None, typer.Option("--nu", help="Its degrees of freedom.")] = None,
    seed: Seed = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="RUNS.csv", help="Default: print.")
    ] = None,
    json_: Json = False,
) -> None:
    """Simulate a run log of known coefficients: every combination of the sizes given."""
    from bayescale.cards import load_card
    from bayescale.files import replacing
    from bayescale.laws import LAWS, find_law
    from bayescale.simulation import simulate as simulate_runs

    chosen = find_law(law)
    values: dict[str, float] = {}
    if published is not None:
        if chosen.name not in LAWS:
            raise LawError("--published needs a law that comes with a card: use --set instead")
        values = load_card(chosen.name).published_values(published)
    values |= {name: number(text, name) for name, text in name_values(coefficient, "--set").items()}
    scales = _grid(chosen, params, tokens, tokens_per_param, flops)
    frame = simulate_runs(chosen, values, scales, sigma=sigma, nu=nu, seed=seed)
    truth = {"law": chosen.name, "coefficients": values, "sigma": sigma, "nu": nu, "seed": seed}
    if output is not None:
        with replacing(output) as temporary:
            frame.to_csv(temporary, index=False)
        text = f"{len(frame)} simulated runs of {chosen.name} written to {output}"
    else:
        text = frame.to_csv(index=False).rstrip("\n")
    answer = truth | {"runs": frame.to_dict(orient="records"), "output": output and str(output)}
    show(answer, text, json_, verbatim=output is None)


def _grid(
    law: "Law",
    params: str | None,
    tokens: str | None,
    tokens_per_param: str | None,
    flops: str | None,
) -> dict[str, list[float]]:
    from itertools import product

    if tokens_per_param is not None:
        if params is None or tokens is not None:
            raise LawError("--tokens-per-param needs --params, and takes the place of --tokens")
        ratios = sizes_of(tokens_per_param, "--tokens-per-param")
        pairs = [(n, n * ratio) for n in sizes_of(params, "--params") for ratio in ratios]
        return {"params": [a for a, _ in pairs], "tokens": [b for _, b in pairs]}
    given = {"params": params, "tokens": tokens, "flops": flops}
    lists = {name: sizes_of(text, f"--{name}") for name, text in given.items() if text is not None}
    if set(lists) != set(law.inputs):
        needed = " and ".join(f"--{name}" for name in law.inputs)
        raise LawError(f"law {law.name!r} needs {needed}, and no other scale")
    rows = list(product(*lists.values()))
    return {name: [row[i] for row in rows] for i, name in enumerate(lists)}
