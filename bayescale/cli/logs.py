"""Run logs: what one holds, and logs whose truth is known."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.cli.options import (
    Card,
    Columns,
    Convert,
    Exclude,
    Json,
    LawName,
    Missing,
    MissingRows,
    RunLog,
    Seed,
    Stated,
    Units,
)
from bayescale.cli.reading import law_for, name_values, number, read_log, sizes_of
from bayescale.cli.writing import exit_untrusted, tell, told_check, told_of
from bayescale.errors import LawError

if TYPE_CHECKING:
    from bayescale.laws import Law
    from bayescale.runs import Runs
    from bayescale.validation.sensitivity import Sensitivity


def check(
    runs: RunLog,
    law: LawName = None,
    card: Card = None,
    column: Columns = None,
    unit: Units = None,
    exclude: Exclude = None,
    missing: MissingRows = Missing.error,
    convention: Stated = None,
    convert: Convert = None,
    sensitivity: Annotated[
        bool,
        typer.Option("--sensitivity", help="Refit under the other conventions that it tells of."),
    ] = False,
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """What a run log holds, its units, and what it cannot identify."""
    from bayescale.runs import require_runs_for
    from bayescale.runs.rules.compute import audit_compute
    from bayescale.validation import run_quality
    from bayescale.validation.design import design_checks, notes_of
    from bayescale.validation.sensitivity import counting_notes

    log = read_log(runs, column, unit, exclude, missing, convention, convert)
    chosen, priors = law_for(log, law, card)
    require_runs_for(chosen, log)
    checks = design_checks(log, chosen, priors)
    told = [*log.warnings, *counting_notes(log, chosen, checks)]
    of_runs = run_quality.log_checks(log, priors)
    notes = [*told, *run_quality.notes_of(of_runs), *notes_of(checks)]
    compute = audit_compute(log.frame)
    refitted = _refitted(log, law, card, seed) if sensitivity else None
    answer = {
        "n_runs": len(log),
        "law": chosen.name,
        "columns": dict(log.columns),
        "ranges": {
            name: {"lower": float(log[name].min()), "upper": float(log[name].max())}
            for name in ("params", "tokens", "flops", "loss")
            if name in log
        },
        "dropped": [item._asdict() for item in log.dropped],
        "warnings": [note.to_json() for note in notes],
        "checks": [check.check_json() for check in (*checks, *of_runs)],
        "conventions": log.conventions.to_json(),
        "compute": compute and compute._asdict(),
        "sensitivity": refitted and refitted.to_json(),
        "sha256": log.digest,
    }
    lines = [str(log), "", f"Fits the law {chosen.name}, of {' and '.join(chosen.inputs)}.", ""]
    width = max(13, *map(len, log.columns))
    lines += [f"  {name:<{width}} from {place}" for name, place in log.columns.items()]
    lines += ["", "What its numbers count, as stated:", *_counted(log)]
    if compute is not None:
        lines.append(
            f"  {'C / (6 N D)':<15} {compute.lower:.3g} to {compute.upper:.3g}, median "
            f"{compute.median:.3g}"
        )
    lines += ["", "What the runs can tell:", *map(told_check, checks)]
    lines += ["", "Whether they are what a law takes them for:", *map(told_check, of_runs)]
    if log.dropped or told:
        lines += ["", *told_of(log, told)]
    if refitted is not None:
        lines += ["", str(refitted)]
    tell(answer, "\n".join(lines), json_)
    exit_untrusted(refitted is None or refitted.passed)


def _counted(log: "Runs") -> list[str]:
    """What was stated, a line each, and all that was not in one."""
    from bayescale.conventions import UNKNOWN

    told = log.conventions.in_words()
    silent = [name for name, words in told.items() if words.startswith(UNKNOWN)]
    lines = [f"  {name:<15} {words}" for name, words in told.items() if name not in silent]
    return [*lines, *([f"  {UNKNOWN:<15} {', '.join(silent)}"] if silent else [])]


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
    sigma: Annotated[float, typer.Option("--sigma", help="Scatter of log loss.")] = 0.005,
    nu: Annotated[float | None, typer.Option("--nu", help="Degrees of freedom of it.")] = None,
    seed: Seed = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="RUNS.csv", help="Default: print.")
    ] = None,
    json_: Json = False,
) -> None:
    """A run log whose truth is known: every combination of the sizes given."""
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
    tell(answer, text, json_)


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
            raise LawError("--tokens-per-param goes with --params, in place of --tokens")
        ratios = sizes_of(tokens_per_param, "--tokens-per-param")
        pairs = [(n, n * ratio) for n in sizes_of(params, "--params") for ratio in ratios]
        return {"params": [a for a, _ in pairs], "tokens": [b for _, b in pairs]}
    given = {"params": params, "tokens": tokens, "flops": flops}
    lists = {name: sizes_of(text, f"--{name}") for name, text in given.items() if text is not None}
    if set(lists) != set(law.inputs):
        needed = " and ".join(f"--{name}" for name in law.inputs)
        raise LawError(f"law {law.name!r} needs {needed}")
    rows = list(product(*lists.values()))
    return {name: [row[i] for row in rows] for i, name in enumerate(lists)}
