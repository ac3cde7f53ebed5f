"""Messages: arguments as Python writes them, options as the command line does."""

import json
from collections.abc import Callable

import pandas as pd
import pytest

from bayescale.cards import load_card
from bayescale.errors import BayescaleError, argument, as_options, did_you_mean
from bayescale.laws import find_law
from bayescale.posterior import model_weights
from bayescale.published import load_published
from bayescale.runs import read_runs
from bayescale.splits.hardware import Cluster


@pytest.mark.parametrize(
    ("message", "options"),
    [
        (f"say {argument('units', loss='bits')}, or not", "say --unit loss=bits, or not"),
        (argument("convert", tokens_per_byte=0.25), "--convert tokens_per_byte=0.25"),
        (argument("columns", loss="HEADER"), "--column loss=HEADER"),
        (argument("exclude", **{"val set": "pile 2"}), "--exclude 'val set=pile 2'"),
        ("`missing='drop'`", "--missing drop"),
        ("`ci_prob=0.9`", "--ci-prob 0.9"),
        ("`allow_unconverged=True`", "--allow-unconverged"),
        ("`law=['unified', 'chinchilla']`", "--law unified --law chinchilla"),
        ("`exclude=` or `families=`", "--exclude or --families"),
        ("params=1e9 and `code` stay", "params=1e9 and `code` stay"),
    ],
)
def test_arguments_become_options(message: str, options: str) -> None:
    assert as_options(message) == options
    assert json.loads(as_options(json.dumps({"text": message}))) == {"text": options}


@pytest.mark.parametrize(
    ("given", "question"),
    [
        ("chinchila", "; did you mean 'chinchilla'?"),
        ("CHINCHILLA", "; did you mean 'chinchilla'?"),
        ("chinchilla", ""),
        ("zebra", ""),
        (None, ""),
    ],
)
def test_the_nearest_name_is_asked_about(given: object, question: str) -> None:
    assert did_you_mean(given, ["unified", "chinchilla"]) == question


LOG = pd.DataFrame(
    {"params": [1e8, 1e9], "tokens": [2e9, 2e10], "loss": [3.4, 2.8], "State": ["done", "crashed"]}
)


@pytest.mark.parametrize(
    ("ask", "name"),
    [
        (lambda: read_runs(LOG, columns={"losss": "loss"}), "loss"),
        (lambda: read_runs(LOG, columns={"loss": "Loss"}), "loss"),
        (lambda: read_runs(LOG, units={"Tokens": "1e9"}), "tokens"),
        (lambda: read_runs(LOG, units={"tokens": "bilions"}), "billions"),
        (lambda: read_runs(LOG, exclude={"state": "crashed"}), "State"),
        (lambda: read_runs(LOG, exclude={"State": "Crashed"}), "crashed"),
        (lambda: read_runs(LOG, only={"State": "crashd"}), "crashed"),
        (lambda: read_runs(LOG, ignore="Stat"), "State"),
        (lambda: read_runs(LOG, fill={"flop": "6ND"}), "flops"),
        (lambda: read_runs(LOG, conventions={"param": "all"}), "params"),
        (lambda: read_runs(LOG, conventions={"params": "al"}), "all"),
        (lambda: read_runs(LOG.drop(columns="State"), convert={"param": "all"}), "params"),
        (lambda: read_runs(LOG, repeats="bst"), "best"),  # type: ignore[arg-type]
        (lambda: read_runs(LOG.drop(columns="State"))["parms"], "params"),
        (lambda: find_law("Chinchilla"), "chinchilla"),
        (lambda: load_card("unifed"), "unified"),
        (lambda: load_published("besiroglu"), "besiroglu_2024"),
        (lambda: load_card("chinchilla").published_values("besiroglu"), "besiroglu_2024"),
        (lambda: load_published("besiroglu_2024").posterior()["chinchila"], "chinchilla"),
        (lambda: model_weights(["unified", "kaplan"], {"unifed": 1.0}), "unified"),
        (lambda: Cluster.of("h10", 8), "h100"),
    ],
)
def test_misspelled_names_are_asked_about(ask: Callable[[], object], name: str) -> None:
    with pytest.raises(BayescaleError) as caught:
        ask()
    assert f"; did you mean {name!r}?" in str(caught.value)


def test_a_unit_may_be_written_out() -> None:
    log = LOG.drop(columns="State").assign(tokens=[2.0, 20.0])
    assert read_runs(log, units={"tokens": "billions"})["tokens"].tolist() == [2e9, 2e10]
