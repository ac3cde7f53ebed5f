"""The command line: one command a question.

Every command prints a short answer for people; with ``--json`` exactly one JSON object goes
to standard output. Progress and messages go to standard error. Exit 0: done. 2: bad input.
3: computed, but not to be trusted, because the sampler's convergence gate was missed. 130:
interrupted, with nothing written.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayescale.errors import BayescaleError, LawError
from bayescale.units import parse_size

if TYPE_CHECKING:
    import numpy as np

    from bayescale.cards import ModelCard
    from bayescale.laws import Law
    from bayescale.posterior import Fit
    from bayescale.runs import Note, Runs
    from bayescale.trust.backtest import Backtest
    from bayescale.trust.checks import Check

BAD_INPUT, NOT_TO_BE_TRUSTED = 2, 3
_A_TENFOLD = 8

app = typer.Typer(
    name="bayescale",
    help="Bayesian inference for neural scaling laws.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models_app = typer.Typer(
    help="The model cards that come with the package: priors, likelihood, and why.",
    invoke_without_command=True,
)
app.add_typer(models_app, name="models")


class Missing(StrEnum):
    """What to do with rows that lack a value."""

    error = "error"
    drop = "drop"
    keep = "keep"


RunLog = Annotated[Path, typer.Argument(metavar="RUNS", help="CSV, Parquet or JSON lines.")]
FitFile = Annotated[Path, typer.Argument(metavar="FIT.nc", help="What bayescale fit wrote.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="NAME=HEADER", help="Which column is which: tokens=my_d."),
]
Units = Annotated[
    list[str] | None,
    typer.Option("--unit", metavar="NAME=UNIT", help="tokens=1e9, flops=PF-day, loss=bits."),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="HEADER=VALUE", help="Leave out such rows; they are listed."),
]
MissingRows = Annotated[
    Missing, typer.Option("--missing", help="Rows that lack a value: refuse, drop or keep them.")
]
LawName = Annotated[
    str | None,
    typer.Option("--law", metavar="NAME", help="A law's name, or your own as file.py:NAME."),
]
OwnLaws = Annotated[
    list[str] | None,
    typer.Option("--law", metavar="file.py:NAME", help="Your own law, where the fit used it."),
]
Card = Annotated[
    Path | None, typer.Option("--card", metavar="FILE", help="A model card, by name or path.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same draws.")]
Robust = Annotated[
    bool,
    typer.Option("--robust", help="Without drift, as wide as fresh logs would scatter the fit."),
]
NoDrift = Annotated[
    bool, typer.Option("--no-drift", help="Take the law to hold exactly, for comparison.")
]
Tolerance = Annotated[
    float, typer.Option("--tolerance", help="Relative error of the mean loss that is precise.")
]
LawNames = Annotated[
    list[str] | None,
    typer.Option("--law", metavar="NAME", help="A law's name, or file.py:NAME; may be repeated."),
]
Cutoffs = Annotated[
    list[str] | None,
    typer.Option("--cutoff", metavar="SIZE", help="Fit up to this size; may be repeated."),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Processes; one a core by default, 1: this one."),
]
Allow = Annotated[
    bool, typer.Option("--allow-unconverged", help="Use a fit whose sampler missed its gate.")
]
Family = Annotated[str | None, typer.Option("--family", help="One of the fit's.")]
Figure = Annotated[
    Path | None, typer.Option("--figure", metavar="FILE.png", help="Draw it as well.")
]


@app.command()
def demo(
    folder: Annotated[
        Path, typer.Option("--folder", help="Where the figure and the posterior go.")
    ] = Path(),
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """The whole path on bundled published runs, in under a minute."""
    from bayescale.demo import run_demo
    from bayescale.files import require_folder

    require_folder(folder / "bayescale_demo.nc")
    result = run_demo(folder, seed=seed, show_progress=sys.stderr.isatty())
    _answer(result.to_json(), str(result), json_)
    _exit_untrusted(result.summary.diagnostics["passed"])


@app.command()
def check(
    runs: RunLog,
    law: LawName = None,
    card: Card = None,
    column: Columns = None,
    unit: Units = None,
    exclude: Exclude = None,
    missing: MissingRows = Missing.error,
    json_: Json = False,
) -> None:
    """What a run log holds, its units, and what it cannot identify."""
    from bayescale.runs import require_runs_for
    from bayescale.trust.design import design_checks, notes_of

    log = _read(runs, column, unit, exclude, missing)
    chosen, priors = _law_for(log, law, card)
    require_runs_for(chosen, log)
    checks = design_checks(log, chosen, priors)
    notes = [*log.warnings, *notes_of(checks)]
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
        "warnings": [note._asdict() for note in notes],
        "checks": [_check_json(check) for check in checks],
        "sha256": log.digest,
    }
    lines = [str(log), "", f"Fits the law {chosen.name}, of {' and '.join(chosen.inputs)}.", ""]
    lines += [f"  {name:<13} from {place}" for name, place in log.columns.items()]
    lines += ["", "What the runs can tell:", *map(_told_check, checks)]
    if log.dropped or log.warnings:
        lines += ["", *_told(log, log.warnings)]
    _answer(answer, "\n".join(lines), json_)


@app.command()
def fit(
    runs: RunLog,
    law: LawNames = None,
    card: Card = None,
    weight: Annotated[
        list[str] | None,
        typer.Option("--weight", metavar="LAW=SHARE", help="Shares of several laws; else equal."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FIT.nc", help="Default: RUNS.nc in this folder."),
    ] = None,
    seed: Seed = 0,
    draws: Annotated[int, typer.Option("--draws", min=10, help="Draws a chain.")] = 1000,
    tune: Annotated[int, typer.Option("--tune", min=10, help="Tuning steps a chain.")] = 1000,
    chains: Annotated[int, typer.Option("--chains", min=1)] = 4,
    pool: Annotated[
        bool, typer.Option("--pool/--no-pool", help="Partially pool families in the log.")
    ] = True,
    column: Columns = None,
    unit: Units = None,
    exclude: Exclude = None,
    missing: MissingRows = Missing.error,
    json_: Json = False,
) -> None:
    """Fit scaling laws: the posterior of their coefficients, written to FIT.nc.

    One law, or several that later commands answer from together. Without --law and --card,
    those that the log's columns can carry.
    """
    from bayescale.files import require_folder

    target = require_folder(output or Path(f"{runs.stem}.nc"))
    log = _read(runs, column, unit, exclude, missing)

    from bayescale.inference.sample import fit as sample_posterior
    from bayescale.posterior import save, summarise
    from bayescale.trust.notes import fit_notes

    laws: Any = law[0] if law and len(law) == 1 else law
    shares = {
        name: _number(text, name, "--weight") for name, text in _pairs(weight, "--weight").items()
    }
    more: dict[str, Any] = {"card": card, "weights": shares or None}
    fitted = sample_posterior(
        log, laws, seed=seed, draws=draws, tune=tune, chains=chains, pool=pool,
        show_progress=sys.stderr.isatty(), **more,
    )  # fmt: skip
    save(fitted, target)
    notes = fit_notes(fitted)
    result = summarise(fitted)
    answer = result.to_json() | {
        "warnings": [note._asdict() for note in notes],
        "dropped": [item._asdict() for item in log.dropped],
        "output": str(target),
    }
    lines = [str(result), "", *_told(log, notes), ""]
    lines += [f"Written to {target} in {result.seconds['total']:.0f} s. Next:"]
    lines += [
        f"  bayescale forecast {target} {_example(fitted.inputs)}",
        f"  bayescale trust {target}",
    ]
    _answer(answer, "\n".join(lines), json_)
    _exit_untrusted(fitted.diagnostics["passed"])


@app.command()
def summary(
    fit_file: FitFile, law: OwnLaws = None, robust: Robust = False, json_: Json = False
) -> None:
    """The coefficients of a fit, what the runs said of them, and the sampler's state."""
    from bayescale.posterior import summarise
    from bayescale.trust.notes import fit_notes
    from bayescale.trust.resampling import widen

    fitted = _open(fit_file, law)
    notes = fit_notes(fitted)
    result = summarise(widen(fitted) if robust else fitted)
    lines = [str(result), ""]
    if fitted.runs is not None:
        lines += _told(fitted.runs, notes)
    answer = result.to_json() | {
        "warnings": [note._asdict() for note in notes],
        "provenance": fitted.record["provenance"],
        "robust": robust,
        "output": str(fit_file),
    }
    _answer(answer, "\n".join(lines).rstrip(), json_)
    _exit_untrusted(fitted.diagnostics["passed"])


@app.command()
def forecast(
    fit_file: FitFile,
    params: Annotated[str | None, typer.Option("--params", help="For example 70B.")] = None,
    tokens: Annotated[str | None, typer.Option("--tokens", help="For example 1.4T.")] = None,
    flops: Annotated[
        str | None, typer.Option("--flops", help="A budget, for example 5.76e23.")
    ] = None,
    unique_tokens: Annotated[
        str | None,
        typer.Option("--unique-tokens", help="How many of the tokens are unique; else all."),
    ] = None,
    kept_fraction: Annotated[
        float | None,
        typer.Option("--kept-fraction", help="The share of the data that is kept; else all."),
    ] = None,
    lm_loss: Annotated[
        float | None,
        typer.Option("--lm-loss", help="For the law downstream: the language model's loss."),
    ] = None,
    target: Annotated[
        float | None, typer.Option("--target", help="A loss: how likely is one below it?")
    ] = None,
    family: Family = None,
    tolerance: Tolerance = 0.02,
    law: OwnLaws = None,
    no_drift: NoDrift = False,
    robust: Robust = False,
    allow_unconverged: Allow = False,
    json_: Json = False,
) -> None:
    """The loss of a larger run: the mean of runs, one new run, and whether to trust it."""
    scales = {
        name: parse_size(text, f"--{name}")
        for name, text in {
            "params": params,
            "tokens": tokens,
            "flops": flops,
            "unique-tokens": unique_tokens,
        }.items()
        if text is not None
    }
    scales = {name.replace("-", "_"): value for name, value in scales.items()}
    from bayescale.forecast import forecast as forecast_loss
    from bayescale.trust.resampling import resampling_notes, widen

    fitted = _open(fit_file, law)
    exact = no_drift or robust
    notes = resampling_notes(fitted) if exact and not robust else ()
    result = forecast_loss(
        widen(fitted) if robust else fitted,
        **scales,
        kept_fraction=kept_fraction,
        lm_loss=lm_loss,
        target=target,
        tolerance=tolerance,
        family=family,
        drift=not exact,
        allow_unconverged=allow_unconverged,
    )
    answer = result.to_json() | {
        "robust": robust,
        "warnings": [note._asdict() for note in notes],
    }
    _answer(answer, "\n".join([str(result), *map(_told_note, notes)]), json_)
    _exit_untrusted(fitted.diagnostics["passed"])


@models_app.callback()
def models(context: typer.Context, json_: Json = False) -> None:
    """List the model cards; ``models show NAME`` prints one, to copy and edit."""
    if context.invoked_subcommand is not None:
        return
    from bayescale.cards import card_names, load_card

    cards = [load_card(name) for name in card_names()]
    rows = [
        {"name": c.name, "law": c.law.name, "inputs": list(c.law.inputs), "title": c.title}
        for c in cards
    ]
    width = max(len(card.name) for card in cards)
    text = "\n".join(f"{card.name:<{width}}  {card.title}" for card in cards)
    _answer({"models": rows}, text, json_)


@models_app.command("show")
def models_show(
    name: Annotated[str, typer.Argument(help="One of those that bayescale models lists.")],
    json_: Json = False,
) -> None:
    """Print a model card: bayescale models show chinchilla > mine.toml."""
    from bayescale.cards import load_card

    card = load_card(name)
    answer = {"name": card.name, "law": card.law.name, "text": card.text}
    _answer(answer, card.text.rstrip("\n"), json_)


@app.command()
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
    from bayescale.simulate import simulate as simulate_runs

    chosen = find_law(law)
    values: dict[str, float] = {}
    if published is not None:
        if chosen.name not in LAWS:
            raise LawError("--published needs a law that comes with a card: use --set instead")
        values = load_card(chosen.name).published_values(published)
    values |= {name: _number(text, name) for name, text in _pairs(coefficient, "--set").items()}
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
    _answer(answer, text, json_)


@app.command()
def backtest(
    runs: RunLog,
    law: LawNames = None,
    cutoff: Cutoffs = None,
    workers: Workers = None,
    seed: Seed = 0,
    column: Columns = None,
    unit: Units = None,
    exclude: Exclude = None,
    missing: MissingRows = Missing.error,
    json_: Json = False,
) -> None:
    """How right forecasts of the larger runs from the smaller ones would have been."""
    log = _read(runs, column, unit, exclude, missing)
    result = _backtest(log, _cards(log, law), cutoff, workers, seed)
    dropped = [item._asdict() for item in log.dropped]
    lines = [str(result), *([""] * bool(log.dropped)), *_left_out(log)]
    _answer(result.to_json() | {"dropped": dropped}, "\n".join(lines), json_)


@app.command()
def compare(
    runs: RunLog,
    law: LawNames = None,
    cutoff: Cutoffs = None,
    workers: Workers = None,
    seed: Seed = 0,
    column: Columns = None,
    unit: Units = None,
    exclude: Exclude = None,
    missing: MissingRows = Missing.error,
    json_: Json = False,
) -> None:
    """Weigh laws by how each forecasts the largest runs from the smaller ones."""
    from bayescale.trust.stacking import compare as compare_laws
    from bayescale.trust.stacking import require_two

    log = _read(runs, column, unit, exclude, missing)
    cards = _cards(log, law)
    require_two([card.law.name for card in cards])
    result = _backtest(log, cards, cutoff, workers, seed)

    from bayescale.inference.sample import fit as sample_posterior

    fits = [
        sample_posterior(log, card=card, seed=seed, show_progress=sys.stderr.isatty())
        for card in cards
    ]
    compared = compare_laws(result, fits)
    dropped = [item._asdict() for item in log.dropped]
    lines = [str(compared), *([""] * bool(log.dropped)), *_left_out(log)]
    _answer(compared.to_json() | {"dropped": dropped}, "\n".join(lines), json_)
    _exit_untrusted(all(posterior.diagnostics["passed"] for posterior in fits))


@app.command()
def trust(
    fit_file: FitFile,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="Half the 90 % interval, as a share of the loss.")
    ] = 0.02,
    cutoff: Cutoffs = None,
    workers: Workers = None,
    again: Annotated[
        bool, typer.Option("--again", help="Backtest anew, though the file holds a backtest.")
    ] = False,
    law: OwnLaws = None,
    seed: Seed = 0,
    allow_unconverged: Allow = False,
    json_: Json = False,
) -> None:
    """Up to which scale a fit can be trusted, and why not beyond.

    Backtests the fit's own laws and runs, and keeps the outcome in FIT.nc: later calls, and
    bayescale forecast, then answer at once.
    """
    from bayescale.files import require_folder
    from bayescale.posterior import save
    from bayescale.trust.horizon import keep, require_answerable
    from bayescale.trust.horizon import trust as trust_fit

    posterior = _open(fit_file, law)
    require_answerable(posterior, tolerance, allow_unconverged)
    if again or cutoff or "backtest" not in posterior.record:
        require_folder(fit_file)
        log, cards = posterior.runs, [member.card for member in posterior.members]
        assert log is not None
        result = _backtest(log, cards, cutoff, workers, seed, posterior.weights)
        posterior = keep(posterior, result)
        save(posterior, fit_file)
    answer = trust_fit(posterior, tolerance=tolerance, allow_unconverged=allow_unconverged)
    kept = posterior.record["backtest"]
    told = f"The backtest ({kept['refits']} refits) is kept in {fit_file}; make it anew: --again"
    _answer(answer.to_json() | {"output": str(fit_file)}, f"{answer}\n\n{told}", json_)
    _exit_untrusted(posterior.diagnostics["passed"])


@app.command()
def allocate(
    fit_file: FitFile,
    flops: Annotated[
        str, typer.Option("--flops", help="The budget, or several: 1e22,1e23 (training, serving).")
    ],
    max_tokens: Annotated[
        str | None,
        typer.Option("--max-tokens", help="Most tokens there are: 10T; repeated where laws allow."),
    ] = None,
    max_params: Annotated[
        str | None, typer.Option("--max-params", help="Largest model: 70B.")
    ] = None,
    sizes: Annotated[
        str | None, typer.Option("--sizes", help="The models that can be built: 7B,13B,70B.")
    ] = None,
    inference_tokens: Annotated[
        str | None,
        typer.Option("--inference-tokens", help="To be served later, paid from the budget: 2T."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="PARAMS[,TOKENS]",
            help="A split to be judged beside the choice: 70B,1.4T; may be repeated.",
        ),
    ] = None,
    price: Annotated[
        float | None,
        typer.Option("--price", help="Dollars per FLOP: 1.5e-18 is $2 an hour at 370 TFLOP/s."),
    ] = None,
    family: Family = None,
    tolerance: Tolerance = 0.02,
    law: OwnLaws = None,
    no_drift: NoDrift = False,
    allow_unconverged: Allow = False,
    json_: Json = False,
) -> None:
    """How to split a compute budget between parameters and tokens, and what a split gives up."""
    served = _size(inference_tokens, "--inference-tokens")
    budgets = _sizes(flops, "--flops")
    built = None if sizes is None else _sizes(sizes, "--sizes")
    named = [_split(text) for text in option or ()]
    from bayescale.decide.allocate import allocate as allocate_budget

    fitted = _open(fit_file, law)
    result = allocate_budget(
        fitted,
        budgets,
        max_tokens=_size(max_tokens, "--max-tokens"),
        max_params=_size(max_params, "--max-params"),
        sizes=built,
        inference_tokens=served or 0.0,
        options=named,
        price=price,
        tolerance=tolerance,
        family=family,
        drift=not no_drift,
        allow_unconverged=allow_unconverged,
    )
    _answer(result.to_json(), str(result), json_)
    _exit_untrusted(fitted.diagnostics["passed"])


@app.command()
def data(
    fit_file: FitFile,
    params: Annotated[
        str | None, typer.Option("--params", help="A model, to ask for its tokens: 7B.")
    ] = None,
    tokens: Annotated[
        str | None, typer.Option("--tokens", help="Tokens, to ask for the model: 1.4T.")
    ] = None,
    overfit: Annotated[
        float | None,
        typer.Option("--overfit", help="Most that finite data may add to the loss; else 0.02."),
    ] = None,
    target: Annotated[
        float | None, typer.Option("--target", help="A loss to be reached, in place of overfit.")
    ] = None,
    family: Family = None,
    law: OwnLaws = None,
    no_drift: NoDrift = False,
    allow_unconverged: Allow = False,
    json_: Json = False,
) -> None:
    """How much data a model needs, or how large a model data can carry."""
    from bayescale.decide.data_budget import data_budget

    fitted = _open(fit_file, law)
    result = data_budget(
        fitted,
        params=_size(params, "--params"),
        tokens=_size(tokens, "--tokens"),
        overfit=overfit,
        target=target,
        family=family,
        drift=not no_drift,
        allow_unconverged=allow_unconverged,
    )
    _answer(result.to_json(), str(result), json_)
    _exit_untrusted(fitted.diagnostics["passed"])


@app.command("next-run")
def next_run(
    fit_file: FitFile,
    budget: Annotated[str, typer.Option("--budget", help="FLOP to spend on new runs: 1e21.")],
    target_flops: Annotated[
        str | None, typer.Option("--target-flops", help="The run that matters, by its budget.")
    ] = None,
    target_params: Annotated[
        str | None, typer.Option("--target-params", help="Or by its size, with its tokens.")
    ] = None,
    target_tokens: Annotated[str | None, typer.Option("--target-tokens")] = None,
    regret: Annotated[
        bool,
        typer.Option("--regret", help="Become sure of the split of --target-flops, not its loss."),
    ] = False,
    candidates: Annotated[
        Path | None,
        typer.Option(
            "--candidates",
            metavar="CSV",
            help="Runs that could be trained: params, tokens, and flops where not 6 N D.",
        ),
    ] = None,
    law: OwnLaws = None,
    no_drift: NoDrift = False,
    allow_unconverged: Allow = False,
    json_: Json = False,
) -> None:
    """Which small run, bought now, would tell most of a larger one for its price."""
    spend = parse_size(budget, "--budget")
    from bayescale.decide.candidates import read_candidates
    from bayescale.decide.next_run import next_run as choose_next

    listed_runs = None if candidates is None else read_candidates(candidates)
    fitted = _open(fit_file, law)
    result = choose_next(
        fitted,
        spend,
        params=_size(target_params, "--target-params"),
        tokens=_size(target_tokens, "--target-tokens"),
        flops=_size(target_flops, "--target-flops"),
        target="regret" if regret else "loss",
        candidates=listed_runs,
        drift=not no_drift,
        allow_unconverged=allow_unconverged,
    )
    _answer(result.to_json(), str(result), json_)
    _exit_untrusted(fitted.diagnostics["passed"])


@app.command()
def report(
    fit_file: FitFile,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE.html", help="Default: FIT.html in this folder."
        ),
    ] = None,
    flops: Annotated[
        str | None,
        typer.Option("--flops", help="The next scale; else ten times the largest run's."),
    ] = None,
    target: Annotated[
        float | None, typer.Option("--target", help="A loss: how likely is one below it?")
    ] = None,
    family: Family = None,
    tolerance: Tolerance = 0.02,
    law: OwnLaws = None,
    allow_unconverged: Allow = False,
    json_: Json = False,
) -> None:
    """One page that can be sent: the answer, how far to trust it, decisions, and provenance.

    A self-contained HTML file, without scripts. It samples nothing: run bayescale trust before,
    so that it can tell of backtests.
    """
    from bayescale.files import require_folder
    from bayescale.report import report as make_report
    from bayescale.report import write

    page = require_folder(output or Path(f"{fit_file.stem}.html"))
    fitted = _open(fit_file, law)
    result = make_report(
        fitted,
        fit_file,
        flops=_size(flops, "--flops"),
        target=target,
        tolerance=tolerance,
        family=family,
        laws=tuple(law or ()),
        allow_unconverged=allow_unconverged,
    )
    write(result, page)
    _answer({"output": str(page), **result.to_json()}, f"{result}\nWritten to {page}.", json_)
    _exit_untrusted(fitted.diagnostics["passed"])


@app.command()
def explore(
    fit_file: FitFile,
    port: Annotated[int, typer.Option("--port", help="Where the page is, on this computer.")] = (
        8501
    ),
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
    law: OwnLaws = None,
    allow_unconverged: Allow = False,
) -> None:
    """A page to turn the knobs on: budget, data, tolerance and target, and what follows.

    Only this computer reaches it. What is asked stands in its address. Ctrl-C ends it.
    """
    from bayescale.explore import explore as serve

    serve(
        fit_file,
        laws=tuple(law or ()),
        port=port,
        browser=browser,
        allow_unconverged=allow_unconverged,
    )


@app.command()
def prune(
    fit_file: FitFile,
    params: Annotated[str, typer.Option("--params", help="The model: 7B.")],
    tokens: Annotated[str, typer.Option("--tokens", help="Unique tokens before pruning: 140B.")],
    keep: Annotated[
        list[float] | None,
        typer.Option("--keep", help="A share to keep: 0.5; may be repeated, else many."),
    ] = None,
    train_tokens: Annotated[
        str | None,
        typer.Option("--train-tokens", help="Tokens to train on, else as many as --tokens."),
    ] = None,
    quality: Annotated[
        str | None,
        typer.Option(
            "--quality",
            metavar="LOW,HIGH",
            help="90% of your prior on the metric: 1 is no better than random, 2 loses nothing.",
        ),
    ] = None,
    floor: Annotated[
        str | None,
        typer.Option("--floor", metavar="LOW,HIGH", help="Share below which it helps no more."),
    ] = None,
    repeat_worth: Annotated[
        str | None,
        typer.Option("--repeat-worth", metavar="LOW,HIGH", help="R_D: what repeats are worth."),
    ] = None,
    figure: Figure = None,
    family: Family = None,
    law: OwnLaws = None,
    allow_unconverged: Allow = False,
    json_: Json = False,
) -> None:
    """What keeping only the best part of the data would do: a scenario, unless runs were pruned."""
    from bayescale.scenarios.pruning import prune as prune_data

    fitted = _open(fit_file, law)
    result = prune_data(
        fitted,
        params=parse_size(params, "--params"),
        tokens=parse_size(tokens, "--tokens"),
        keep=keep,
        trained=_size(train_tokens, "--train-tokens"),
        quality=_pair(quality, "--quality"),
        floor=_pair(floor, "--floor"),
        repeat_worth=_pair(repeat_worth, "--repeat-worth"),
        family=family,
        allow_unconverged=allow_unconverged,
    )
    drawn = _draw("plot_pruning", result, figure)
    _answer(result.to_json() | {"figure": drawn}, str(result), json_)
    _exit_untrusted(fitted.diagnostics["passed"])


@app.command()
def perceptron(
    examples: Annotated[str, typer.Option("--examples-per-param", help="In the pool: 1,3,10,30.")],
    keep: Annotated[str, typer.Option("--keep", help="Shares to keep: 0.1,0.3,1.")],
    probe_angle: Annotated[
        float, typer.Option("--probe-angle", help="Degrees by which the metric is off.")
    ] = 0.0,
    figure: Figure = None,
    json_: Json = False,
) -> None:
    """What pruning does in theory: the test error of a perceptron on the data it keeps."""
    from bayescale.scenarios.perceptron import prune_perceptron

    sizes = _sizes(examples, "--examples-per-param")
    result = prune_perceptron(sizes, _sizes(keep, "--keep"), probe_angle=probe_angle)
    drawn = _draw("plot_perceptron", result, figure)
    _answer(result.to_json() | {"figure": drawn}, str(result), json_)


@app.command()
def emerge(
    fit_file: FitFile,
    params: Annotated[
        str | None, typer.Option("--params", metavar="FROM,TO", help="Ends of the path.")
    ] = None,
    tokens: Annotated[str | None, typer.Option("--tokens", metavar="FROM,TO")] = None,
    flops: Annotated[
        str | None,
        typer.Option("--flops", metavar="FROM,TO", help="Compute-optimal on the way: 1e19,1e25."),
    ] = None,
    answer_tokens: Annotated[
        str, typer.Option("--answer-tokens", help="Lengths of answers: 1,5,25.")
    ] = "1,5,25",
    choices: Annotated[
        int | None, typer.Option("--choices", help="Answers to choose from, for multiple choice.")
    ] = None,
    wrong_loss: Annotated[
        float | None,
        typer.Option("--wrong-loss", help="Loss on wrong answers; else that at the start."),
    ] = None,
    dispersion: Annotated[
        float | None,
        typer.Option("--dispersion", help="How much answers differ; else 0, tokens all alike."),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            "--calibrate", metavar="CSV", help="Models' loss and score, to learn it from."
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="NAME=HEADER", help="In that file: score=lambada_acc."),
    ] = None,
    greedy: Annotated[
        bool | None,
        typer.Option(
            "--greedy/--sampled",
            help="The likeliest token, or a random one; greedy where --calibrate is given.",
        ),
    ] = None,
    downstream: Annotated[
        Path | None,
        typer.Option("--downstream", metavar="FIT.nc", help="A fit of the law downstream."),
    ] = None,
    downstream_family: Annotated[
        str | None, typer.Option("--downstream-family", help="One of that fit's.")
    ] = None,
    figure: Figure = None,
    family: Family = None,
    law: OwnLaws = None,
    no_drift: NoDrift = False,
    allow_unconverged: Allow = False,
    json_: Json = False,
) -> None:
    """Where a score would seem to emerge although the loss is smooth, and why."""
    from bayescale.scenarios.answers import calibrate_dispersion, read_scores
    from bayescale.scenarios.emergence import emergence

    lengths = _sizes(answer_tokens, "--answer-tokens")
    takes_best = calibrate is not None if greedy is None else greedy
    how: Any = "greedy" if takes_best else "sampled"
    spread: Any = dispersion or 0.0
    if calibrate is not None:
        if dispersion is not None:
            raise typer.BadParameter("it is learnt by --calibrate", param_hint="--dispersion")
        scores = read_scores(calibrate, _pairs(column, "--column"))
        spread = calibrate_dispersion(
            scores["loss"], scores["score"], tokens=lengths[0], decoding=how
        )
    fitted = _open(fit_file, law)
    second = None if downstream is None else _open(downstream, None)
    result = emergence(
        fitted,
        params=_path(params, "--params"),
        tokens=_path(tokens, "--tokens"),
        flops=_path(flops, "--flops"),
        answer_tokens=lengths,
        choices=choices,
        wrong_loss=wrong_loss,
        dispersion=spread,
        decoding=how,
        downstream=second,
        downstream_family=downstream_family,
        family=family,
        drift=not no_drift,
        allow_unconverged=allow_unconverged,
    )
    drawn = _draw("plot_emergence", result, figure)
    _answer(result.to_json() | {"figure": drawn}, str(result), json_)
    _exit_untrusted(
        fitted.diagnostics["passed"] and (second is None or second.diagnostics["passed"])
    )


def main() -> None:
    """Run the command line; every expected failure becomes one message and an exit code."""
    try:
        app()
    except BayescaleError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _answer(answer: Mapping[str, Any], text: str, as_json: bool) -> None:
    print(json.dumps(_plain(answer), indent=2, allow_nan=False) if as_json else text)


def _plain(value: Any) -> Any:
    """JSON has no NaN and no NumPy: undefined numbers become null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and value != value else value


def _exit_untrusted(passed: bool) -> None:
    if not passed:
        raise typer.Exit(NOT_TO_BE_TRUSTED)


def _pairs(items: list[str] | None, option: str) -> dict[str, str]:
    pairs = {}
    for item in items or ():
        name, separator, value = item.partition("=")
        if not (name and separator and value):
            raise typer.BadParameter(f"{item!r} is not NAME=VALUE", param_hint=option)
        if name.strip() in pairs:
            raise typer.BadParameter(f"{name.strip()} is given twice", param_hint=option)
        pairs[name.strip()] = value.strip()
    return pairs


def _number(text: str, name: str, option: str = "--set") -> float:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{name}={text} is not a number", param_hint=option) from None


def _read(
    path: Path,
    column: list[str] | None,
    unit: list[str] | None,
    exclude: list[str] | None,
    missing: Missing,
) -> "Runs":
    from bayescale.runs import read_runs

    return read_runs(
        path,
        columns=_pairs(column, "--column"),
        units=_pairs(unit, "--unit"),
        exclude=_pairs(exclude, "--exclude"),
        missing=missing.value,
    )


def _open(path: Path, laws: list[str] | None) -> "Fit":
    from bayescale.laws import find_law
    from bayescale.posterior import open_posterior

    return open_posterior(path, law=[find_law(name) for name in laws or ()])


def _cards(log: "Runs", laws: list[str] | None) -> "list[ModelCard]":
    from bayescale.cards import default_laws, pool_cards

    return list(pool_cards(log, laws or default_laws(log)))


def _backtest(
    log: "Runs",
    cards: "list[ModelCard]",
    cutoff: list[str] | None,
    workers: int | None,
    seed: int,
    weights: tuple[float, ...] | None = None,
) -> "Backtest":
    from bayescale.inference.sample import refit
    from bayescale.trust.backtest import Serial
    from bayescale.trust.backtest import backtest as make_backtest

    return make_backtest(
        log,
        cards,
        refit=refit,
        cutoffs=None if not cutoff else [parse_size(text, "--cutoff") for text in cutoff],
        weights=weights,
        executor=Serial() if workers == 1 else None,
        workers=workers,
        seed=seed,
        show_progress=sys.stderr.isatty(),
    )


def _law_for(log: "Runs", law: str | None, card: Path | None) -> "tuple[Law, ModelCard | None]":
    """The law, with its card where one is named or implied."""
    from bayescale.cards import choose_card
    from bayescale.laws import find_law

    if law is not None and card is None:
        return find_law(law), None
    chosen = choose_card(log, law, card)
    return chosen.law, chosen


def _example(inputs: "Sequence[str]") -> str:
    sizes = {"params": "70B", "tokens": "1.4T", "flops": "5.76e23", "lm_loss": "2.2"}
    named = {name.replace("_", "-"): sizes[name] for name in inputs if name in sizes}
    return " ".join(f"--{name} {size}" for name, size in named.items())


def _left_out(log: "Runs") -> list[str]:
    return [f"Left out: {item.id}: {item.reason}" for item in log.dropped]


def _told(log: "Runs", notes: "Sequence[Note]") -> list[str]:
    return _left_out(log) + ([_told_note(note) for note in notes] or ["No warnings."])


def _told_note(note: "Note") -> str:
    return f"Note ({note.code}): {note.text}"


def _told_check(check: "Check") -> str:
    from textwrap import fill

    verdict = {True: "ok", False: "WEAK", None: "info"}[check.passed]
    lead = f"  {verdict:<4}  {check.name.replace('_', ' '):<17}  "
    return fill(check.text, width=100, initial_indent=lead, subsequent_indent=" " * len(lead))


def _check_json(check: "Check") -> dict[str, Any]:
    return {"name": check.name, "passed": check.passed, "text": check.text}


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
        n = _sizes(params, "--params")
        pairs = [(a, a * r) for a, r in product(n, _sizes(tokens_per_param, "--tokens-per-param"))]
        return {"params": [a for a, _ in pairs], "tokens": [b for _, b in pairs]}
    given = {"params": params, "tokens": tokens, "flops": flops}
    lists = {name: _sizes(text, f"--{name}") for name, text in given.items() if text is not None}
    if set(lists) != set(law.inputs):
        needed = " and ".join(f"--{name}" for name in law.inputs)
        raise LawError(f"law {law.name!r} needs {needed}")
    rows = list(product(*lists.values()))
    return {name: [row[i] for row in rows] for i, name in enumerate(lists)}


def _split(text: str) -> tuple[float, float | None]:
    parts = _sizes(text, "--option")
    if len(parts) > 2:
        raise typer.BadParameter(f"{text!r} is not PARAMS or PARAMS,TOKENS", param_hint="--option")
    return parts[0], parts[1] if len(parts) > 1 else None


def _pair(text: str | None, option: str) -> tuple[float, float] | None:
    if text is None:
        return None
    ends = [_number(part, option, option) for part in text.split(",")]
    if len(ends) != 2:
        raise typer.BadParameter(f"{text!r} is not LOW,HIGH", param_hint=option)
    return ends[0], ends[1]


def _path(text: str | None, option: str) -> "np.ndarray | None":
    """Sizes between two ends, eight to a tenfold."""
    import numpy as np

    if text is None:
        return None
    ends = _sizes(text, option)
    if len(ends) != 2 or not 0 < ends[0] < ends[1]:
        raise typer.BadParameter(f"{text!r} is not FROM,TO, the smaller first", param_hint=option)
    steps = max(round(_A_TENFOLD * np.log10(ends[1] / ends[0])), 2)
    return np.geomspace(ends[0], ends[1], steps + 1)


def _draw(plot: str, result: Any, figure: Path | None) -> str | None:
    """The figure of a result, written whole or not at all."""
    if figure is None:
        return None
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    from bayescale import plots
    from bayescale.files import replacing

    ax = getattr(plots, plot)(result)
    with replacing(figure) as temporary:
        ax.figure.savefig(temporary, dpi=150)
    plt.close(ax.figure)
    return str(figure)


def _size(text: str | None, option: str) -> float | None:
    return None if text is None else parse_size(text, option)


def _sizes(text: str, option: str) -> list[float]:
    return [parse_size(part, option) for part in text.split(",")]


if __name__ == "__main__":
    main()
