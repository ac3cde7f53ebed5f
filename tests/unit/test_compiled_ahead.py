"""A second process compiles the next model, where that helps."""

import io
import pickle

import numpy as np
import pandas as pd
import pytest

from bayescale import read_runs
from bayescale.cards import load_card
from bayescale.inference import compile as module
from bayescale.inference.compiled import machine

CARD = load_card("chinchilla")
PARAMS = np.geomspace(1e8, 1e10, 9)


class Process:
    """A process that keeps what it is given."""

    def __init__(self, command, **how):
        self.command, self.given, self.ended = command, b"", []
        self.stdin = io.BytesIO()
        self.stdin.close = lambda: setattr(self, "given", self.stdin.getvalue())
        STARTED.append(self)

    def terminate(self):
        self.ended.append("terminated")

    def wait(self):
        self.ended.append("waited for")


STARTED = []


@pytest.fixture
def runs(monkeypatch):
    STARTED.clear()
    monkeypatch.setattr(module.subprocess, "Popen", Process)
    monkeypatch.setattr(module.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(machine, "is_kept", lambda key: False)
    monkeypatch.setattr(machine, "can_be_kept", lambda: True)
    loss = 1.8 + 480 / PARAMS**0.35
    return read_runs(pd.DataFrame({"params": PARAMS, "tokens": 20 * PARAMS, "loss": loss}))


def test_the_next_model_is_compiled_by_another_process(runs):
    with module.compiled_ahead(runs, CARD.without_drift(), CARD):
        (process,) = STARTED
        assert process.ended == []
    given, card, families = pickle.loads(process.given)
    assert (len(given), card, families) == (9, CARD, True)
    assert process.ended == ["terminated", "waited for"]
    assert process.command[-1].endswith("compile_given()")


def test_the_process_ends_with_an_error_of_this_one(runs):
    with pytest.raises(KeyboardInterrupt), module.compiled_ahead(runs, CARD.without_drift(), CARD):
        raise KeyboardInterrupt
    assert STARTED[0].ended == ["terminated", "waited for"]


def test_it_compiles_what_it_is_given(runs, monkeypatch):
    called = []
    monkeypatch.setattr(module, "compiled_model", lambda *given: called.append(given))
    stdin = io.TextIOWrapper(io.BytesIO(pickle.dumps((runs, CARD, False))))
    monkeypatch.setattr(module.sys, "stdin", stdin)
    module.compile_given()
    assert [(card, families) for _, card, families in called] == [(CARD, False)]


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [
        (module.os, "cpu_count", lambda: 1),
        (machine, "is_kept", lambda key: True),
        (machine, "can_be_kept", lambda: False),
        (module, "LAWS", {}),
    ],
    ids=["one core", "cached", "read-only cache", "own law"],
)
def test_no_process_is_started_in_vain(runs, monkeypatch, where, name, value):
    monkeypatch.setattr(where, name, value)
    with module.compiled_ahead(runs, CARD.without_drift(), CARD):
        assert STARTED == []


@pytest.mark.parametrize(("kept", "says"), [(False, True), (True, False)])
def test_the_bar_says_that_it_compiles_for_the_first_time(runs, monkeypatch, kept, says):
    monkeypatch.setattr(machine, "is_kept", lambda key: kept)
    monkeypatch.setattr(machine, "machine", lambda build, key: "a model")
    monkeypatch.setattr(module, "_compiled", {})
    said = []

    def stage(text, total=None):
        said.append(text)
        return lambda count, note="": None

    module.compiled_model(runs, CARD, stage=stage)
    assert said == ["compiling chinchilla" + module.FIRST_TIME * says]
