"""Flags of imperfect runs: each found where it is, silent where it is not, and named."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from support.imperfect import card_with, some_runs
from support.refits import SIGMA, TRUTH, built, even_normal

from bayescale.cards import load_card, parse_card
from bayescale.findings import Finding
from bayescale.inference.fit import refit
from bayescale.posterior import Posterior
from bayescale.runs import Runs, read_runs
from bayescale.validation.run_quality import imperfect_notes, log_checks, notes_of, run_checks


def flag(name: str, runs: Runs, *more: Any) -> Finding:
    return {check.code: check for check in log_checks(runs, *more)}[name]


def test_sound_runs_are_not_flagged(all_chinchilla: Runs) -> None:
    assert [c.code for c in log_checks(some_runs(20)) if c.passed is not True] == []
    # read off a figure's colors, and known to be so
    assert [c.code for c in log_checks(all_chinchilla) if c.passed is False] == ["loss_steps"]


# of the log


def test_losses_of_two_decimals_look_rounded() -> None:
    runs = some_runs(20)
    loss = runs["loss"].round(2)
    step = f"{0.01 / np.median(loss):.2g}"
    rounded = read_runs(runs.to_frame().assign(loss=loss))
    check = flag("loss_steps", rounded)
    assert check.passed is False
    assert check.text == (
        f"losses look rounded: they have 2 decimals, in steps of about {step} of the "
        "loss. Where residual noise is hardly larger, state the step in nats: in a column "
        "loss_step, or in the card's [noise.rounding]"
    )
    assert flag("loss_steps", read_runs(rounded.to_frame().assign(loss_step=0.01))).passed


def test_losses_on_levels_look_rounded_whatever_their_decimals() -> None:
    levels = np.exp(np.arange(8) * 0.0045) * 2.31
    loss = np.resize(levels, 24)
    runs = read_runs(some_runs(24).to_frame().assign(loss=loss))
    assert "24 runs have 8 values, in steps of about 0.0045 of" in flag("loss_steps", runs).text


def ladder(tokens: Any, **columns: Any) -> Runs:
    """One size at these counts of tokens, and another size once."""
    tokens = np.append(np.asarray(tokens, dtype=float), 3e10)
    n = len(tokens)
    params = np.append(np.full(n - 1, 1e9), 2e9)
    loss = 2 + 3 * np.exp(-np.arange(n) / 3) + 0.0012345 * np.sqrt(np.arange(n) + 2)
    ids = columns.pop("run_id", [f"x{i}" for i in range(n)])
    log = {"run_id": ids, "params": params, "tokens": tokens, "loss": loss}
    return read_runs(pd.DataFrame(log | columns))


def test_rows_logged_at_even_steps_look_like_checkpoints() -> None:
    even = np.arange(1, 7) * 1e9
    check = flag("checkpoints", ladder(even))
    assert check.passed is False
    assert check.text == (
        "6 rows look like checkpoints of 1 run (x0 to x5): one size, with tokens in even steps or "
        "ids that count steps. Name the column that says which run a row belongs to "
        "(`columns={'run': 'HEADER'}`), so that they do not count as many; or keep finished runs "
        "only"
    )
    assert flag("checkpoints", ladder(even, run=[*"aaaaaa", "b"])).text == (
        "7 rows are of 2 runs, as column run says"
    )


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({}, None),  # budgets that double
        ({"run_id": [*(f"big-step{i}000" for i in range(1, 6)), "other"]}, False),
        ({"run_id": [*(f"seed{i}" for i in range(1, 6)), "other"]}, None),
        ({"schedule_complete": ["no"] * 4 + ["yes"] * 2}, False),
        ({"schedule_complete": ["yes"] * 6}, None),
    ],
)
def test_budgets_that_someone_chose_are_not_called_checkpoints(
    columns: dict, found: bool | None
) -> None:
    assert flag("checkpoints", ladder(1e9 * 2.0 ** np.arange(5), **columns)).passed is found


def test_unfinished_schedules_are_named() -> None:
    check = flag("schedules", some_runs(schedule_complete=["yes", "no"] * 3))
    assert check.passed is False
    assert check.text == (
        "3 runs stopped before the end of the learning-rate schedule: r1, r3, r5. Their losses lie "
        "above what finished runs reach: leave them out (`exclude={'schedule_complete': 'no'}`), "
        "or take "
        "the law as a floor (card chinchilla_floor)"
    )
    assert flag("schedules", some_runs(schedule_complete=["yes"] * 6)).passed
    assert "schedules" not in {check.code for check in log_checks(some_runs())}


def test_a_run_that_ends_above_a_smaller_one_has_diverged() -> None:
    frame = some_runs(8).to_frame()
    frame[["params", "tokens"]] = np.geomspace(1e8, 1e10, 8)[:, None] * [1, 20]
    frame["flops"] = 6 * frame["params"] * frame["tokens"]
    frame["loss"] = np.linspace(3.51, 2.23, 8)
    assert flag("divergence", read_runs(frame)).passed
    frame.loc[6, "loss"] = 4.0
    check = flag("divergence", read_runs(frame))
    above = 4.0 / frame["loss"][5] - 1
    assert check.text == (
        "1 run ended more than 10% above a run that is smaller in params and tokens: r6 "
        f"({above:.0%} above). Look for divergence, a wrong row or other data, and fit again "
        "without them (`exclude={'run_id': 'r6'}`)"
    )
    other_data = read_runs(frame.assign(family=["a"] * 6 + ["b", "a"]))
    assert flag("divergence", other_data).passed
    overfit = read_runs(frame.assign(unique_tokens=[*frame["tokens"][:6], 1e9, 2e11]))
    assert flag("divergence", overfit).passed


def test_each_run_is_compared_with_all_that_are_no_larger(rng: np.random.Generator) -> None:
    n = 1000
    frame = pd.DataFrame(
        {
            "params": 1e8 * rng.integers(1, 40, n),
            "tokens": 1e9 * rng.integers(1, 40, n),
            "loss": rng.uniform(2.0, 4.0, n),
            "family": rng.choice(["a", "b"], n),
        }
    )
    runs = read_runs(frame, repeats="keep")
    table = flag("divergence", runs).table
    assert table is not None
    for row in rng.choice(n, 200):
        run = frame.iloc[row]
        smaller = (frame["params"] <= run["params"]) & (frame["tokens"] <= run["tokens"])
        smaller &= frame["family"] == run["family"]
        smaller[row] = False
        lowest = frame.loc[smaller, "loss"].min() if smaller.any() else np.inf
        assert (run["loss"] / lowest - 1 > 0.1) == (f"row {row + 1}" in table.index)
        if f"row {row + 1}" in table.index:
            assert table["smaller_run"][f"row {row + 1}"] == lowest


def test_runs_of_few_steps_or_tokens_are_mostly_warm_up() -> None:
    by_steps = flag("warm_up", some_runs(steps=[500, 999, 1000, 5000, 9000, 20000]))
    assert by_steps.text == (
        "2 runs had fewer than 1,000 steps: r0 (500), r1 (999). Most of that is warm-up, which "
        "lifts small runs above the law and biases its exponents: fit again without them "
        "(`exclude={'run_id': 'r0,r1'}`)"
    )
    short = some_runs().to_frame()
    short["tokens"] = [5e7, *short["tokens"][1:]]
    by_tokens = flag("warm_up", read_runs(short.drop(columns="flops")))
    assert by_tokens.text.startswith("1 run had fewer than 100,000,000 tokens: r0 (5e+07). Most")
    assert flag("warm_up", some_runs()).passed


# of a fit


def repeats(off: Any, sigma: float, places: int = 8) -> Posterior:
    """The known power law with four runs at each place, off by these multiples of sigma."""
    flops = np.repeat(1e18 * 4.0 ** np.arange(places), 4)
    loss = (TRUTH["C_c"] / flops) ** TRUTH["alpha_C"] * np.exp(SIGMA * np.asarray(off))
    runs = read_runs(pd.DataFrame({"flops": flops, "loss": loss}))
    alpha = even_normal(TRUTH["alpha_C"], 1e-6)
    return built(load_card("kaplan_compute"), runs, TRUTH | {"sigma": sigma, "alpha_C": alpha})


SCATTER = np.random.default_rng(3).standard_normal(32)


def test_repeats_give_residual_noise_and_find_no_fault_with_the_true_law() -> None:
    (check,) = run_checks(repeats(SCATTER, SIGMA))
    assert check.passed is True
    by_place = SCATTER.reshape(8, 4)
    pure = SIGMA * np.sqrt(((by_place - by_place.mean(1, keepdims=True)) ** 2).sum() / 24)
    assert check.table is not None
    assert check.table["sd"].to_dict() == pytest.approx(
        {"pure error": pure, "fitted residual noise": SIGMA}
    )
    assert check.text.startswith(
        f"32 runs at 8 sizes: the residual noise of runs with the same inputs is {pure:.2%}, and "
        "1.00% (1.00% to 1.00%) is fitted; "
    )


def test_a_law_that_misses_the_means_of_repeats_is_found() -> None:
    """Means off by one and a half pure errors; the fitted residual noise has swallowed that."""
    wave = np.repeat(1.5 * (-1.0) ** np.arange(8), 4)
    (check,) = run_checks(repeats(wave + SCATTER, 2 * SIGMA))
    assert check.passed is False
    assert check.text.endswith(
        "of replicated logs lie as far off the law: the law does not fit the means of repeats "
        "within their residual noise. Use another law or a model average, and look which sizes "
        "are off"
    )
    assert notes_of((check,))[0].code == "lack_of_fit"


def test_repeats_at_too_few_sizes_test_no_law() -> None:
    (check,) = run_checks(repeats(SCATTER[:8], SIGMA, places=2))
    assert check.passed is None
    assert check.text.endswith("; there are too few sizes to test the law")


def test_without_repeats_nothing_is_said_of_them() -> None:
    runs = some_runs(20)
    assert run_checks(built(load_card("kaplan_compute"), runs, TRUTH | {"sigma": SIGMA})) == ()


def test_a_run_far_above_the_law_is_named_and_noted() -> None:
    posterior = repeats(SCATTER, SIGMA)
    assert posterior.runs is not None
    ids, n = posterior.runs["run_id"], len(posterior.runs)
    loo = xr.Dataset(
        {
            "expected": ("run", posterior.runs["loss"] / np.where(np.arange(n) < 2, 1.2, 1.0)),
            "outlier": ("run", (np.arange(n) == 1).astype("int8")),
        },
        coords={"run": ids},
    )
    tree = {"posterior": posterior.draws, "leave_one_out": loo}
    flagged = Posterior(xr.DataTree.from_dict(tree), posterior.card, posterior.runs, {})
    above = run_checks(flagged)[0]
    assert above.text == (
        f"1 run lies far above the law: {ids[1]} (20% above). Look for divergence, unfinished "
        "schedules and untuned learning rates; if many runs lie there, take the law as a floor "
        "(card "
        "chinchilla_floor)"
    )
    assert "above_law" in {note.code for note in imperfect_notes(flagged)}


@pytest.mark.slow
def test_coarse_losses_of_real_runs_are_modeled_as_such(chinchilla_runs: Runs) -> None:
    """240 runs read off in steps of 0.45 %: the law stays, the noise beside the steps falls."""
    text = card_with("rounding").text
    assert 'step = 0.02\nof = "loss"' in text
    steps = parse_card(text.replace('step = 0.02\nof = "loss"', 'step = 0.0045\nof = "log loss"'))
    plain, stepped = (
        refit(chinchilla_runs, card, 1, drift=False, draws=1000, tune=1000).draws
        for card in (load_card("chinchilla"), steps)
    )
    # bootstrap intervals of 95 %, Besiroglu et al. 2024
    published = {
        "E": (1.769, 1.871), "A": (285.2, 743.6), "B": (1042.4, 5810.3), "alpha": (0.317, 0.373),
        "beta": (0.331, 0.415),
    }  # fmt: skip
    for name, (low, high) in published.items():
        assert low < float(stepped[name].median()) < high
    assert float(stepped["sigma"].median()) < 0.97 * float(plain["sigma"].median())
