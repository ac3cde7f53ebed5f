"""Uncertain tokens to be served: each draw has its own, which its best split has to serve."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq
from support.published import BESIROGLU, ONE, SPREAD, several

from bayescale.cards import load_card
from bayescale.decisions.allocate import allocate
from bayescale.decisions.regret import regret_map
from bayescale.errors import DecisionError
from bayescale.laws import CHINCHILLA
from bayescale.posterior import ModelAverage, point
from bayescale.splits import constraints
from bayescale.splits.hardware import Cluster
from bayescale.splits.served import spread_served
from bayescale.splits.utilization import Utilization

GOPHER = 5.76e23
SERVED = (1e12, 1e13)
BEFORE = (
    [40560922737.46017, 40465949154.865105, 39471827042.36363, 37937991379.34602],
    [1.2315347957869704e-05, 1.0494609365530039e-05, 1.4666285808040413e-07, 3.818607896755033e-05],
    [1.9856694745988334e20, 1.6956465256601747e20, 2.423186842372276e18, 6.526789030745137e20],
    [0.008423778657733472, 0.008714792469834087, 0.009505195339832628, 0.010659958298775196],
    [1.187198051623687e23, 1.2210352069219336e23, 1.3365161277705778e23, 1.5089743952194014e23],
)
"""Best params, and regret and wasted compute of the choice and of a named split, serving 2T."""


def least_loss(cost: float, served: float) -> tuple[float, float]:
    """The best size and its loss on a fine grid, for a cost of training and serving."""
    params = np.geomspace(1e9, 1e12, 20_001)
    tokens = (cost - 2 * params * served) / (6 * params)
    params, tokens = params[tokens > 0], tokens[tokens > 0]
    losses = CHINCHILLA.loss(params, tokens, **BESIROGLU)
    return float(params[losses.argmin()]), float(losses.min())


def two_points(monkeypatch: pytest.MonkeyPatch, *values: float) -> None:
    """Draws with these tokens to be served in turn."""

    def spread(interval: object, rng: object, n_draws: int) -> np.ndarray:
        return np.resize(values, n_draws)

    monkeypatch.setattr(constraints, "spread_served", spread)


def test_their_distribution_is_the_log_normal_of_the_interval() -> None:
    served = spread_served(SERVED, np.random.default_rng(1), 4000)
    np.testing.assert_allclose(np.quantile(served, [0.05, 0.5, 0.95]), [1e12, 10**12.5, 1e13], 2e-3)
    assert served.mean() == pytest.approx(4.0405e12, rel=2e-3)
    assert (np.diff(served) > 0).mean() == pytest.approx(0.5, abs=0.05)  # in random order


def test_two_values_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the draws serve nothing: their best size is the published one, 72.25B.

    The choice pays for 4.04T tokens, the mean of the interval that is asked for.
    """
    two_points(monkeypatch, 0.0, 8e12)
    result = allocate(several(BESIROGLU), GOPHER, inference_tokens=SERVED)
    params = result.params.values.ravel()
    assert len(params) == 1000
    np.testing.assert_allclose(params[::2], 7.225e10, rtol=2e-4)
    np.testing.assert_allclose(params[1::2], least_loss(GOPHER, 8e12)[0], rtol=1e-3)
    ((n, d),) = result.choice.points[["params", "tokens"]].to_numpy()
    assert 6 * n * d + 2 * n * 4.0405e12 == pytest.approx(GOPHER, rel=1e-4)
    loss = float(CHINCHILLA.loss(n, d, **BESIROGLU))
    for draw, served in ((0, 0.0), (1, 8e12)):
        cost = 6 * n * d + 2 * n * served
        assert result.choice.cost is not None
        assert result.choice.cost.values.ravel()[draw] == pytest.approx(cost)
        regret = result.choice.regret.values.ravel()[draw]
        assert regret == pytest.approx(loss - least_loss(cost, served)[1], abs=1e-7)


def test_regret_is_that_of_each_draws_own_tokens() -> None:
    """The choice and a named split against a fine grid, at quantiles of the log-normal."""
    named = (280e9, 300e9)
    result = allocate(ONE, GOPHER, inference_tokens=SERVED, options=[named])
    assert result.options is not None
    by_tokens = np.argsort(-result.params.values.ravel())[::111]  # few served tokens first
    served = np.sort(spread_served(SERVED, np.random.default_rng(0), 1000))[::111]
    best = np.array([least_loss(GOPHER, t)[0] for t in served])
    np.testing.assert_allclose(result.params.values.ravel()[by_tokens], best, rtol=1e-3)
    chosen = tuple(result.choice.points[["params", "tokens"]].to_numpy()[0])
    for evaluated, (n, d) in ((result.choice, chosen), (result.options, named)):
        loss = float(CHINCHILLA.loss(n, d, **BESIROGLU))
        regret, wasted = (x.values.ravel()[by_tokens] for x in (evaluated.regret, evaluated.wasted))
        for i, t in enumerate(served):
            cost = 6 * n * d + 2 * n * t
            assert regret[i] == pytest.approx(loss - least_loss(cost, t)[1], abs=1e-7)

            def excess(log_cost: float, t: float = t, loss: float = loss) -> float:
                return least_loss(np.exp(log_cost), t)[1] - loss

            ends = np.log(2.1e9 * t + 1e21), np.log(cost) + 1e-6
            least = np.exp(float(brentq(excess, *ends)))  # pyright: ignore[reportArgumentType]
            assert wasted[i] == pytest.approx(cost - least, abs=2e-4 * cost)


def test_the_choice_is_that_of_their_mean() -> None:
    """Cost is proportional to served tokens, so a budget kept on average needs only their mean."""
    uncertain = allocate(SPREAD, GOPHER, inference_tokens=SERVED)
    certain = allocate(SPREAD, GOPHER, inference_tokens=uncertain.limits.inference_tokens)
    one, other = (r.choice.split(0) for r in (uncertain, certain))
    assert one == pytest.approx(other, rel=1e-9)
    assert uncertain.choice.points["flops"].item() == pytest.approx(GOPHER)
    assert float(uncertain.choice.regret.mean()) > 1.2 * float(certain.choice.regret.mean())
    assert float(uncertain.choice.regret.min()) >= 0.0
    assert np.ptp(np.log(uncertain.params.values)) > 1.2 * np.ptp(np.log(certain.params.values))


def test_one_number_is_not_drawn() -> None:
    """Values that were computed before served tokens could differ between draws."""
    result = allocate(SPREAD, GOPHER, inference_tokens=2e12, options=[(70e9, None)])
    assert result.choice.cost is None
    assert result.options is not None
    found = (
        result.params, result.choice.regret, result.choice.wasted,
        result.options.regret, result.options.wasted,
    )  # fmt: skip
    for answer, expected in zip(found, BEFORE, strict=True):
        np.testing.assert_allclose(answer.values.ravel(), expected, rtol=1e-7)


def test_the_pairing_is_random_and_reproducible() -> None:
    """With the same seed the same numbers; with another, other pairs of the same distribution."""
    fit = several(*(BESIROGLU | {"alpha": a} for a in np.linspace(0.33, 0.36, 1000)))
    record = {**fit.record, "provenance": {**fit.record["provenance"], "seed": 5}}
    first, again, other = (
        allocate(each, GOPHER, inference_tokens=SERVED)
        for each in (fit, fit, replace(fit, record=record))
    )
    assert first.to_json() == again.to_json()
    cost = [r.choice.cost.values.ravel() for r in (first, other) if r.choice.cost is not None]
    assert abs(np.corrcoef(cost[0], np.arange(1000))[0, 1]) < 0.1
    assert (cost[0] != cost[1]).any()
    np.testing.assert_allclose(np.sort(cost[0]), np.sort(cost[1]))


def test_laws_are_averaged_with_their_own_tokens() -> None:
    other = load_card("kaplan_irreducible")
    values = {"E": 1.7, "N_c": 1e9, "alpha_N": 0.3, "D_c": 1e10, "alpha_D": 0.3}
    fit = ModelAverage((SPREAD, point(other, values)), (0.5, 0.5))
    result = allocate(fit, GOPHER, inference_tokens=SERVED)
    assert result.params.sizes["draw"] == 1000
    assert result.choice.cost is not None
    low, high = result.limits.cost_interval(*result.choice.split(0).values())
    ends = np.quantile(result.choice.cost, [0.05, 0.95])
    np.testing.assert_allclose(ends, [low, high], rtol=0.02)


def test_gpu_time_is_shared_with_uncertain_serving() -> None:
    """With the same utilization for all sizes, days and FLOP are the same budget."""
    flat = Cluster.of("h100", 512, utilization=Utilization.of({"1B": 0.4, "70B": 0.4}), price=2)
    by_days = allocate(SPREAD, days=30, cluster=flat, inference_tokens=SERVED)
    by_flops = allocate(SPREAD, by_days.flops, inference_tokens=SERVED)
    np.testing.assert_allclose(by_days.params, by_flops.params, rtol=1e-6)
    for name in ("regret", "wasted", "cost"):
        values = (getattr(r.choice, name) for r in (by_days, by_flops))
        np.testing.assert_allclose(*values, rtol=1e-4, atol=1e-8)


def test_a_map_compares_as_a_named_split_is_compared() -> None:
    frame = regret_map(SPREAD, GOPHER, inference_tokens=SERVED, doublings=1).to_frame()
    for i in (0, 40, 80):
        row = frame.iloc[i]
        split = (row["params"], row["tokens"])
        named = allocate(SPREAD, GOPHER, inference_tokens=SERVED, options=[split]).options
        assert named is not None
        expected = named.to_frame(0.9).iloc[0]
        for name in ("regret_mean", "wasted_share_mean", "wasted_share_upper"):
            assert row[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-6)
        assert row["wasted_share_upper"] < 1


def test_a_size_that_some_draws_cannot_serve_is_refused() -> None:
    with pytest.raises(DecisionError) as error:
        allocate(ONE, 1e23, inference_tokens=SERVED, sizes=[7e9, 70e9])
    assert str(error.value) == (
        "a budget of 1e+23 FLOP cannot train the smallest size, 7B params, on even one token, and "
        "serve 7.59T tokens, as in one of the draws, which alone takes 1.06e+23 FLOP: raise the "
        "budget, serve fewer tokens, or add a smaller size"
    )
    result = allocate(ONE, GOPHER, inference_tokens=SERVED, sizes=[1e9, 30e9, 70e9])
    params = result.params.values.ravel()
    few, many = spread_served(SERVED, np.random.default_rng(0), 1000).min(), 1.5e13
    for served in (few, many):
        losses = {
            n: CHINCHILLA.loss(n, (GOPHER - 2 * n * served) / (6 * n), **BESIROGLU)
            for n in (1e9, 30e9, 70e9)
            if 2 * n * served < GOPHER
        }
        assert min(losses, key=losses.__getitem__) in params
    assert set(params) <= {1e9, 30e9, 70e9}
    assert result.choice.split(0)["params"] == 30e9
    assert float(result.choice.regret.min()) >= 0.0


@pytest.mark.parametrize("served", [4.04e12, 7e12])
def test_serving_that_takes_most_of_the_budget_leaves_one_size(served: float) -> None:
    """Nothing is wasted, because no other size can be had."""
    result = allocate(SPREAD, 1e23, sizes=[7e9, 70e9], inference_tokens=served)
    assert result.choice.split(0)["params"] == 7e9
    assert float(result.choice.wasted.max()) < 1e-5 * 1e23
