"""Learning rate and batch size: the valley's equations, sweeps that are none, and answers."""

from functools import partial
from inspect import Parameter, Signature
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayescale
from bayescale.cards import load_card
from bayescale.contract import CHECKS
from bayescale.contract.subject import Subject
from bayescale.errors import (
    DecisionError,
    FigureError,
    PosteriorError,
    RunLogError,
    UnconvergedError,
)
from bayescale.inference.valley import compiled_valley
from bayescale.laws import Law
from bayescale.runs import Runs, read_runs
from bayescale.tuning import (
    Tuning,
    excess,
    frontier,
    load_tuning_card,
    open_tuning,
    read_sweep,
    save_tuning,
)

VALUES = {
    "curve_ratio": np.log(0.5), "coupling": -0.3, "skew_lr": 0.6, "skew_batch": 0.2,
    "turn_lr": 0.4, "turn_batch": 0.1,
}  # fmt: skip
TRUTH = {
    "lr_0": 0.1, "lr_params": -0.6, "lr_tokens": 0.3, "batch_0": -0.1, "batch_params": -0.1,
    "batch_tokens": 0.5, "curve_lr": np.log(0.02), "curve_params": 0.0, "curve_tokens": 0.0,
    "cells_level": 1e-4, "cells_lr": 1e-3, "cells_batch": 1e-3, "cells_curve": 1e-3,
    "noise": 5e-4, "noise_excess": 0.05, "noise_dof": 10.0, "noise_skew": 0.2, **VALUES,
}  # fmt: skip


def made(cells: int = 4, *, batch: bool = True, seed: int = 0) -> pd.DataFrame:
    """A sweep from the truth: a grid of settings in each of some cells."""
    rng = np.random.default_rng(seed)
    params = np.repeat(np.geomspace(1e8, 8e8, cells // 2), 2)
    tokens = params * np.tile([10.0, 60.0], cells // 2)
    n, d = np.log(params / np.exp(np.log(params).mean())), np.log(tokens)
    d = d - d.mean()
    rows = []
    sizes = np.geomspace(64, 1024, 5) if batch else [256.0]
    for i in range(cells):
        best = [TRUTH[f"{k}_0"] + TRUTH[f"{k}_params"] * n[i] + TRUTH[f"{k}_tokens"] * d[i]
                for k in ("lr", "batch")]  # fmt: skip
        for lr in 1e-3 * 2.0 ** np.arange(-3, 4):
            for size in sizes:
                z2 = np.log(size / 256.0) - best[1] if batch else None
                g = excess(TRUTH, TRUTH["curve_lr"], np.log(lr / 1e-3) - best[0], z2)
                u = np.log(2.6) - 0.06 * n[i] - 0.07 * d[i]
                loss = np.exp(u + g + 5e-4 * rng.standard_normal())
                rows.append((params[i], tokens[i], lr, size, loss))
    frame = pd.DataFrame(rows, columns=["params", "tokens", "lr", "batch_size", "loss"])
    return frame if batch else frame.drop(columns="batch_size")


def posterior(
    log: pd.DataFrame | Runs, draws: int = 200, passed: bool = True, **moved: float
) -> Tuning:
    """Draws about the truth, without sampling."""
    sweep, rng = read_sweep(log), np.random.default_rng(1)
    n, d = sweep.of_cells
    one = {name: x for name, x in (TRUTH | moved).items() if sweep.batch or "batch" not in name}
    data = {name: (("chain", "draw"), np.full((1, draws), x)) for name, x in one.items()}
    directions = sweep.basis(load_tuning_card()).at(n, d)[1].shape[0]
    data["frontier"] = (("chain", "draw", "direction"), np.zeros((1, draws, directions)))
    truth = TRUTH | moved
    of_cells = {
        "u": sweep.log_loss[sweep.cells["best"]],
        "v": truth["lr_0"] + truth["lr_params"] * n + truth["lr_tokens"] * d,
        "w": truth["batch_0"] + truth["batch_params"] * n + truth["batch_tokens"] * d,
        "k": np.full(len(n), truth["curve_lr"]),
    }
    for name, x in of_cells.items():
        spread = 0.02 * rng.standard_normal((1, draws, len(n))) * (name in "vw")
        data[name] = (("chain", "draw", "cell"), x + spread)
    diagnostics = {"passed": passed, "reasons": [] if passed else ["R-hat of u is 1.200"]}
    record = {"diagnostics": diagnostics, "provenance": {"seed": 0}, "seconds": {}}
    return Tuning(xr.Dataset(data), sweep, record)


def test_the_excess_is_zero_at_the_best_and_above_zero_elsewhere() -> None:
    assert excess(VALUES, -4.0, 0.0, 0.0) == 0.0
    z1, z2 = np.meshgrid(np.linspace(-3, 3, 41), np.linspace(-3, 3, 41))
    g = excess(VALUES, -4.0, z1, z2)
    assert (g[(z1 != 0) | (z2 != 0)] > 0).all()
    plain = dict.fromkeys(VALUES, 0.0)
    assert excess(plain, np.log(0.02), 0.5, 2.0) == pytest.approx(0.02 * (0.25 + 4.0))
    assert excess({"skew_lr": 0.0}, np.log(0.02), 0.5, None) == pytest.approx(0.005)


def test_the_frontier_is_the_unified_law() -> None:
    values = {"level": np.log(2.5), "share_E": 0.3, "share_B": -0.2, "alpha": 0.3, "beta": 0.4,
              "kappa": 1.0}  # fmt: skip
    found = np.exp(frontier(values, np.log(2.0), np.log(3.0)))
    joint = (2**-0.3 + np.exp(-0.2) * 3**-0.4) / (1 + np.exp(-0.2))
    whole = np.exp(0.3) + joint
    assert found == pytest.approx(2.5 * whole / (np.exp(0.3) + 1))
    assert np.exp(frontier(values, 0.0, 0.0)) == pytest.approx(2.5)


def valley_loss(params, tokens, lr, batch_size, **values):  # type: ignore[no-untyped-def]
    """The valley as a law: the loss of a cell that lies on all of its power laws."""
    n, d = np.log(params / 1e9), np.log(tokens / 2e10)
    along = {
        what: values[start] + values[f"{what}_params"] * n + values[f"{what}_tokens"] * d
        for what, start in (("lr", "lr_0"), ("batch", "batch_0"), ("curve", "curve_lr"))
    }
    z1, z2 = np.log(lr / 1e-3) - along["lr"], np.log(batch_size / 256) - along["batch"]
    ratio = {"curve_ratio": values["curve_batch"] - values["curve_lr"]}
    g = excess(values | ratio, along["curve"], z1, z2)
    return 2.6 * np.exp(frontier(values, n, d) + g)


def valley_subject() -> Subject:
    """What the contract's checks examine, with coefficients from the valley's card."""
    names = tuple(n for n in load_tuning_card().priors if not n.startswith(("cells_", "noise")))
    arguments = ("params", "tokens", "lr", "batch_size")
    stated = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in arguments]
    stated += [Parameter(name, Parameter.KEYWORD_ONLY) for name in names]
    loss = partial(valley_loss)
    loss.__signature__ = Signature(stated)  # type: ignore[attr-defined]
    law = Law(name="valley", inputs=arguments, coefficients=names, loss=loss, falls_with=())
    runs = read_sweep(made()).runs
    subject = Subject(law, load_card("unified"), runs.take(np.arange(len(runs)) % 7 == 0), None)
    drawn = load_tuning_card().draw(200, np.random.default_rng(0))
    subject.__dict__["draws"] = {name: drawn[name] for name in names}
    return subject


@pytest.mark.parametrize("check", ["floats", "arrays", "labeled", "sampler", "finite", "gradient"])
def test_the_valley_keeps_the_contract_of_laws(check: str) -> None:
    answer = CHECKS[check][0](valley_subject())
    assert answer is not None
    assert answer[0], answer[1]


def test_every_prior_of_the_card_states_its_reason() -> None:
    card = load_tuning_card()
    assert all(len(prior.why) > 20 for prior in card.priors.values())
    assert set(card.draw(3, np.random.default_rng(0))) == set(card.priors)


def refusal(log: pd.DataFrame) -> str:
    with pytest.raises(RunLogError) as caught:
        read_sweep(bayescale.read_runs(log, repeats="keep"))
    return str(caught.value)


def test_sweeps_that_are_none() -> None:
    log = made()
    assert refusal(log.drop(columns="lr")).endswith(
        "is not a sweep to tune from:\n  - it has no lr: name its column with "
        "`columns={'lr': 'HEADER'}`"
    )
    assert "lr must be finite and greater than zero, because laws take its log: 0.0 in row 1" in (
        refusal(log.assign(lr=[0.0, *log["lr"][1:]]))
    )
    assert "batch_size must be finite and greater than zero, because laws take its log: -256.0" in (
        refusal(log.assign(batch_size=[-256.0, *log["batch_size"][1:]]))
    )
    assert refusal(log.assign(lr=1e-3)).endswith(
        "all runs have one learning rate, lr = 0.001, so nothing can be learned about the best "
        "one: train some runs at half and twice that rate"
    )
    assert refusal(log.assign(batch_size=256.0)).endswith(
        "all runs have one batch_size, 256, so nothing can be learned about the best one: leave "
        "the column unread with `ignore='batch_size'` to tune the learning rate alone, or train "
        "runs at another"
    )
    mixed = log["batch_size"].where(np.arange(len(log)) % 2 == 0, log["batch_size"] * 2048)
    assert "as if sequences and tokens were mixed: state all in one unit" in (
        refusal(log.assign(batch_size=mixed))
    )
    assert "lr is params in every run" in refusal(log.assign(lr=log["params"]))


def test_the_choice_and_what_other_settings_lose() -> None:
    tuning = posterior(made())
    answer = bayescale.tune(tuning, params=1e8, tokens=1e9, lr=1e-3, batch_size=256)
    found = answer.to_json()
    valley = tuning.valley(1e8, 1e9)
    best = np.exp(np.median(valley.lr) + tuning.sweep.center["lr"])
    assert found["lr"]["median"] == pytest.approx(best)
    assert found["choice"]["lr"] == pytest.approx(best, rel=0.1)
    assert found["lr"]["lower"] < best < found["lr"]["upper"]
    named = answer.named
    center = tuning.sweep.center
    g = excess(
        {k: v[:, None] for k, v in valley.coefficients.items()},
        valley.curve[:, None],
        np.log(1e-3) - center["lr"] - valley.lr[:, None],
        np.log(256) - center["batch"] - valley.batch[:, None],
    )
    assert named is not None
    assert named["regret"]["expected_share"] == pytest.approx(np.expm1(g).mean())
    assert found["regret"]["expected_share"] < named["regret"]["expected_share"]
    moves = {row["move"]: row["regret"]["expected_share"] for row in found["off"]}
    assert moves["lr x 2"] > moves["lr / 2"] > found["regret"]["expected_share"]
    core = answer.regions.query("part == 'core'").set_index("within")
    assert core.loc[0.001, "lr_low"] > core.loc[0.01, "lr_low"]
    assert core.loc[0.001, "lr_high"] < core.loc[0.01, "lr_high"]
    assert found["verdict"] == "inside"
    assert {"params", "tokens", "lr", "batch_size", "choice", "loss", "regret", "unit"} <= set(
        found
    )


def test_settings_near_the_best_are_drawn_as_they_are_printed() -> None:
    answer = bayescale.tune(posterior(made()), params=1e8, tokens=1e9)
    for of, chosen in answer.choice.items():
        ax = answer.plot(of=of)
        rim, core = (bars.get_segments() for bars in ax.collections)
        rows = answer.regions[answer.regions["part"] == "core"]
        drawn = [(low, high) for (low, _), (high, _) in core]
        np.testing.assert_allclose(drawn, rows[[f"{of}_low", f"{of}_high"]])
        assert all(outer[0][0] <= low for outer, (low, _) in zip(rim, drawn, strict=True))
        assert set(ax.get_lines()[0].get_xdata()) == {chosen}
    one = bayescale.tune(posterior(made(batch=False)))
    with pytest.raises(FigureError, match="of='batch_size'` cannot be drawn: this sweep has lr"):
        one.plot(of="batch_size")


def test_a_best_outside_the_range_tried_and_an_under_tuned_cell() -> None:
    log = made()
    low = posterior(log, lr_0=-4.0)
    answer = bayescale.tune(low, params=8e8, tokens=4.8e10)
    assert answer.edges[0].startswith(
        "The best learning rate likely lies below those tried (0.000125 to 0.008): try lower, "
    )
    large = bayescale.tune(posterior(log, batch_0=4.0), params=8e8, tokens=4.8e10)
    assert large.edges[0].startswith(
        "The best batch size likely lies above those tried (64 to 1.02e+03): try higher, "
    )
    poor = log[(log["params"] > 1e8) | (log["lr"] > 3e-3)]
    moved = TRUTH["lr_0"] + np.log(1e-3) - np.log(poor["lr"]).mean()
    answer = bayescale.tune(posterior(poor, lr_0=moved))
    assert answer.cells["under_tuned"].tolist() == [True, True, False, False]
    assert "Under-tuned cells: 2 of 4" in str(answer)


def test_a_learning_rate_without_batch_sizes() -> None:
    answer = bayescale.tune(posterior(made(batch=False)), params=1e9, tokens=2e10)
    found = answer.to_json()
    assert found["batch_size"] is None
    assert found["choice"]["batch_size"] is None
    assert found["verdict"] == "inside" if answer.ratio <= 1 else "untested"
    assert [row["move"] for row in found["off"]] == ["lr / 2", "lr x 2"]
    with pytest.raises(DecisionError, match="the log has no batch sizes: leave it out"):
        bayescale.tune(posterior(made(batch=False)), batch_size=256)


def test_a_budget_is_split_and_questions_that_make_no_sense() -> None:
    tuning = posterior(made())
    answer = bayescale.tune(tuning, flops="1e20")
    assert answer.splits is not None
    assert 6 * answer.params * answer.tokens == pytest.approx(1e20)
    row = answer.splits.loc[answer.splits["loss_mean"].idxmin()]
    assert answer.params == row["params"]
    with pytest.raises(DecisionError, match="give `flops=` alone"):
        bayescale.tune(tuning, flops=1e20, params=1e9)
    with pytest.raises(DecisionError, match="give both `params=` and `tokens=`"):
        bayescale.tune(tuning, params=1e9)
    with pytest.raises(DecisionError, match="lr is 0, but must be finite and above zero"):
        bayescale.tune(tuning, lr=0.0)
    with pytest.raises(UnconvergedError):
        bayescale.tune(posterior(made(), passed=False))


def test_splits_and_cells_follow_the_mass_of_intervals() -> None:
    tuning = posterior(made(), cells_level=0.01)
    wide, narrow = (bayescale.tune(tuning, flops=1e20, ci_prob=p) for p in (0.9, 0.5))
    assert wide.splits is not None
    assert narrow.splits is not None
    assert (wide.splits["loss_lower"] < narrow.splits["loss_lower"]).all()
    assert (wide.splits["loss_upper"] > narrow.splits["loss_upper"]).all()
    assert (wide.cells["lr_lower"] < narrow.cells["lr_lower"]).all()
    assert "well-tuned loss (50%)" in str(narrow)


def test_splits_are_compared_in_the_unit_of_the_log() -> None:
    log, bits = made(), np.log(2.0)
    in_bits = read_runs(log.assign(loss=log["loss"] / bits), units={"loss": "bits"})
    in_nats, found = (bayescale.tune(posterior(each), flops=1e20) for each in (log, in_bits))
    assert in_nats.splits is not None
    assert found.splits is not None
    assert found.unit == "bits/token"
    np.testing.assert_allclose(
        found.splits["loss_mean"] * bits, in_nats.splits["loss_mean"], rtol=1e-6
    )


@pytest.mark.parametrize("unit", ["nats", "bits"])
def test_a_posterior_is_kept_and_opened_as_it_was(tmp_path: Path, unit: str) -> None:
    tuning = posterior(read_runs(made(), units={"loss": unit}))
    path = save_tuning(tuning, tmp_path / "tune.nc")
    opened = open_tuning(path)
    question = {"params": 1e9, "tokens": 2e10}
    assert bayescale.tune(opened, **question).to_json() == (
        bayescale.tune(tuning, **question).to_json()
    )
    (tmp_path / "other.nc").write_bytes(b"no")
    with pytest.raises(PosteriorError, match="is not a posterior file"):
        open_tuning(tmp_path / "other.nc")


def test_the_command_line_answers_from_a_kept_posterior(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run = request.getfixturevalue("bayescale")
    path = save_tuning(posterior(made()), tmp_path / "tune.nc")
    ran = run("tune", path, "--params", "1B", "--tokens", "20B", "--lr", "1e-3", "--json")
    assert ran.code == 0
    assert ran.json["choice"]["lr"] > 0
    assert ran.json["regret"]["loss"]["lower"] <= ran.json["regret"]["loss"]["upper"]
    assert ran.json["interval"] == 0.9
    half = run("tune", path, "--params", "1B", "--tokens", "20B", "--ci-prob", 0.5, "--json").json
    assert half["interval"] == 0.5
    assert half["lr"]["upper"] < ran.json["lr"]["upper"]
    text = run("tune", path, "--flops", "1e20").out
    assert text.startswith("Learning rate and batch size at ")
    refused = run("tune", path, "--params", "1B")
    assert refused.code == 2
    assert "give both --params and --tokens, or --flops, or none of them" in refused.err
    failed = save_tuning(posterior(made(), passed=False), tmp_path / "failed.nc")
    assert run("tune", failed).code == 2
    assert run("tune", failed, "--allow-unconverged").code == 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"lr": 1e-3}, "all runs have one learning rate, lr = 0.001"),
        ({"batch_size": 256.0}, "leave the column unread with --ignore batch_size"),
        ({"lr": -1e-3}, "lr must be finite and greater than zero"),
    ],
)
def test_the_command_line_refuses_what_is_no_sweep(
    request: pytest.FixtureRequest, tmp_path: Path, changed: dict[str, float], message: str
) -> None:
    path = tmp_path / "sweep.csv"
    made().assign(**changed).to_csv(path, index=False)
    refused = request.getfixturevalue("bayescale")("tune", path)
    assert refused.code == 2
    assert message in " ".join(refused.err.split())


@pytest.mark.integration
@pytest.mark.parametrize("batch", [True, False])
def test_a_simulated_sweep_gives_back_its_truth(batch: bool) -> None:
    tuning = bayescale.fit_tuning(made(8, batch=batch), cores=1)
    assert tuning.diagnostics["rhat_max"] < 1.05
    answer = bayescale.tune(tuning, allow_unconverged=True)
    n, d = tuning.sweep.places(answer.params, answer.tokens)
    truth = TRUTH["lr_0"] + TRUTH["lr_params"] * n + TRUTH["lr_tokens"] * d
    truth = 1e-3 * np.exp(truth)
    low, high = np.quantile(answer.lr, [0.005, 0.995])
    assert low < truth < high


@pytest.mark.integration
def test_sweeps_of_as_many_sizes_share_compiled_code() -> None:
    sweeps = [read_sweep(bayescale.read_runs(made(seed=i), repeats="keep")) for i in (0, 1)]
    first, other = (compiled_valley(sweep, load_tuning_card()) for sweep in sweeps)
    assert first.compiled_logp_func is other.compiled_logp_func
    (height, _), (there, _) = (each.density(first.initial_point_func(0)) for each in (first, other))
    assert np.isfinite(height)
    assert height != there


@pytest.mark.integration
def test_the_public_sweep_is_tuned_and_forecast(real_data: Path) -> None:
    sweep = read_sweep(bayescale.read_runs(real_data / "lr_batch_sweep.csv"))
    size = sweep.cells["params"] * sweep.cells["tokens"]
    largest = int(size.argmax())
    tuning = bayescale.fit_tuning(sweep.take(sweep.cell != largest))
    assert tuning.diagnostics["passed"]
    assert tuning.record["provenance"]["chains"] == 4
    left = sweep.runs.frame[sweep.cell == largest]
    cell = sweep.cells.loc[largest]
    answer = bayescale.tune(tuning, params=cell["params"], tokens=cell["tokens"])
    apart = (np.log(left["lr"] / answer.choice["lr"]) ** 2
             + np.log(left["batch_size"] / answer.choice["batch_size"]) ** 2)  # fmt: skip
    regret = left["loss"][apart.idxmin()] / left["loss"].min() - 1
    assert regret < 0.003
    assert regret < answer.regret["bound95_share"] < 0.006
    assert answer.regret["noise_free_bound95_share"] < answer.regret["bound95_share"]
    published = {"lr_params": -0.713, "lr_tokens": 0.307, "batch_tokens": 0.571}
    for name, value in published.items():
        low, high = np.quantile(answer.exponents[name], [0.01, 0.99])
        assert low < value < high
