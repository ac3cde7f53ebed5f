"""Every command at a terminal of 40 columns: what it prints is as narrow, and loses no name."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from support.explored import precise
from support.published import BESIROGLU
from support.refits import known, power_law_log
from support.tracked import LOSS, SMALL, TOKENS, wandb_table
from test_comparison import with_loo
from test_report_extras import history
from test_tuning import made as sweep
from test_tuning import posterior as tuned
from test_versus import recipes

from bayescale.cards import load_card
from bayescale.cli.application import app
from bayescale.laws import LAWS
from bayescale.posterior import Posterior, save
from bayescale.posterior.recipe_files import save_recipes
from bayescale.runs import Runs, read_runs
from bayescale.tuning import save_tuning

COLUMNS = 40

EXAMPLES = {
    "demo": "",
    "import": f"runs-table.csv --metric {LOSS} --column params=table.n_params "
    f"--column tokens=table.{TOKENS} -o imported.csv",
    "check": "runs.csv",
    "simulate": "--law kaplan_compute --published kaplan_2020 --flops 1e20,1e21 -o simulated.csv",
    "fit": "powers.csv --law henighan_compute -o fitted.nc",
    "fit-many": "powers.csv --law kaplan_compute -o fits --workers 1",
    "summary": "fit.nc",
    "reproduce": "sampled.nc",
    "prior": "powers.nc other.nc -o card.toml",
    "forecast": "fit.nc --params 70B --tokens 1.4T --target 1.95",
    "forecast-many": "fit.nc planned.csv -o table.csv",
    "slices": "fit.nc",
    "trust": "powers.nc --workers 1",
    "backtest": "powers.csv --law kaplan_compute --law henighan_compute --workers 1",
    "compare": "powers.csv --law kaplan_compute --law henighan_compute --workers 1",
    "cross-check": "isoflop.nc",
    "allocate": "fit.nc --flops 1e22 --option 7B,140B --gpus 512 --gpu h100",
    "data": "fit.nc --params 7B",
    "next-run": "fit.nc --budget 1e21 --target-flops 1e23",
    "tune": "tuned.nc --params 1B --tokens 20B --lr 1e-3",
    "versus": "recipes.nc --flops 1e21",
    "watch": "history.csv --schedule cosine --final-step 50000 --target 2.8",
    "prune": "fit.nc --params 7B --tokens 140B",
    "emerge": "fit.nc --flops 1e19,1e25",
    "report": "fit.nc --recipes recipes.nc --history history.csv --schedule cosine "
    "--final-step 50000",
    "perceptron": "",
    "models": "",
    "models published": "besiroglu_2024",
    "models check": "chinchilla",
}
"""A question of each command that it answers at length."""

UNANSWERED = {
    "explore": "it serves a page until Ctrl-C",
    "models show": "it prints a card's file as it stands, to be kept",
}
"""Commands without an example, and why."""


def unbroken(line: str) -> bool:
    """Whether a line may be wider: one word, as a path to be copied is."""
    return len(line.split()) == 1


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield what one types for each command of the application."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield name
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name))


COMMANDS = tuple(commands(typer.main.get_command(app)))


def isoflop_log() -> Runs:
    """Runs of the published law, five sizes at each of three budgets."""
    rows = [
        {"params": n, "tokens": c / (6 * n), "flops": c}
        for c in (1e19, 1e20, 1e21)
        for n in (c / 1e19) ** 0.5 * np.geomspace(1e8, 1.6e9, 5)
    ]
    table = pd.DataFrame(rows)
    loss = LAWS["chinchilla"].loss(table["params"], table["tokens"], **BESIROGLU)
    return read_runs(table.assign(loss=loss))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, cerebras_posterior: Posterior) -> Path:
    """Files that the examples name: logs, and posteriors that are built and not sampled."""
    made = tmp_path_factory.mktemp("narrow")
    wandb_table(made / "runs-table.csv", SMALL)
    fitted, powers = precise(), power_law_log([0.0, 1.0, -1.0, 0.5, 0.0, -0.5, 1.0, 0.0])
    assert fitted.runs is not None
    fitted.runs.to_frame().to_csv(made / "runs.csv", index=False)
    powers.to_frame().to_csv(made / "powers.csv", index=False)
    (made / "planned.csv").write_text("params,tokens,name\n7e10,1.4e12,larger\n1e9,2e10,other\n")
    save(fitted, made / "fit.nc")
    save(precise(isoflop_log()), made / "isoflop.nc")
    (made / "fits").mkdir()
    save(known(powers, load_card("kaplan_compute")), made / "powers.nc")
    other = power_law_log([1.0, 0.0, 0.5, -1.0, 0.0, 0.5])
    save(known(other, load_card("kaplan_compute")), made / "other.nc")
    save(cerebras_posterior, made / "sampled.nc")
    save_tuning(tuned(sweep()), made / "tuned.nc")
    save_recipes(recipes({"base": 0.0, "filtered": 0.01}, spread=0.01), made / "recipes.nc")
    history(made / "history.csv")
    return made


@pytest.fixture
def narrow(
    bayescale: Callable,
    folder: Path,
    cerebras_posterior: Posterior,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable:
    """Run a command at 40 columns, where fits are built at once and nothing is sampled."""

    def built_fit(runs: Any, law: Any = None, *, card: Any = None, **settings: Any) -> Posterior:
        if card is None:
            return cerebras_posterior
        return with_loo(runs, card.law.name, [1.0 - 0.1 * i for i in range(len(runs))])

    monkeypatch.chdir(folder)
    monkeypatch.setattr("bayescale.inference.fit.fit", built_fit)
    monkeypatch.setattr("bayescale.inference.many.fit", built_fit)
    monkeypatch.setattr("bayescale.inference.reproduce.fit", lambda *a, **k: cerebras_posterior)
    monkeypatch.setattr("bayescale.demo.fit", lambda *a, **k: cerebras_posterior)
    monkeypatch.setattr("bayescale.validation.backtest.default_refit", lambda: known)
    return lambda *typed: bayescale(*typed, columns=COLUMNS)


def too_wide(ran: Any, columns: int = COLUMNS) -> list[str]:
    printed = (ran.out + ran.err).splitlines()
    assert printed
    return [line for line in printed if len(line) > columns and not unbroken(line)]


def test_every_command_has_an_example() -> None:
    assert {*EXAMPLES, *UNANSWERED} == set(COMMANDS)


@pytest.mark.parametrize("columns", [COLUMNS, 80])
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_names_every_option_in_full(bayescale: Callable, command: str, columns: int) -> None:
    ran = bayescale(*command.split(), "--help", columns=columns)
    assert ran.code == 0
    assert too_wide(ran, columns) == []
    assert "…" not in ran.out


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_an_unknown_option_is_refused_within_the_width(narrow: Callable, command: str) -> None:
    ran = narrow(*command.split(), "--nonsense")
    assert ran.code == 2
    assert too_wide(ran) == []


@pytest.mark.integration
@pytest.mark.parametrize("command", sorted(EXAMPLES))
def test_no_answer_is_wider_than_the_terminal(narrow: Callable, command: str) -> None:
    ran = narrow(*command.split(), *EXAMPLES[command].split())
    assert ran.code in ((2,) if command == "perceptron" else (0, 3)), ran.err
    assert too_wide(ran) == []
