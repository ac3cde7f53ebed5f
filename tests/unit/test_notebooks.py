"""What a notebook shows: short reprs, HTML, the laws of an average by name, progress."""

import contextlib
import re
from types import SimpleNamespace

import pytest
from support.published import SPREAD

import bayescale
from bayescale import progress
from bayescale.cards import load_card
from bayescale.errors import PosteriorError
from bayescale.inference.many import Fitted
from bayescale.posterior import ModelAverage, Posterior, point
from bayescale.runs import Runs

OTHER = point(
    load_card("kaplan_irreducible"),
    {"E": 1.7, "N_c": 1e9, "alpha_N": 0.3, "D_c": 1e10, "alpha_D": 0.3},
)
AVERAGE = ModelAverage((SPREAD, OTHER), (0.5, 0.5))


def test_every_public_object_is_one_short_line(
    cerebras: Runs, cerebras_posterior: Posterior
) -> None:
    shown = [
        cerebras,
        cerebras.conventions,
        cerebras_posterior,
        cerebras_posterior.card,
        cerebras_posterior.law,
        cerebras_posterior.summary(),
        cerebras_posterior.forecast(flops=[1e22] * 100),
        AVERAGE,
        AVERAGE.summary(),
        AVERAGE.allocate(1e22),
        AVERAGE.data_budget(params=1e9),
        bayescale.LAWS,
        bayescale.load_published("besiroglu_2024"),
        Fitted("a" * 500, error="lost"),
    ]
    for each in shown:
        assert "\n" not in repr(each)
        assert len(repr(each)) < 200, type(each)
    assert repr(cerebras_posterior) == "<Posterior: henighan_compute, 5 runs, converged>"
    assert repr(AVERAGE) == (
        "<ModelAverage: chinchilla + kaplan_irreducible, a point estimate, converged>"
    )


def test_a_fit_and_its_runs_are_tables_in_html(cerebras_posterior: Posterior) -> None:
    page = cerebras_posterior._repr_html_()
    assert "<table>" in page
    assert "Nothing beyond the runs is tested yet" in page
    assert page.count("<img ") == 1
    runs = cerebras_posterior.runs
    assert runs is not None
    rows = re.findall("<tr", runs._repr_html_())
    assert len(rows) == 1 + 5


def test_a_fit_is_backtested_on_its_own_runs_and_laws(
    cerebras_posterior: Posterior, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}
    monkeypatch.setattr(
        bayescale, "backtest", lambda runs, laws, **options: asked.update(options, of=(runs, laws))
    )
    cerebras_posterior.backtest(cutoffs=[1e21])
    assert asked["of"] == (cerebras_posterior.runs, [cerebras_posterior.card])
    assert (asked["cutoffs"], asked["weights"]) == ([1e21], cerebras_posterior.weights)
    with pytest.raises(PosteriorError, match="is a point estimate, which holds no runs"):
        AVERAGE.backtest()
    assert "fit = fit.with_backtest()" in str(cerebras_posterior.trust())


def test_the_laws_of_an_average_are_taken_by_name_or_one_after_another() -> None:
    assert AVERAGE["chinchilla"] is SPREAD
    assert list(AVERAGE) == [SPREAD, OTHER]
    assert len(AVERAGE) == 2
    assert SPREAD["chinchilla"] is SPREAD
    assert list(AVERAGE.tree.children) == ["chinchilla", "kaplan_irreducible"]
    own = AVERAGE.tree["chinchilla/posterior"]["alpha"]
    assert own.identical(SPREAD.tree["posterior"]["alpha"])
    with pytest.raises(PosteriorError) as caught:
        AVERAGE["unified"]
    assert str(caught.value) == (
        "this fit holds no law 'unified': take one of chinchilla, kaplan_irreducible, such as "
        "`fit['chinchilla']`"
    )


def test_many_points_are_shown_by_some_of_them() -> None:
    text = str(SPREAD.forecast(params=[1e9] * 300, tokens=[2e10] * 300))
    assert len(text.splitlines()) < 15
    assert "8 of 300 points are shown. Verdicts: 300 untested." in text


def test_progress_is_shown_in_a_cell_by_default_and_elsewhere_only_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.progress(None) as stage:
        stage("sampling", total=2)(1)
    assert capsys.readouterr() == ("", "")
    lines: list[str] = []

    def display(line: object, display_id: bool) -> SimpleNamespace:
        lines.append(repr(line))
        return SimpleNamespace(update=lambda line: lines.append(repr(line)))

    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", display)
    with progress.progress(None) as stage:
        stage("sampling 4 chains", total=10)(5, "20 draws/s, 0 divergences")
    assert lines[0] == "starting"
    assert "[###############...............] sampling 4 chains 20 draws/s, 0 divergences" in lines
    assert re.fullmatch(
        r"Done in \d+\.\d s; sampling 4 chains: 20 draws/s, 0 divergences", lines[-1]
    )
    with contextlib.suppress(ZeroDivisionError), progress.progress(None) as stage:
        raise ZeroDivisionError
