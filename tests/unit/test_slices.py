"""Kaplan's curves: the loss against params at fixed tokens."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.published import BESIROGLU, ONE, SPREAD

from bayescale.errors import LawError
from bayescale.forecasting import forecast, optimal_curve, slices
from bayescale.forecasting.curves import slices_content
from bayescale.laws import CHINCHILLA
from bayescale.plotting import plot_slices
from bayescale.posterior import Posterior, save


def test_curves_are_the_law_at_fixed_tokens() -> None:
    frame = slices(ONE, ["1B", "1T"], along=["10M", "1B", "100B"]).to_frame()
    assert frame["tokens"].tolist() == [1e9] * 3 + [1e12] * 3
    by_hand = CHINCHILLA.loss(frame["params"], frame["tokens"], **BESIROGLU)
    np.testing.assert_allclose(frame["loss_median"], by_hand)


def test_curves_at_fixed_params_go_the_other_way() -> None:
    frame = slices(ONE, [1e9], by="params", along=[1e9, 1e12]).to_frame()
    assert frame["params"].tolist() == [1e9, 1e9]
    assert frame["tokens"].tolist() == [1e9, 1e12]


def test_the_curve_of_best_splits_is_the_forecast_of_their_budgets() -> None:
    budgets = np.geomspace(1e20, 1e24, 30)
    curve, exact = (
        f.to_frame() for f in (optimal_curve(SPREAD, budgets), forecast(SPREAD, flops=budgets))
    )
    for name in ("flops", "loss_median", "loss_lower", "loss_upper"):
        np.testing.assert_allclose(curve[name], exact[name], rtol=1e-4)
    assert abs(curve["params"] / exact["params"] - 1).max() < 0.02


def test_the_table_has_a_column_for_each_curve_and_intervals() -> None:
    found = slices_content(slices(SPREAD, [1e10, 1e12], along=[1e8, 1e9]), "tokens")
    text = "\n".join(map(str, found))
    assert "10B tokens" in text
    assert "1T tokens" in text
    assert "(90% intervals)" in text


def test_the_figure_draws_each_curve() -> None:
    found = slices(SPREAD, [1e10, 1e12], along=np.geomspace(1e7, 1e10, 9))
    ax = plot_slices(found, scale="params", by="tokens")
    assert [line.get_label() for line in ax.get_lines()] == ["10B tokens", "1T tokens"]


def test_a_law_of_one_scale_has_no_slices(
    bayescale: Callable[..., Any], cerebras_posterior: Posterior, tmp_path: Path
) -> None:
    ran = bayescale("slices", save(cerebras_posterior, tmp_path / "fit.nc"))
    assert ran.code == 2
    assert "is a function of flops, and slices need params and tokens" in ran.err


def test_a_point_estimate_needs_values() -> None:
    with pytest.raises(LawError, match="no runs, and so no range of tokens: give tokens"):
        slices(ONE)
    with pytest.raises(LawError, match="tokens 1B is given twice in `held=`: name each value once"):
        slices(ONE, ["1B", "2B", 1e9])
    with pytest.raises(LawError, match="by is 'flops', but must be tokens or params"):
        slices(ONE, [1e9], by="flops")  # type: ignore[arg-type]
