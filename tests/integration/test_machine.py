"""Machine code kept between processes: the same density, and never the wrong one."""

import ctypes
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import nutpie
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import pytest
import xarray as xr
from support.machine_code import stored_at

from bayescale.cards import load_card
from bayescale.inference.compiled import machine as rooms
from bayescale.inference.compiled.machine import machine
from bayescale.inference.compiled.preconditioning import (
    law_modes,
    preconditioned,
    slope_products,
)
from bayescale.inference.model.build import build_model
from bayescale.inference.model.data import with_runs
from bayescale.inference.model.transforms import LevelAndShares
from bayescale.laws import LAWS
from bayescale.runs import Runs, read_runs

TINY = """
import json, sys
from pathlib import Path
from typing import Any
import numpy as np
from bayescale.inference.compiled.machine import machine
builds = []
def build():
    import pymc as pm
    builds.append(True)
    with pm.Model() as model:
        y = pm.Data("y", [1.0, 2.0])
        mu = pm.Normal("mu")
        scale = pm.LogNormal("scale", mu, 1)
        pm.StudentT("seen", 2 + scale, mu, observed=y)
    return model
made = machine(build, "tiny", Path(sys.argv[1]))
import nutpie
tree = nutpie.sample(made.with_data(y=np.array([0.5, 1.5, 2.5])), draws=50, tune=50, chains=2,
                     seed=1, progress_bar=False)
print(json.dumps([len(builds), tree["posterior"]["mu"].values.sum(),
                  sorted({"pymc", "pytensor"} & set(sys.modules))]))
"""


def tiny() -> pm.Model:
    with pm.Model() as model:
        y = pm.Data("y", [1.0, 2.0])
        mu = pm.Normal("mu")
        pm.Normal("seen", mu, 1, observed=y)
    return model


def two_coordinates() -> pm.Model:
    with pm.Model() as model:
        pm.Normal("mu", shape=2)
    return model


def never() -> pm.Model:
    raise AssertionError("what was kept should have been used")


def density(compiled, point: np.ndarray) -> tuple[float, np.ndarray]:
    """The log density and its gradient, as the sampler asks for them."""
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    call = ctypes.CFUNCTYPE(number, ctypes.c_uint64, *[pointer] * 4)
    gradient, value = np.empty_like(point), np.empty(1)
    places = (array.ctypes.data for array in (point, gradient, value, compiled.user_data))
    assert call(compiled.compiled_logp_func.address)(len(point), *places) == 0
    return value[0], gradient


def entries(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if (path / "model.json").is_file()]


def run_tiny(folder: Path) -> list:
    command = [sys.executable, "-c", TINY, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


CASES = [
    ("chinchilla", {"params": [1e8, 1e9, 1e10], "tokens": [2e9, 2e10, 2e11]}),
    pytest.param(
        "saturating_compute", {"flops": [1e18, 1e19, 1e20, 1e21, 1e22]}, marks=pytest.mark.slow
    ),
]


def with_modes(made: Any) -> Any:
    """Return a model in coordinates scaled at its highest mode."""
    return preconditioned(made, law_modes(made))


@pytest.mark.parametrize(("name", "scales"), CASES)
def test_density_gradient_and_what_is_stored_are_those_of_nutpie_itself(
    name: str, scales: dict[str, list[float]], tmp_path: Path
) -> None:
    card = load_card(name)
    losses = np.linspace(4, 2, len(next(iter(scales.values()))))
    runs = read_runs(pd.DataFrame({**scales, "loss": losses}))
    model = build_model(runs, card)
    ours = with_runs(machine(lambda: model, folder=tmp_path), runs, card)
    theirs = nutpie.compile_pymc_model(model, backend="numba")  # later: it must not find ours
    assert ours.shape_info[0] == theirs.shape_info[0]
    for seed in range(3):
        point = ours.initial_point_func(seed)
        for mine, other in zip(density(ours, point), density(theirs, point), strict=True):
            # terms as large as the largest slope cancel in others, and leave their rounding
            rounding = 1e-15 * float(np.abs(other).max())
            np.testing.assert_allclose(mine, other, rtol=1e-12, atol=rounding)
        np.testing.assert_allclose(stored_at(ours, point), stored_at(theirs, point), rtol=1e-12)


def test_coordinates_in_which_chains_move_are_of_the_same_density(tmp_path: Path) -> None:
    made = machine(tiny, folder=tmp_path).with_data(y=np.array([0.5, 1.5, 2.5]))
    scaled = with_modes(made)
    root, center = scaled.linear[:, :-2], scaled.linear[:, -2]
    assert center == pytest.approx(4.5 / 4)  # three observations and the prior, all of one weight
    assert root == pytest.approx(4**-0.5)
    for z in (np.array([0.3]), np.array([-2.0])):
        value, slope = made.density(center + root @ z)
        assert scaled.density(z)[0] == pytest.approx(value, rel=1e-12)
        assert scaled.density(z)[1] == pytest.approx(root.T @ slope, rel=1e-12)
        assert stored_at(scaled, z) == pytest.approx(stored_at(made, center + root @ z), rel=1e-12)


def test_products_of_exponents_and_shares_change_the_coordinates_alone(tmp_path: Path) -> None:
    with pm.Model(coords={"term": ["E", "A", "B"]}) as model:
        pm.LogNormal("alpha", -1.0, 0.3)
        pm.LogNormal("beta", -1.2, 0.3)
        mu = [0.5, -1.0, -0.3]
        pm.Normal("log_terms", mu, 1.0, dims="term", default_transform=LevelAndShares())
    plain = machine(lambda: model, folder=tmp_path).with_data()
    products = slope_products(LAWS["chinchilla"], plain.places)
    np.testing.assert_array_equal(products, [[0, 3, 2, 1], [1, 3, 2, 2]])
    made, rng = plain.in_products(products), np.random.default_rng(0)
    assert made.with_data().products is products

    def moved(y: np.ndarray) -> np.ndarray:
        log_shares = y[3:] - np.log(1 + np.exp(y[3:]).sum())
        return np.concatenate([y[:2] - log_shares, y[2:]])

    np.testing.assert_allclose(moved(made.prior_center()), plain.prior_center())
    for y in (made.prior_center(), *rng.standard_normal((3, 5))):
        value, slopes = made.density(y)
        assert value == pytest.approx(plain.density(moved(y))[0], rel=1e-12)
        ends = [[made.density(y + step * e)[0] for step in (1e-5, -1e-5)] for e in np.eye(5)]
        assert slopes == pytest.approx([(up - down) / 2e-5 for up, down in ends], rel=1e-6)
        xr.testing.assert_allclose(made.draw_at(y), plain.draw_at(moved(y)))
        corners = np.array([moved(y + 1e-5 * e) - moved(y - 1e-5 * e) for e in np.eye(5)]) / 2e-5
        assert np.linalg.det(corners) == pytest.approx(1.0)  # volume is preserved


def test_products_are_sampled_where_terms_are_amplitudes_whose_shares_are_sampled() -> None:
    chinchilla = {"log_terms_levelshares__": slice(2, 5), "alpha_log__": slice(0, 1)}
    for law, places in (
        ("chinchilla", chinchilla),  # an exponent is not sampled by its log
        ("chinchilla", {"log_terms": slice(2, 5)}),
        ("kaplan", {"log_terms_levelshares__": slice(2, 4)}),
        ("chinchilla", {"log_terms_levelshares__": slice(0, 3)}),
    ):
        assert slope_products(LAWS[law], places).shape == (0, 4)


def test_chains_start_where_their_draws_will_lie(all_chinchilla: Runs, tmp_path: Path) -> None:
    """With drift too, although from the prior's center the way there is long."""
    card = load_card("chinchilla")
    made = machine(lambda: build_model(all_chinchilla, card), folder=tmp_path)
    plain = with_runs(made, all_chinchilla, card)
    scaled = with_modes(plain)
    size = plain.places["drift_flops_log__"]
    middle = np.zeros(scaled.n_dim)
    middle[size] = plain.prior_center()[size]
    top = scaled.density(middle)[0]
    for seed in range(4):
        assert scaled.density(scaled.initial_point_func(seed))[0] > top - 100
        assert plain.density(plain.initial_point_func(seed))[0] < top - 1000


@pytest.mark.parametrize(("lower", "sides"), [(-2.0, {-1.0, 1.0}), (-7.0, {-1.0})])
def test_no_chain_starts_at_a_top_of_next_to_no_mass(
    lower: float, sides: set[float], tmp_path: Path
) -> None:
    """At -5 and 5; the prior's center lies between them, and chains start near either."""
    with pm.Model() as model:
        x = pm.Normal("x", 0, 10)
        pm.Potential("modes", pt.logaddexp(-((x + 5) ** 2) / 2, lower - (x - 5) ** 2 / 2))
    plain = machine(lambda: model, folder=tmp_path).with_data()
    assert {np.sign(plain.initial_point_func(seed)[0]) for seed in range(20)} == {-1.0, 1.0}
    scaled = with_modes(plain)
    starts = [scaled.initial_point_func(seed) for seed in range(20)]
    places = scaled.linear[:, -2] + np.array(starts) @ scaled.linear[:, :-2].T
    assert set(np.sign(places[abs(places) > 2])) == sides


def test_a_later_process_draws_the_same_without_building_the_model(tmp_path: Path) -> None:
    built, drawn, imported = run_tiny(tmp_path)
    assert (built, imported) == (1, ["pymc", "pytensor"])
    assert run_tiny(tmp_path) == [0, drawn, []]


BITS = """
import sys
from pathlib import Path
from typing import Any
import numpy as np, pandas as pd
from bayescale.cards import load_card
from bayescale.inference.model.data import with_runs
from bayescale.inference.compiled.machine import machine
from bayescale.inference.model.build import build_model
from bayescale.runs import read_runs

card = load_card("kaplan_compute")
flops = np.geomspace(1e18, 1e22, 9)
runs = read_runs(pd.DataFrame({"flops": flops, "loss": np.linspace(4, 2, 9)}))
made = machine(lambda: build_model(runs, card), sys.argv[2], Path(sys.argv[1]))
made = with_runs(made, runs, card)
for seed in range(20):
    found = made.density(made.start_near_prior(seed))
    print(*(array.tobytes().hex() for array in map(np.asarray, found)))
"""


def test_neither_keeping_nor_what_was_compiled_before_moves_the_last_bit(tmp_path: Path) -> None:
    """New, kept, and compiled anew of the pieces that PyTensor keeps: each in its own process."""
    flags = os.environ | {"PYTENSOR_FLAGS": f"base_compiledir={tmp_path / 'pieces'}"}
    new, kept, anew = (
        subprocess.run(
            [sys.executable, "-c", BITS, str(tmp_path / "machines"), name],
            env=flags, capture_output=True, text=True, check=True,
        ).stdout
        for name in ("one", "one", "other")
    )  # fmt: skip
    assert kept == new
    assert anew == new


def test_two_processes_at_once_leave_one_entry_and_draw_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as both:
        one, other = both.map(run_tiny, [tmp_path, tmp_path])
    assert one[1] == other[1]
    assert len(entries(tmp_path)) == 1
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == entries(tmp_path)
    assert sorted([one[0], other[0]]) == [0, 1]  # one waited for the other
    assert run_tiny(tmp_path)[0] == 0


def flip_a_byte(entry: Path) -> None:
    code = entry / "code.o"
    content = bytearray(code.read_bytes())
    content[len(content) // 2] ^= 0xFF
    code.write_bytes(content)


def cut_short(entry: Path) -> None:
    code = entry / "code.o"
    code.write_bytes(code.read_bytes()[:100])


def lose_code(entry: Path) -> None:
    (entry / "code.o").unlink()


def other_code(entry: Path) -> None:
    """Code of another model, which is whole."""
    elsewhere = entry.parent / "elsewhere"
    machine(two_coordinates, "two", elsewhere)
    (other,) = entries(elsewhere)
    (entry / "code.o").write_bytes((other / "code.o").read_bytes())


def no_digest(entry: Path) -> None:
    described = json.loads((entry / "model.json").read_text())
    described["digest"] = ""
    (entry / "model.json").write_text(json.dumps(described))


def kept_by_numba(entry: Path) -> None:
    """What an earlier version kept."""
    (entry / "code.o").rename(entry / "functions.py")
    (entry / "__pycache__").mkdir()
    (entry / "__pycache__" / "functions.density.nbi").write_bytes(b"")


def no_description(entry: Path) -> None:
    (entry / "model.json").write_text("{}")


def anyone_may_write(entry: Path) -> None:
    entry.chmod(0o777)


HARMS = [
    flip_a_byte, cut_short, lose_code, other_code, no_digest, kept_by_numba, no_description,
    anyone_may_write,
]  # fmt: skip


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_what_was_kept_and_harmed_is_made_anew(harm, tmp_path: Path) -> None:
    first = machine(tiny, "tiny", tmp_path)
    (entry,) = entries(tmp_path)
    harm(entry)
    with pytest.raises(AssertionError, match="should have been used"):
        machine(never, "tiny", tmp_path)
    second = machine(tiny, "tiny", tmp_path)
    point = np.array([0.3])
    assert density(second, point) == density(first, point)
    machine(never, "tiny", tmp_path)  # mended


def test_kept_code_answers_to_its_own_key_alone(tmp_path: Path) -> None:
    machine(tiny, "tiny", tmp_path)
    machine(never, "tiny", tmp_path)
    with pytest.raises(AssertionError):
        machine(never, "another", tmp_path)


def test_nothing_is_kept_without_a_key(tmp_path: Path) -> None:
    machine(tiny, folder=tmp_path)
    assert not entries(tmp_path)


def test_a_place_that_is_no_folder_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    made = machine(tiny, "tiny", tmp_path / "file" / "cache")
    assert np.isfinite(density(made, np.array([0.3]))[0])


def test_only_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "MOST_KEPT", 2)
    for key in ("first", "second", "third"):
        machine(tiny, key, tmp_path)
    assert len(entries(tmp_path)) == 2
    machine(never, "third", tmp_path)


def test_data_of_another_rank_or_name_are_refused(tmp_path: Path) -> None:
    made = machine(tiny, folder=tmp_path)
    with pytest.raises(ValueError, match="y has 2 dimensions, but must have 1"):
        made.with_data(y=np.ones((2, 2)))
    with pytest.raises(KeyError, match="z"):
        made.with_data(z=1.0)


def test_an_unknown_engine_compiles_itself_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise TypeError("_make_functions() got an unexpected keyword")

    monkeypatch.setattr(rooms, "_compile", fail)
    with pytest.warns(RuntimeWarning, match="itself, which is slower: TypeError: _make_functions"):
        made = machine(tiny, "tiny", tmp_path)
    tree = nutpie.sample(made, draws=20, tune=50, chains=1, seed=1, progress_bar=False)
    assert tree["posterior"]["mu"].shape == (1, 20)
    assert not entries(tmp_path)
