"""The explorer: views in addresses, every number as its command prints it, and bad input told."""

import json
import re
import shlex
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest
from support.explored import (
    HOSTILE,
    chinchilla,
    downstream,
    of_families,
    of_params,
    pool,
    with_backtest,
)
from support.published import BESIROGLU, ONE, SPREAD

from bayescale import explore as room
from bayescale.cards import load_card
from bayescale.command_lines import word
from bayescale.errors import DecisionError, ExplorerError, UnconvergedError, as_options
from bayescale.explore import answers, controls, figure, gpus, opening, page
from bayescale.explore.answers import answer
from bayescale.explore.controls import View, first_texts, read_view, to_query
from bayescale.explore.tabs import TABS, titles
from bayescale.explore.text import plain
from bayescale.plotting.inline import in_parts
from bayescale.posterior import Fit, ModelAverage, point, save
from bayescale.splits.hardware import Cluster
from bayescale.splits.utilization import Utilization

FAMILIES = of_families()
GPUS = Cluster(
    64, 989e12, utilization=Utilization.of({"1B": 0.45, "70B": 0.3}), price=2.0, memory=5e9
)
"""Their memory holds the training state of 20B params."""

# views and addresses

SIZES = st.floats(1e-3, 1e30)


@given(
    st.builds(
        View,
        size=SIZES,
        tolerance=st.floats(1e-6, 0.999),
        target=st.none() | st.floats(1e-3, 1e3),
        max_tokens=st.none() | SIZES,
        inference_tokens=st.none() | SIZES,
        family=st.sampled_from([None, "a", HOSTILE]),
    )
)
def test_a_view_comes_back_from_its_address(view: View) -> None:
    assert read_view(to_query(view, FAMILIES), FAMILIES) == (view, {})


def test_sizes_are_written_as_people_write_them() -> None:
    assert [word(x) for x in (70e9, 1.4e12, 5.76e23, 2.2)] == ["70B", "1.4T", "5.76e23", "2.2"]
    assert word(1.23456789e12) == "1234567890000"
    view = View(5.76e23, target=1.95, max_tokens=1.4e12, family="a")
    assert to_query(view, FAMILIES) == {
        "flops": "5.76e23", "tolerance": "0.02", "target": "1.95", "max_tokens": "1.4T",
        "family": "a",
    }  # fmt: skip


def test_the_first_view_is_ten_times_the_largest_run() -> None:
    texts = first_texts(FAMILIES)
    assert texts == {
        "flops": "1.97e23", "tolerance": "2%", "target": "", "max_tokens": "",
        "inference_tokens": "", "family": "",
    }  # fmt: skip
    assert read_view(texts, FAMILIES)[0] == View(1.97e23)
    assert first_texts(downstream()) == {"lm_loss": "2.56", "tolerance": "2%", "target": ""}
    view, problems = read_view(first_texts(SPREAD), SPREAD)
    assert view is None
    assert problems == {"flops": "Compute budget (FLOP) is empty: write for example 5.76e23"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "flops", "many",
            "Compute budget (FLOP) is 'many', which is not a size: write a number, with K, M, B or "
            "T after it if you like, for example 70B, 1.4T or 5.76e23",
        ),
        ("flops", "", "Compute budget (FLOP) is empty: write for example 5.76e23"),
        ("max_tokens", "0", "Tokens available is '0', but it must be finite and greater than zero"),
        (
            "tolerance", "200%",
            "Tolerance is '200%', but must lie between 0 and 1, or 0% and 100%",
        ),
        (
            "tolerance", "tight",
            "Tolerance is 'tight', which is not a number: write a share of the loss, 2% or 0.02",
        ),
        (
            "target",
            "nan",
            "Target loss is 'nan', but must be finite and above zero: write a loss such as 1.95",
        ),
        ("family", "c", f"family 'c' is not in this fit: choose one of a, {HOSTILE}"),
    ],
)  # fmt: skip
def test_bad_texts_are_told_and_nothing_is_guessed(name: str, text: str, message: str) -> None:
    view, problems = read_view(first_texts(FAMILIES) | {name: text}, FAMILIES)
    assert view is None
    assert problems == {name: message}


# answers


@pytest.mark.parametrize("name", ["one law", "families", "pool", "gpus"])
def test_every_number_is_what_its_command_prints(bayescale, name: str, tmp_path: Path) -> None:
    fit: Fit = {"families": of_families, "pool": pool}.get(name, chinchilla)()
    file = save(fit, tmp_path / "fit.nc")
    view = View(
        5.76e23, tolerance=0.03, target=1.95, max_tokens=None if name == "gpus" else 1e12,
        inference_tokens=2e12, family="a" if fit.families else None,
    )  # fmt: skip
    cluster = GPUS if name == "gpus" else None
    found = answer(fit, view, budget=True, cluster=cluster)
    assert found.allocation is not None
    assert found.allocation.options is not None
    spent = found.allocation.options.points["flops"]
    np.testing.assert_allclose(spent, view.size)  # limits do not cut off any of these splits
    other_tab = answer(fit, view, cluster=cluster)
    assert other_tab.choice == found.choice  # without its regret
    assert other_tab.run.equals(found.run)
    for said in answers.commands(fit, found, str(file)):
        _, command, *words = shlex.split(said)
        ran = bayescale(command, *words, "--json").json
        mine = {"allocate": found.allocation, "forecast": found.forecast}[command].to_json()
        if command == "allocate":
            mine.pop("options")  # the figure's
            mine.pop("exponent")  # not asked for
        here, there = leaves(mine), leaves({k: ran[k] for k in mine})
        assert set(here) == set(there)
        for at, value in here.items():
            number = isinstance(value, float)
            value = as_options(value) if isinstance(value, str) else value
            assert value == (pytest.approx(there[at], rel=1e-9) if number else there[at]), at


def test_gpus_limit_the_model_and_show_days_and_dollars(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """5.76e23 FLOP take 5.76e23 / (64 * 989e12 * 0.3) s, and $2 an hour each."""
    file = save(chinchilla(), tmp_path / "fit.nc")
    with opened(monkeypatch, file, "--cluster", json.dumps(GPUS.to_json())) as app:
        app.query_params["flops"], app.query_params["tab"] = "5.76e23", "Budget"
        found = numbers(app.run())
        assert found["Params"] == "20B"
        said = [m.value for m in app.markdown]
        hours = 5.76e23 / (989e12 * GPUS.utilization_at(20e9)) / 3600
        days, dollars = f"{hours / 64 / 24:.0f}", f"{2 * hours:,.0f}"
        assert any(plain(f"The budget takes {days} days on 64 GPUs") in text for text in said)
        assert any(
            plain(f", ${dollars}. Their memory holds at most 20B params.") in text for text in said
        )


def test_gpus_are_set_on_the_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """5.76e23 FLOP take 5.76e23 / (64 * 989e12 * 0.4) s, and $2.5 an hour each."""
    file = save(chinchilla(), tmp_path / "fit.nc")
    hours = 5.76e23 / (989e12 * 0.4) / 3600
    days = plain(f"The budget takes {hours / 64 / 24:.0f} days on 64 GPUs")
    with opened(monkeypatch, file) as app:
        app.query_params["flops"], app.query_params["tab"] = "5.76e23", "Budget"
        assert numbers(app.run())["Params"] == "68.1B"
        app.text_input("gpus").set_value("64").run()
        assert numbers(app) == {}
        assert [e.value for e in app.sidebar.error] == [
            plain("the type of the 64 GPUs is missing: choose one")
        ]
        app.selectbox("gpu").set_value("h100").run()
        app.text_input("gpu_price").set_value("$2.5").run()
        found, said = numbers(app), [m.value for m in app.markdown]
        assert any(text.startswith(days) for text in said)
        assert any(plain(f", ${2.5 * hours:,.0f}.") in text for text in said)
        command = "--flops 5.76e23 --gpus 64 --gpu h100 --gpu-price 2.5 --utilization 0.4"
        assert command in app.code[0].value
        address = address_of(app)
        assert {k: v for k, v in address.items() if "gpu" in k} == {
            "gpus": "64", "gpu": "h100", "gpu_price": "$2.5",
        }  # fmt: skip
        shared = AppTest.from_file(page.__file__, default_timeout=60)
        for name, value in address.items():
            shared.query_params[name] = value
        assert numbers(shared.run()) == found
        assert any(m.value.startswith(days) for m in shared.markdown)


def test_gpus_of_the_command_can_be_changed_on_the_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = save(chinchilla(), tmp_path / "fit.nc")
    with opened(monkeypatch, file, "--cluster", json.dumps(GPUS.to_json())) as app:
        app.query_params["flops"], app.query_params["tab"] = "5.76e23", "Budget"
        assert numbers(app.run())["Params"] == "20B"  # what fits into their memory
        assert address_of(app)["gpu"] == "989T FLOP/s"
        app.text_input("gpus").set_value("128").run()
        assert numbers(app)["Params"] == "40B"
        app.text_input("gpus").set_value("").run()
        assert numbers(app)["Params"] == "68.1B"
        shared = AppTest.from_file(page.__file__, default_timeout=60)
        for name, value in address_of(app).items():
            shared.query_params[name] = value
        assert numbers(shared.run())["Params"] == "68.1B"
        assert not any("budget takes" in m.value for m in shared.markdown)


@pytest.mark.parametrize(
    "given", [None, GPUS, Cluster.of("h100", 512, price=2.3456789, memory=8e10)]
)
def test_a_cluster_comes_back_from_its_texts(given: Cluster | None) -> None:
    assert gpus.read_cluster(gpus.gpu_texts(given), ONE, given) == (given, {})
    assert gpus.gpu_controls(of_params(), given) == ()
    assert gpus.read_cluster(gpus.gpu_texts(given), of_params(), given) == (None, {})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("gpus", "2.5", "Number of GPUs is '2.5', which is not a whole number: write 512"),
        (
            "gpus", "1e9",
            "this cluster is not possible:\n  - gpus is 1e+09, but must be 1 to 1e8",
        ),
        ("gpu", "v100", "GPU 'v100' is unknown: choose one of a100, h100, h200, b200"),
        ("gpu", "", "the type of the 8 GPUs is missing: choose one"),
        (
            "gpu_price", "cheap",
            "Dollars for a GPU-hour is 'cheap', which is not a number: write dollars such as 2.5",
        ),
    ],
)  # fmt: skip
def test_bad_texts_about_gpus_are_told(name: str, text: str, message: str) -> None:
    texts = {"gpus": "8", "gpu": "h100", "gpu_price": "2"} | {name: text}
    assert gpus.read_cluster(texts, ONE, None) == (None, {name: message})


def test_gpus_of_a_law_of_one_scale_are_refused(bayescale, tmp_path: Path) -> None:
    law = point(load_card("henighan_compute"), {"E": 1.7, "C_c": 1e18, "alpha_C": 0.1})
    file = save(law, tmp_path / "fit.nc")
    ran = bayescale("explore", file, "--no-browser", "--gpus", "64", "--gpu", "h100")
    assert ran.code == 2
    assert "so it cannot split a budget" in ran.err
    assert Cluster.from_json(json.loads(json.dumps(GPUS.to_json()))) == GPUS


def test_a_target_is_in_the_unit_that_its_control_states(bayescale, tmp_path: Path) -> None:
    """So far from the losses, the command line asks for the unit; the page has said it."""
    fit = chinchilla()
    file = save(fit, tmp_path / "fit.nc")
    found = answer(fit, View(5.76e23, target=0.9))
    assert found.run["p_below_target"] == 0.0
    told = answers.commands(fit, found, str(file))[-1]
    _, command, *words = shlex.split(told)
    assert bayescale(command, *words, "--json").json["p_below_target"] == 0.0
    without = [word for word in words if word not in ("--loss-unit", "nats")]
    assert "say so with --loss-unit nats" in bayescale(command, *without).err


def leaves(value: Any, at: str = "") -> dict[str, Any]:
    """Numbers and texts of an answer by where they stand, undefined ones as the command line's."""
    if isinstance(value, dict):
        return {k: v for name, x in value.items() for k, v in leaves(x, f"{at}/{name}").items()}
    if isinstance(value, list | tuple):
        return {k: v for i, x in enumerate(value) for k, v in leaves(x, f"{at}/{i}").items()}
    return {at: value}


def test_one_scale_has_nothing_to_split() -> None:
    for fit, value in ((of_params(), 70e9), (downstream(), 2.5)):
        found = answer(fit, View(value))
        assert found.choice is None
        assert found.allocation is None
        assert found.run[controls.scale_of(fit)] == value
        assert titles(fit, found) == ["Forecast", "Trust", "Coefficients"]
    fit = chinchilla()
    assert titles(fit, answer(fit, View(5.76e23))) == list(TABS)


@pytest.mark.parametrize("fit", [FAMILIES, of_params(), downstream(), SPREAD])
def test_sliders_reach_from_the_runs_to_far_beyond(fit: Fit) -> None:
    for control in controls.controls(fit):
        values = [control.read(step) for step in control.steps if step]
        assert values == sorted(values)
        assert len(values) >= 10 or control.choices
        for step in control.steps:
            assert control.nearest(step) == step
    size = controls.controls(fit)[0]
    assert size.nearest("nonsense") is None
    low, high = controls.ends_of(fit)
    assert size.read(size.steps[0]) == pytest.approx(low, rel=0.3)
    assert size.read(size.steps[-1]) == pytest.approx(high, rel=0.3)
    assert high / low > (1.1 if "lm_loss" in fit.inputs else 1e3)


def test_the_slider_shows_the_step_nearest_to_what_is_typed() -> None:
    size, _, target, available, served = controls.controls(chinchilla())[:5]
    assert size.nearest("1.3e22") == "1.25e22"
    assert size.nearest("1e40") == size.steps[-1]
    assert (target.nearest(""), available.nearest(""), served.nearest(" ")) == ("", "", "")
    assert size.nearest("") is None
    assert available.nearest("1.1T") == "1T"


def test_an_unconverged_fit_is_refused_unless_allowed(bayescale, tmp_path: Path) -> None:
    fit = chinchilla(passed=False)
    with pytest.raises(UnconvergedError, match="allow_unconverged=True"):
        answer(fit, View(1e24))
    assert answer(fit, View(1e24), allow_unconverged=True).run["loss_median"] > 0
    ran = bayescale("explore", save(fit, tmp_path / "fit.nc"), "--no-browser")
    assert ran.code == 2
    assert "failed its convergence checks" in ran.err


# the page


@contextmanager
def opened(monkeypatch: pytest.MonkeyPatch, file: Path, *more: str) -> Iterator[AppTest]:
    with monkeypatch.context() as patch:
        patch.setattr("sys.argv", ["page.py", str(file), *more])
        yield AppTest.from_file(page.__file__, default_timeout=60)


def address_of(app: AppTest) -> dict[str, str]:
    each = app.query_params.items()  # in lists, until the page has set them
    return {name: value if isinstance(value, str) else value[0] for name, value in each}


def numbers(app: AppTest) -> dict[str, str]:
    assert not app.exception
    return {metric.label: metric.value for metric in app.metric}


def test_controls_change_the_numbers_and_the_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with opened(monkeypatch, save(pool(), tmp_path / "fit.nc")) as app:
        first = numbers(app.run())
        assert address_of(app) == {"flops": "1.97e23", "tolerance": "2%"}
        assert first["Probability below target"] == "\N{EM DASH}"
        assert len(app.table[0].value) == 2
        app.text_input("flops").set_value("5.76e23").run()
        app.text_input("target").set_value("1.95").run()
        second = numbers(app)
        assert second["Mean over seeds (nats/token)"] < first["Mean over seeds (nats/token)"]
        assert second["Probability below 1.95"].endswith("%")
        app.session_state["tab"] = "Budget"
        before = numbers(app.run())
        app.text_input("inference_tokens").set_value("1T").run()
        assert float(numbers(app)["Tokens per param"]) > float(before["Tokens per param"])
        address = address_of(app)
        assert address == {
            "flops": "5.76e23", "tolerance": "2%", "target": "1.95", "inference_tokens": "1T",
            "tab": "Budget",
        }  # fmt: skip
        shared = AppTest.from_file(page.__file__, default_timeout=60)
        for name, value in address.items():
            shared.query_params[name] = value
        assert numbers(shared.run()) == numbers(app)
        shared.query_params["flops"] = "1e24"  # as the browser's back button does
        assert numbers(shared.run()) != numbers(app)
        assert shared.text_input("flops").value == "1e24"


def test_a_figure_is_drawn_again_only_if_it_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drawn = []

    def counted(draw: Any, name: str, *args: Any, **more: Any) -> Any:
        drawn.append(name)
        return in_parts(draw, name, *args, **more)

    monkeypatch.setattr(figure, "in_parts", counted)
    with opened(monkeypatch, save(chinchilla(), tmp_path / "fit.nc")) as app:
        app.query_params["flops"], app.query_params["tab"] = "5.76e23", "Budget"
        app.run()
        assert drawn == ["splits"]
        app.text_input("target").set_value("1.9").run()
        app.text_input("tolerance").set_value("1%").run()
        assert numbers(app)["Probability below 1.9"].endswith("%")
        assert drawn == ["splits"]
        app.text_input("inference_tokens").set_value("2T").run()
        assert numbers(app)
        assert drawn == ["splits"] * 2


def test_bad_input_is_told_in_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with opened(monkeypatch, save(chinchilla(), tmp_path / "fit.nc")) as app:
        app.query_params["nonsense"] = "<b>"
        app.query_params["flops"] = "1e400"
        app.run()
        assert numbers(app) == {}
        (told,) = app.sidebar.error
        assert told.value == plain(
            "Compute budget (FLOP) is '1e400', but it must be finite and greater than zero"
        )
        assert plain("The address also names nonsense") in app.warning[0].value
        app.text_input("flops").set_value("1e24").run()
        assert numbers(app)
        assert not app.error


def test_names_are_text_and_not_markup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with opened(monkeypatch, save(FAMILIES, tmp_path / "fit.nc")) as app:
        app.query_params["family"] = "<i>gone</i>"
        app.run()
        assert plain("family '<i>gone</i>' is not in this fit") in app.sidebar.error[0].value
        app.selectbox("family").set_value(HOSTILE).run()
        assert numbers(app)
        where = next(m.value for m in app.markdown if "least expected loss" in m.value)
        assert where.endswith(plain(f"for {HOSTILE}"))
        assert re.findall(r"(?<!\\)[<>:!()\[\]$_]", where) == []
        assert not any(getattr(m, "allow_html", False) for m in app.markdown)


def test_an_unconverged_fit_says_so_at_the_top(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = save(chinchilla(passed=False), tmp_path / "fit.nc")
    with opened(monkeypatch, file) as app:
        assert plain("failed its convergence checks") in app.run().error[0].value
        assert numbers(app) == {}
    with opened(monkeypatch, file, "--allow-unconverged") as app:
        assert app.run().error[0].value.startswith("Not to be trusted")
        assert numbers(app)


@pytest.mark.parametrize("name", ["one draw", "downstream"])
def test_laws_of_every_kind_have_a_page(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fit = {"one draw": ONE, "downstream": downstream()}[name]
    with opened(monkeypatch, save(fit, tmp_path / "fit.nc")) as app:
        app.run()
        if name == "one draw":
            assert numbers(app) == {}
            app.text_input("flops").set_value("5.76e23").run()
            app.session_state["tab"] = "Budget"
            assert numbers(app.run())["Params"] == "72.2B"
        else:
            assert "Params" not in numbers(app)
            assert "Mean over seeds (error)" in numbers(app) or len(numbers(app)) == 3


def test_a_slider_writes_the_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with opened(monkeypatch, save(chinchilla(), tmp_path / "fit.nc")) as app:
        before = numbers(app.run())
        assert app.select_slider("flops_slider").value == "2e23"
        app.select_slider("flops_slider").set_value("5e23").run()
        assert app.text_input("flops").value == "5e23"
        assert address_of(app)["flops"] == "5e23"
        assert numbers(app) != before
        app.text_input("flops").set_value("1.97e23").run()
        assert app.select_slider("flops_slider").value == "2e23"
        assert numbers(app) == before


@pytest.mark.parametrize(
    "name",
    ["one law"]
    + [pytest.param(x, marks=pytest.mark.integration) for x in ("families", "average", "one draw")],
)
@pytest.mark.parametrize("tab", TABS)
def test_every_tab_answers_or_says_why(
    name: str, tab: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kinds = {"one law": with_backtest(chinchilla()), "families": FAMILIES, "average": pool()}
    fit = kinds.get(name, SPREAD)
    with opened(monkeypatch, save(fit, tmp_path / "fit.nc")) as app:
        app.query_params["flops"], app.query_params["tab"] = "5.76e23", tab
        assert numbers(app.run())
        commands = [code.value for code in app.code]
        told = [*app.warning, *app.info]
        assert commands or any("point estimate" in message.value for message in told)
        assert all(
            line.startswith("bayescale ") for line in "\n".join(commands).split("\n") if line
        )


# what is uploaded


def told(done: float, text: str) -> None:
    assert 0 <= done <= 1


def test_a_fit_is_taken_into_a_private_folder(tmp_path: Path) -> None:
    data = save(chinchilla(), tmp_path / "fit.nc").read_bytes()
    taken = opening.take("../../elsewhere/fit.nc", data, told)
    folder = taken.path.parent
    assert taken.path.read_bytes() == data
    assert [file.name for file in folder.iterdir()] == ["upload.nc"]
    assert folder.stat().st_mode & 0o077 == 0
    assert tmp_path not in taken.path.parents
    del taken
    assert not folder.exists()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("runs.xlsx", b"x", "'runs.xlsx' is neither a run log nor a fit: give a file of .csv, "
         ".parquet, .json, .jsonl, .nc"),
        ("runs.csv", b"", "'runs.csv' is empty: give a file with runs, or a fit"),
        ("runs.csv", b"0" * 1001, "'runs.csv' has 0 MB, and at most 0.001 are taken here: fit it "
         "at the command line, bayescale fit, and open that fit"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_named(
    name: str, data: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "MOST_LOG", 0.001)
    with pytest.raises(ExplorerError) as error:
        opening.take(name, data, told)
    assert str(error.value) == message


def test_a_folder_that_is_full_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ExplorerError, match=r"cannot be kept in .*: No space left on device"):
        opening.take("fit.nc", b"data", told)


def test_a_log_that_cannot_be_fitted_says_why() -> None:
    with pytest.raises(ExplorerError) as error:
        opening.take("runs.csv", b"params,tokens\n1e9,2e10\n", told)
    assert str(error.value) == (
        "runs.csv cannot be used:\n  - it has no loss among its columns params, tokens: name it "
        "with --column loss=HEADER"
    )


# starting it


def test_what_is_missing_is_named(
    bayescale, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(room, "find_spec", lambda name: None)
    ran = bayescale("explore", save(chinchilla(), tmp_path / "fit.nc"))
    assert ran.code == 2
    assert ran.err == (
        "error: the explorer needs Streamlit, which is not installed: python -m pip install "
        "streamlit\n"
    )


def test_a_busy_port_is_told(bayescale, tmp_path: Path) -> None:
    file = save(chinchilla(), tmp_path / "fit.nc")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ran = bayescale("explore", file, "--no-browser", "--port", port)
    assert ran.code == 2
    assert ran.err == (
        f"error: port {port} cannot be listened on (Address already in use): give another with "
        "--port, or end what uses it\n"
    )
    ran = bayescale("explore", file, "--port", 70000)
    assert ran.err == "error: port is 70000, but must lie between 1 and 65535\n"
    assert bayescale("explore", tmp_path / "none.nc").code == 2


def test_laws_that_do_not_agree_show_no_average() -> None:
    outer = load_card("chinchilla_outer")
    values = BESIROGLU | {"A": 30 * BESIROGLU["A"], "kappa": 1.0}
    other = point(outer, {name: values[name] for name in outer.law.coefficients})
    fit = ModelAverage((ONE, other), (0.5, 0.5))
    with pytest.raises(DecisionError, match=r"^The laws do not agree: chinchilla says 9.05B"):
        answer(fit, View(1e22))
