"""Posterior files: whole or not at all, complete, and refused with a reason when not ours."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from bayescale.cards import load_card, parse_card
from bayescale.errors import OutputError, PosteriorError
from bayescale.forecasting import forecast
from bayescale.laws import LAWS
from bayescale.posterior import Posterior, open_posterior, point, quantiles, save, summarize


def test_a_saved_posterior_opens_as_it_was(cerebras_posterior: Posterior, fit_file: Path) -> None:
    opened = open_posterior(fit_file)
    assert set(opened.tree.children) == set(cerebras_posterior.tree.children)
    for name, group in cerebras_posterior.tree.children.items():
        xr.testing.assert_equal(opened.tree[name].to_dataset(), group.to_dataset())
    assert opened.card == cerebras_posterior.card
    assert opened.record == cerebras_posterior.record
    assert opened.runs is not None
    assert opened.runs.digest == cerebras_posterior.runs.digest
    assert opened.runs.dropped == cerebras_posterior.runs.dropped
    assert str(opened) == str(cerebras_posterior)


def test_the_file_says_what_it_was_made_from(fit_file: Path) -> None:
    posterior = open_posterior(fit_file)
    provenance = posterior.record["provenance"]
    assert provenance["seed"] == 0
    assert provenance["runs_sha256"] == posterior.runs.digest
    card = load_card("henighan_compute")
    assert provenance["card_sha256"] == hashlib.sha256(card.text.encode()).hexdigest()
    assert {"bayescale", "pymc", "nutpie", "numpy", "python"} <= set(provenance)


def test_a_file_is_replaced_only_whole(
    cerebras_posterior: Posterior, fit_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fit.nc"
    path.write_bytes(fit_file.read_bytes())

    def fails_half_way(self: xr.DataTree, target: Path, **kwargs: object) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xr.DataTree, "to_netcdf", fails_half_way)
    with pytest.raises(OutputError, match="No space left on device"):
        save(cerebras_posterior, path)
    assert path.read_bytes() == fit_file.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there(cerebras_posterior: Posterior, tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught:
        save(cerebras_posterior, tmp_path / "no" / "fit.nc")
    assert str(caught.value) == (
        f"folder {str(tmp_path / 'no')!r} does not exist: make it, or write elsewhere"
    )


def test_a_file_is_no_folder_to_write_to(cerebras_posterior: Posterior, fit_file: Path) -> None:
    with pytest.raises(OutputError) as caught:
        save(cerebras_posterior, fit_file / "fit.nc")
    assert str(caught.value) == f"{str(fit_file)!r} is a file, not a folder: write elsewhere"


def test_a_fit_of_one_law_is_gone_through_as_one_of_several_is(
    cerebras_posterior: Posterior,
) -> None:
    assert [law.name for law in cerebras_posterior] == [cerebras_posterior.name]


def refused(path: Path) -> str:
    with pytest.raises(PosteriorError) as caught:
        open_posterior(path)
    return str(caught.value)


def test_files_that_are_no_posterior_are_refused(fit_file: Path, tmp_path: Path) -> None:
    assert refused(tmp_path / "no.nc").endswith("no.nc' does not exist: correct the path")

    text = tmp_path / "text.nc"
    text.write_text("params,loss\n")
    assert refused(text) == (
        "text.nc is not a posterior file (NetCDF): give one that `bayescale.save` wrote"
    )

    foreign = tmp_path / "foreign.nc"
    xr.Dataset({"x": ("y", [1.0])}).to_netcdf(foreign, engine="netcdf4")
    assert refused(foreign) == (
        "foreign.nc is a NetCDF file, but not a posterior that bayescale wrote"
    )


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_a_file_cut_short_is_refused(share: float, fit_file: Path, tmp_path: Path) -> None:
    data = fit_file.read_bytes()
    cut = tmp_path / "cut.nc"
    cut.write_bytes(data[: int(share * len(data))])
    assert refused(cut).startswith("cut.nc is damaged or cut short (")


def test_a_file_of_a_later_version_is_refused(fit_file: Path, tmp_path: Path) -> None:
    with xr.open_datatree(fit_file, engine="netcdf4") as opened:
        tree = opened.load()
    tree.attrs["bayescale_format"] = 2
    later = tmp_path / "later.nc"
    tree.to_netcdf(later, engine="netcdf4")
    assert refused(later) == (
        "later.nc has format 2, made by a later version of bayescale; this one reads up to 1: "
        "upgrade bayescale"
    )


KEPT = {"format_1_version_0.1.0.nc": 1.2625919090412712}
"""A posterior file of each release, and the median loss that it forecasts for 1e22 FLOP."""


@pytest.mark.parametrize(("name", "median"), KEPT.items())
def test_files_of_earlier_releases_open_and_answer_as_they_did(name: str, median: float) -> None:
    earlier = open_posterior(Path(__file__).parents[1] / "formats" / name)
    loss = forecast(earlier, flops=1e22, drift=False, allow_unconverged=True).loss
    assert float(np.median(loss)) == pytest.approx(median, rel=1e-12)
    assert earlier.runs is not None
    assert len(earlier.runs) == 6


def test_every_kept_file_is_tried() -> None:
    assert {path.name for path in (Path(__file__).parents[1] / "formats").glob("*.nc")} == set(KEPT)


def test_an_own_law_is_given_again_on_opening(
    cerebras_posterior: Posterior, tmp_path: Path
) -> None:
    own = replace(LAWS["henighan_compute"], name="mine")
    text = cerebras_posterior.card.text.replace('law = "henighan_compute"', 'law = "mine"')
    path = save(replace(cerebras_posterior, card=parse_card(text, law=own)), tmp_path / "own.nc")
    assert refused(path) == (
        "own.nc was fitted with your own law 'mine', whose code is not in the file: give it "
        "as `law=`, or by name as file.py:NAME"
    )
    assert open_posterior(path, law=own).law is own


# summaries, worked out by hand


def test_quantiles_are_central_and_labeled() -> None:
    expected = {"median": 50.0, "lower": 5.0, "upper": 95.0}
    assert quantiles(np.arange(101.0)) == pytest.approx(expected)
    assert quantiles(np.arange(101.0), 0.5) == {"median": 50.0, "lower": 25.0, "upper": 75.0}


def test_a_summary_of_a_point_gives_the_point_in_published_units() -> None:
    card = load_card("kaplan_compute")
    summary = summarize(point(card, card.published_values("kaplan_2020")))
    assert summary.frame.loc["C_c", "median"] == pytest.approx(1.6e7)
    assert summary.frame.loc["C_c", "unit"] == "PF-day"
    assert "A point estimate" in str(summary)


def test_a_point_needs_every_coefficient() -> None:
    card = load_card("kaplan_compute")
    with pytest.raises(PosteriorError) as caught:
        point(card, {"C_c": 1.0})
    assert str(caught.value) == (
        "a point estimate of law 'kaplan_compute' needs C_c, alpha_C; given C_c"
    )
