"""Runs in progress: histories as trackers write them, answers, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.refits import built

from bayescale.cards import load_card
from bayescale.curves.history import read_history
from bayescale.curves.named import named_schedule
from bayescale.curves.plan import named_plan, other_way, plan_of_table
from bayescale.decisions.watch import watch
from bayescale.errors import BayescaleError, DecisionError, RunLogError
from bayescale.runs import read_runs

LAST = 50_000
COSINE = named_schedule("cosine", LAST, peak=3e-4, warm_up=1000)


def curve(until: float = 20_000, every: int = 100, seed: int = 0) -> pd.DataFrame:
    """A curve that falls with a power of progress, with a little noise."""
    steps = np.arange(100, until + 1, every, dtype=float)
    progress = COSINE.progress(steps, np.array([0.5]))[0]
    whole = COSINE.progress(np.array([float(LAST)]), np.array([0.5]))[0, 0]
    annealed = COSINE.annealed(steps, np.array([250.0]))[0]
    losses = 2.7 + 0.2 * (progress / whole) ** -0.5 - 0.1 * annealed
    noise = 0.001 * np.random.default_rng(seed).standard_normal(len(steps))
    return pd.DataFrame({"step": steps, "lr": COSINE.rate(steps), "loss": losses + noise})


# histories


def test_a_table_of_weights_and_biases_is_read_with_losses_between_rates(tmp_path: Path) -> None:
    rows = [{"_step": i, "train/learning_rate": 1e-4 * i, "eval/loss": None} for i in range(1, 9)]
    rows[3]["eval/loss"], rows[7]["eval/loss"] = 4.0, 3.5
    pd.DataFrame(rows).to_csv(tmp_path / "export.csv", index=False)
    history = read_history(tmp_path / "export.csv")
    assert history.steps.tolist() == [4, 8]
    assert history.losses.tolist() == [4.0, 3.5]
    assert len(history.rates) == 8


def test_the_trainer_of_hugging_face_is_read_as_it_writes(tmp_path: Path) -> None:
    log = [{"step": i, "learning_rate": 1e-4, "loss": 5 - i / 10} for i in range(1, 6)]
    folder = tmp_path / "run" / "checkpoint-5"
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": log, "global_step": 5}))
    history = read_history(tmp_path)
    assert history.losses.tolist() == pytest.approx([4.9, 4.8, 4.7, 4.6, 4.5])
    assert history.rates.tolist() == pytest.approx([1e-4] * 5)
    with pytest.raises(BayescaleError, match=r"no run with val, but .*loss"):
        read_history(tmp_path, metric="val")


def test_two_losses_are_asked_about() -> None:
    both = curve().assign(val_loss=3.0)
    with pytest.raises(RunLogError, match="more than one loss, val_loss, loss: choose with"):
        read_history(both)
    assert read_history(both, metric="loss").losses[0] > 3.0


def test_several_runs_are_asked_about() -> None:
    two = pd.concat([curve().assign(run="a"), curve(seed=1).assign(run="b")])
    with pytest.raises(RunLogError, match="holds 2 runs, a, b: choose one with `run=`"):
        read_history(two)
    assert read_history(two, run="b").last_step == 20_000


def test_a_restart_is_refused_or_its_later_rows_are_kept() -> None:
    first, again = curve(until=15_000), curve(until=20_000, seed=1)
    log = pd.concat([first, again[again["step"] >= 12_000]])
    with pytest.raises(RunLogError, match=r"step 12,000 .* comes after step 15,000: a restart"):
        read_history(log)
    history = read_history(log, restarts="last")
    assert (np.diff(history.steps) == 100).all()
    later = history.steps >= 12_000
    kept = again.set_index("step")["loss"]
    np.testing.assert_array_equal(history.losses[later], kept.loc[history.steps[later]])


def test_spikes_are_named_and_left_out_and_a_rise_that_lasts_is_kept() -> None:
    log = curve()
    log.loc[[50, 120], "loss"] += 0.5
    history = read_history(log)
    assert len(history.losses) == len(log) - 2
    (finding,) = history.findings
    assert "2 losses stand far above neighbors, at step 5,100, 12,100" in finding.text
    lasting = curve()
    lasting.loc[lasting["step"] > 10_000, "loss"] += 0.05
    assert len(read_history(lasting).losses) == len(lasting)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.inf, "'loss' is inf at step 800, but must be finite and above zero"),
        (-1.0, "'loss' is -1 at step 800"),
        (0.0, "'loss' is 0 at step 800"),
        ("oops", "'loss' is 'oops' in row 8: write a number"),
    ],
)
def test_losses_that_are_none_are_refused_with_their_place(bad: Any, message: str) -> None:
    log = curve().astype(object)
    log.loc[7, "loss"] = bad
    with pytest.raises(RunLogError, match=message):
        read_history(log)


def test_cells_without_a_loss_are_no_losses() -> None:
    log = curve().astype(object)
    log.loc[[7, 8, 9], "loss"] = ["", " NaN", None]
    assert len(read_history(log).losses) == len(log) - 3


def test_losses_that_look_like_perplexities_are_told() -> None:
    high = pd.DataFrame({"step": np.arange(1.0, 40), "loss": np.exp(3.0) + 40 / np.arange(1.0, 40)})
    (finding,) = read_history(high).findings
    assert finding.code == "perplexity"
    assert "'loss' ends at 21.1: if that is a perplexity, watch its logarithm" in finding.text
    named = high.assign(**{"val/ppl": 3 + 4 / high["step"]})
    (finding,) = read_history(named, metric="val/ppl").findings
    assert "'val/ppl' ends at 3.1" in finding.text
    assert not read_history(high.assign(loss=3 + 4 / high["step"])).findings


def test_a_log_that_goes_on_without_a_loss_is_told() -> None:
    log = pd.DataFrame({"step": np.arange(10.0, 510, 10), "loss": 3 + 1 / np.arange(1.0, 51)})
    diverged = log.assign(loss=log["loss"].where(log["step"] <= 400).astype(object).fillna("NaN"))
    (finding,) = read_history(diverged).findings
    assert finding.code == "no_loss_at_the_end"
    assert "no loss after step 400, although the log goes on to step 500" in finding.text
    rates = log.assign(lr=1e-3, loss=log["loss"].where(log["step"] % 20 == 0))
    assert not read_history(rates).findings


def test_steps_below_zero_and_a_run_that_is_not_there_are_refused() -> None:
    with pytest.raises(RunLogError, match="step -400 is below zero"):
        read_history(curve().assign(step=lambda log: log["step"] - 500))
    with pytest.raises(RunLogError, match="no column `run`, so it holds no run 'b'"):
        read_history(curve(), run="b")


# plans


def test_a_plan_that_begins_late_goes_on_from_what_was_logged() -> None:
    history = read_history(curve())
    late = pd.DataFrame({"step": [20_000, LAST], "lr": [2e-4, 3e-5]})
    plan = plan_of_table(late, history)
    assert plan.rate(np.array([1000.0, 35_000.0])) == pytest.approx([3e-4, 1.15e-4], rel=1e-2)
    named = named_plan("cosine", LAST, history)
    assert (named.peak, named.warm_up) == pytest.approx((3e-4, 1000), rel=1e-6)


def test_what_is_no_plan_is_said(tmp_path: Path) -> None:
    history = read_history(curve())
    with pytest.raises(RunLogError, match="needs columns `step` and `lr`, but has step, rate"):
        plan_of_table(pd.DataFrame({"step": [1], "rate": [1]}))
    with pytest.raises(RunLogError, match="neither a file nor a schedule: write NAME:STEP"):
        other_way("decay", history, COSINE)


# answers


def test_the_answer_has_the_keys_and_its_interval_holds_the_truth() -> None:
    shorter = other_way("linear:30000", read_history(curve()), COSINE)
    result = watch(curve(), COSINE, target=2.85, then=[shorter])
    answer = result.to_json()
    assert answer["fraction_done"] == pytest.approx(0.4)
    assert answer["on_course"] is True
    assert answer["p_value"] > 0.05
    assert answer["forecast"] is None
    end = curve(until=LAST)["loss"].iloc[-1]
    assert answer["final_loss"]["lower"] < end < answer["final_loss"]["upper"]
    assert set(answer["then"]) == {"linear to step 30,000"}
    assert list(result.to_frame()["fraction_done"]) == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert "On its own course" in str(result)
    assert result.plot().get_xlabel() == "step"


def test_a_departure_is_told_with_its_step() -> None:
    log = curve(until=30_000)
    log.loc[log["step"] > 20_000, "loss"] *= 1.01
    result = watch(log, COSINE)
    assert result.on_course is False
    assert result.to_json()["off_course_since"] == pytest.approx(20_000, abs=2500)
    assert "OFF ITS OWN COURSE since step" in str(result)


def test_a_hopeless_target_is_known_early() -> None:
    result = watch(curve(until=40_000), COSINE, target=2.5)
    assert result.p_miss == 1
    assert result.known_at is not None
    assert result.known_at["fraction_done"] <= 0.3


@pytest.mark.parametrize(
    ("log", "plan", "message"),
    [
        (curve(), named_schedule("cosine", 10_000, peak=3e-4, warm_up=1000), "ends at 10,000"),
        (curve(until=LAST), COSINE, "the run is over, and its final loss is known"),
        (curve(until=900), COSINE, "within the warm-up of 1,000 steps"),
        (curve(until=2000), COSINE, "too young for a forecast"),
        (curve(every=4000), COSINE, "log more often"),
        (
            curve(),
            named_schedule("constant", LAST, peak=3e-4, warm_up=1000),
            r"not those of constant schedule: at step .* it logged",
        ),
    ],
)
def test_what_cannot_be_answered_is_said(log: pd.DataFrame, plan: Any, message: str) -> None:
    with pytest.raises(DecisionError, match=message):
        watch(log, plan)


@pytest.mark.parametrize("jumped", [1, 2, 5, 8])
def test_a_jump_that_no_look_has_seen_is_refused(jumped: int) -> None:
    log = curve(until=20_900)  # looks at 20,000 and 21,154
    log.loc[log.index[-jumped:], "loss"] = 9.0
    with pytest.raises(DecisionError, match=r"loss of the table is 9 at .*until step 21,154"):
        watch(log, COSINE)


@pytest.mark.parametrize("target", [0.0, -1.0, np.nan, np.inf])
def test_a_target_that_is_no_loss_is_refused(target: float) -> None:
    with pytest.raises(DecisionError, match=f"the target is {target:g}, but must be a loss"):
        watch(curve(), COSINE, target=target)


def test_the_forecast_made_before_is_compared_and_carries_a_young_run() -> None:
    """A point estimate with noise of 1 %: its forecast is 2.63 nats, and the curve ends at 2.8."""
    card = load_card("chinchilla")
    values = card.published_values("besiroglu_2024") | {"sigma": 0.01, "nu": 30.0}
    fit = built(card, four_runs(card, values), values)
    size = {"forecast": fit, "params": "1B", "tokens": "20B"}
    old = watch(curve(), COSINE, **size)
    assert old.forecast_p_value is not None
    assert old.forecast_p_value < 0.05
    assert "DOES NOT AGREE with the forecast made before the run" in str(old)
    young = watch(curve(until=2000), COSINE, **size)
    assert young.on_course is None
    assert young.to_json()["forecast_p_value"] is None
    assert np.median(young.final_loss) == pytest.approx(np.median(young.forecast), rel=0.02)
    assert young.findings[0].code == "young"
    with pytest.raises(DecisionError, match="needs `params=` and `tokens=` of the whole run"):
        watch(curve(), COSINE, forecast=fit)


def four_runs(card: Any, values: dict[str, float]) -> Any:
    params = np.array([1e8, 2e8, 4e8, 8e8])
    law = {name: values[name] for name in card.law.coefficients}
    losses = card.law.loss(params, 20 * params, **law)
    ids = ["a", "b", "c", "d"]
    frame = {"run_id": ids, "params": params, "tokens": 20 * params, "loss": losses}
    return read_runs(pd.DataFrame(frame))


def test_gaps_and_absent_rates_are_told() -> None:
    log = curve().drop(columns="lr")
    result = watch(log[(log["step"] < 8000) | (log["step"] > 14_000)], COSINE)
    codes = [finding.code for finding in result.findings]
    assert codes == ["no_rates", "gap"]


@pytest.mark.integration
def test_the_command_line_answers_in_json(bayescale, tmp_path: Path) -> None:
    curve().to_csv(tmp_path / "history.csv", index=False)
    plan = ("--schedule", "cosine", "--final-step", "50k")
    ran = bayescale("watch", tmp_path / "history.csv", *plan, "--json")
    assert ran.code == 0
    assert ran.json["final_step"] == LAST
    assert ran.json["law"] == "annealing"
    half = bayescale("watch", tmp_path / "history.csv", *plan, "--ci-prob", 0.5, "--json").json
    assert half["interval"] == 0.5
    assert half["final_loss"]["upper"] < ran.json["final_loss"]["upper"]
    other = bayescale("watch", tmp_path / "history.csv", *plan, "--law", "multi_power")
    assert other.code == 0
    assert "50,000 steps, by the law multi_power." in " ".join(other.out.split())
    ran_other = bayescale(
        "watch", tmp_path / "history.csv", *plan, "--law", "multi_power", "--json"
    )
    assert ran_other.json["law"] == "multi_power"
    medians = [each.json["final_loss"]["median"] for each in (ran, ran_other)]
    assert medians[0] == pytest.approx(medians[1], rel=0.01)
    wrong = bayescale("watch", tmp_path / "history.csv", *plan, "--law", "powers")
    assert wrong.code == 2
    assert "--law" in wrong.err
    ran = bayescale("watch", tmp_path / "history.csv")
    assert ran.code == 2
    assert "--plan PLAN.csv" in ran.err
