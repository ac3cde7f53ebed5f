"""Which learning rate and batch size to use, and the regret of other settings."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.conventions import NATS, LossUnit, unit_of_log
from bayescale.decisions.tuning_answer import SHARES, Tune
from bayescale.errors import DecisionError
from bayescale.laws.law import FLOP_PER_PARAM_TOKEN
from bayescale.plausible import require_plausible
from bayescale.random import Purpose
from bayescale.results import DEFAULT_CI_PROB, quantiles
from bayescale.tuning import Tuning
from bayescale.tuning.posterior import Valley
from bayescale.units import as_size, checked_ci_prob

GRID_LR, GRID_BATCH = 49, 33
"""Numbers of learning rates and batch sizes in the grid from which the choice is made."""

AROUND = 1.6
"""The grid reaches this many e-folds (a factor of five) beyond the interval of the best setting."""

BINS, CANDIDATES = 8, (9, 7)
"""Numbers of outcomes of a candidate, and of candidates along learning rate and batch size."""

RATIOS = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
"""Tokens per parameter of the splits of a budget that are compared."""

UNDER_TUNED = 0.003
"""A cell is under-tuned if its best run lies above its floor by more than this share of the
loss."""


def tune(
    source: Any,
    *,
    params: float | str | None = None,
    tokens: float | str | None = None,
    flops: float | str | None = None,
    lr: float | None = None,
    batch_size: float | None = None,
    ci_prob: float = DEFAULT_CI_PROB,
    allow_unconverged: bool = False,
) -> Tune:
    """Return the best learning rate and batch size of a run, and the regret of other settings.

    Parameters
    ----------
    source : Tuning, Runs, pandas.DataFrame or path
        A posterior from :func:`bayescale.fit_tuning`, or a sweep, which is then fitted.
    params, tokens : float or str, optional
        The run, in raw counts or as text (``"7B"``). By default, without ``flops``, the largest
        cell of the sweep.
    flops : float or str, optional
        A budget C = 6 N D instead of params and tokens. It is split at several ratios of tokens per
        parameter within the sweep's range; the answer is for the lowest expected loss.
    lr, batch_size : float, optional
        A setting whose regret to compute; if only one of the two is given, the other is that of the
        choice.
    ci_prob : float
        Mass of the central intervals.
    allow_unconverged : bool
        Answer although the posterior failed its convergence checks.

    Returns
    -------
    Tune

    Raises
    ------
    DecisionError
        If the run is incomplete, or a value of the setting is not finite and above zero.
    RunLogError
        If the log is not a sweep.
    UnconvergedError
        If the posterior failed its convergence checks.

    Notes
    -----
    The choice is the setting of least expected excess over the draws, not the most probable best
    setting, because the valley is steeper on one side. Its regret is the loss above the best
    setting of each draw. The 95 % bound is on the regret that a sweep at this size would show: one
    run of the setting compared with the luckiest run near the best. Without that noise the bound is
    several times lower. All settings of the sweep are used: the noise grows with the excess, so
    diverged runs tell where the valley's edge is and hardly move its floor.
    """
    if not isinstance(source, Tuning):
        import bayescale  # only here, because fitting needs the sampler

        source = bayescale.fit_tuning(source)
    source.require_converged(allow_unconverged)
    checked_ci_prob(ci_prob)
    unit = unit_of_log(source.sweep.runs.conventions, "nats/token")
    unit = unit if unit.is_linear else NATS
    where, splits = _place(source, params, tokens, flops, unit, ci_prob)
    valley = source.valley(*where)
    sweep = source.sweep
    grid = _grid(valley)
    g = valley.excess(*grid)
    best = int(g.mean(axis=0).argmin())
    named = _setting(source, lr, batch_size, grid, best)
    answer = _Answer(source, valley, unit)
    return Tune(
        params=where[0],
        tokens=where[1],
        lr=_draws(np.exp(valley.lr + sweep.center["lr"])),
        batch_size=None
        if valley.batch is None
        else _draws(np.exp(valley.batch + sweep.center["batch"])),
        choice=answer.natural(grid, best),
        loss=_draws(unit.of(np.exp(valley.level + g[:, best]))),
        frontier=_draws(unit.of(np.exp(valley.level))),
        regret=answer.regret(g[:, best]),
        regions=_regions(answer, grid, g),
        off=_off(answer, grid, best),
        named=None if named is None else answer.named(named),
        next_setting=_next_setting(answer, grid, g),
        cells=_cells(source, ci_prob),
        splits=splits,
        edges=_edges(answer),
        exponents=_exponents(source),
        ratio=_ratio(source, *where),
        unit=unit.label,
        batch_column=sweep.batch,
        ci_prob=ci_prob,
        diagnostics=source.diagnostics,
        provenance=source.record["provenance"],
    )


def _draws(values: Any) -> xr.DataArray:
    return xr.DataArray(np.asarray(values), dims="draw")


def _place(
    source: Tuning, params: Any, tokens: Any, flops: Any, unit: LossUnit, ci_prob: float
) -> tuple[tuple[float, float], pd.DataFrame | None]:
    """Return the run's params and tokens, and the compared splits if a budget is given."""
    cells = source.sweep.cells
    known = {**cells, "flops": 6.0 * cells["params"] * cells["tokens"]}
    for name, size in {"params": params, "tokens": tokens, "flops": flops}.items():
        require_plausible(as_size(size, name), name, known=known[name])
    if flops is not None:
        if params is not None or tokens is not None:
            raise DecisionError(
                "both `flops=` and a size are given: give `flops=` alone, or `params=` and "
                "`tokens=`"
            )
        splits = _splits(source, as_size(flops, "flops"), unit, ci_prob)
        row = splits.iloc[int(splits["loss_mean"].argmin())]
        return (float(row["params"]), float(row["tokens"])), splits
    if (params is None) != (tokens is None):
        raise DecisionError("give both `params=` and `tokens=`, or `flops=`, or none of them")
    if params is None:
        largest = int((cells["params"] * cells["tokens"]).argmax())
        return (float(cells["params"][largest]), float(cells["tokens"][largest])), None
    return (as_size(params, "params"), as_size(tokens, "tokens")), None


def _splits(source: Tuning, flops: float, unit: LossUnit, ci_prob: float) -> pd.DataFrame:
    """Return splits of a budget with their well-tuned loss, within the sweep's range of ratios."""
    cells = source.sweep.cells
    of_cells = cells["tokens"] / cells["params"]
    low, high = float(of_cells.min()), float(of_cells.max())
    ratios = [r for r in RATIOS if low * 0.999 <= r <= high * 1.001] or [np.sqrt(low * high)]
    rows = []
    for ratio in ratios:
        params = float(np.sqrt(flops / FLOP_PER_PARAM_TOKEN / ratio))
        valley = source.valley(params, ratio * params)
        loss = unit.of(np.exp(valley.level))
        interval = quantiles(loss, ci_prob)
        rows.append(
            {
                "params": params,
                "tokens": ratio * params,
                "loss_mean": loss.mean(),
                "loss_lower": interval["lower"],
                "loss_upper": interval["upper"],
                "lr": float(np.exp(np.median(valley.lr) + source.sweep.center["lr"])),
                "batch_size": np.nan
                if valley.batch is None
                else float(np.exp(np.median(valley.batch) + source.sweep.center["batch"])),
            }
        )
    return pd.DataFrame(rows)


def _grid(valley: Valley) -> tuple[np.ndarray, np.ndarray | None]:
    """Return settings around those that may be best, shape (setting,) each."""

    def axis(best: np.ndarray, n: int) -> np.ndarray:
        low, high = np.quantile(best, [0.05, 0.95])
        return np.linspace(low - AROUND, high + AROUND, n)

    if valley.batch is None:
        return axis(valley.lr, 8 * GRID_LR), None
    axes = axis(valley.lr, GRID_LR), axis(valley.batch, GRID_BATCH)
    x, y = np.meshgrid(*axes, indexing="ij")
    return x.ravel(), y.ravel()


def _setting(
    source: Tuning,
    lr: float | None,
    batch_size: float | None,
    grid: tuple[np.ndarray, np.ndarray | None],
    best: int,
) -> tuple[float, float | None] | None:
    """Return the logs of a named setting, completed by the choice, or None if none is named."""
    if lr is None and batch_size is None:
        return None
    if batch_size is not None and source.sweep.batch is None:
        raise DecisionError(
            "`batch_size=` is given, but the log has no batch sizes: leave it out, or name their "
            "column when the log is read"
        )
    for name, value in (("lr", lr), ("batch_size", batch_size)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise DecisionError(f"{name} is {value:g}, but must be finite and above zero")
    center = source.sweep.center
    x = grid[0][best] if lr is None else np.log(lr) - center["lr"]
    if grid[1] is None:
        return float(x), None
    y = grid[1][best] if batch_size is None else np.log(batch_size) - center["batch"]
    return float(x), float(y)


class _Answer:
    """The posterior, valley and unit of an answer, and functions that its parts share."""

    def __init__(self, source: Tuning, valley: Valley, unit: LossUnit) -> None:
        self.source, self.valley, self.unit = source, valley, unit

    def natural(self, grid: tuple[np.ndarray, np.ndarray | None], i: int) -> dict[str, Any]:
        """Return a setting of the grid as learning rate and batch size."""
        lr, batch = grid
        return self.setting(float(lr[i]), None if batch is None else float(batch[i]))

    def setting(self, lr: float, batch: float | None) -> dict[str, Any]:
        """Return a setting from its logs."""
        center = self.source.sweep.center
        size = None if batch is None else float(np.exp(batch + center["batch"]))
        return {"lr": float(np.exp(lr + center["lr"])), "batch_size": size}

    def excess(self, lr: float, batch: float | None) -> np.ndarray:
        """Return draws of the excess of one setting."""
        y = None if batch is None else np.array([batch])
        return self.valley.excess(np.array([lr]), y)[:, 0]

    def regret(self, g: np.ndarray) -> dict[str, Any]:
        """Return the regret of a setting by JSON key, from draws of its excess."""
        loss = self.unit.of(np.exp(self.valley.level) * np.expm1(g))
        seen = np.expm1(g + self._noise_beside_the_luckiest)
        return {
            "loss": _draws(loss),
            "share": _draws(np.expm1(g)),
            "expected_share": float(np.expm1(g).mean()),
            "bound95_share": float(np.quantile(seen, 0.95)),
            "noise_free_bound95_share": float(np.quantile(np.expm1(g), 0.95)),
        }

    @cached_property
    def _noise_beside_the_luckiest(self) -> np.ndarray:
        """Draws of a run's noise minus that of the luckiest run near the best of a cell."""
        none = np.zeros((len(self.valley.level), 1 + self._n_near_best))
        noise = self.source.noise(none, self.source.rng(Purpose.TUNING_LUCK))
        return noise[:, 0] - np.minimum(noise[:, 1:].min(axis=1), noise[:, 0])

    @cached_property
    def _n_near_best(self) -> int:
        """Typical number of a cell's runs within 1 % of its lowest loss."""
        sweep = self.source.sweep
        lowest = sweep.log_loss[sweep.cells["best"].to_numpy()][sweep.cell]
        near = np.bincount(sweep.cell, sweep.log_loss < lowest + SHARES[-1])
        return max(1, int(np.median(near)))

    def named(self, setting: tuple[float, float | None]) -> dict[str, Any]:
        """Return a setting with its regret."""
        return {**self.setting(*setting), "regret": self.regret(self.excess(*setting))}


def _regions(
    answer: _Answer, grid: tuple[np.ndarray, np.ndarray | None], g: np.ndarray
) -> pd.DataFrame:
    """Return ranges of settings within shares of the best: a nearly certain core, and a rim."""
    rows = []
    for share in SHARES:
        p = (np.expm1(g) < share).mean(axis=0)
        for part, least in (("core", 0.9), ("rim", 0.1)):
            inside = p > least
            ends: dict[str, Any] = {}
            for name, axis in (("lr", grid[0]), ("batch_size", grid[1])):
                center = answer.source.sweep.center["lr" if name == "lr" else "batch"]
                values = np.array([np.nan])
                if axis is not None and inside.any():
                    values = np.exp(axis[inside] + center)
                ends |= {f"{name}_low": values.min(), f"{name}_high": values.max()}
            rows.append({"within": share, "part": part, "probability_above": least, **ends})
    return pd.DataFrame(rows)


def _off(
    answer: _Answer, grid: tuple[np.ndarray, np.ndarray | None], best: int
) -> list[dict[str, Any]]:
    """Return the regrets of settings that are a factor of two off the choice."""
    x = float(grid[0][best])
    y = None if grid[1] is None else float(grid[1][best])
    two, found = np.log(2.0), []
    moves = [("lr / 2", -two, 0.0), ("lr x 2", two, 0.0)]
    if y is not None:
        moves += [("batch size / 2", 0.0, -two), ("batch size x 2", 0.0, two)]
    for what, dx, dy in moves:
        setting = (x + dx, None if y is None else y + dy)
        found.append({"move": what, **answer.named(setting)})
    return found


def _next_setting(
    answer: _Answer, grid: tuple[np.ndarray, np.ndarray | None], g: np.ndarray
) -> dict[str, Any] | None:
    """Return the setting whose outcome would lower the expected regret of the choice most."""
    values, rng = answer.source.values(), answer.source.rng(Purpose.TUNING_NEXT)
    before = float(g.mean(axis=0).min())
    plausible = np.flatnonzero((np.expm1(g) < SHARES[-1]).mean(axis=0) > 0.1)
    if not len(plausible) or before <= 0:
        return None
    every = max(1, len(plausible) // int(np.prod(CANDIDATES)))
    noise = values["noise"] * rng.standard_normal(len(g))
    after = {int(i): _left(answer.valley.level + g[:, i] + noise, g) for i in plausible[::every]}
    pick = min(after, key=lambda i: after[i])
    setting = answer.natural(grid, pick)
    left = min(after[pick], before)
    return {**setting, "regret_before_share": before, "regret_after_share": left}


def _left(outcome: np.ndarray, g: np.ndarray) -> float:
    """Return the expected regret of the new choice after an outcome."""
    parts = np.array_split(np.argsort(outcome), BINS)
    return float(sum(len(p) * g[p].mean(axis=0).min() for p in parts) / len(g))


def _cells(source: Tuning, ci_prob: float) -> pd.DataFrame:
    """Return how far above the valley's floor each cell's best run lies."""
    sweep, values = source.sweep, source.values()
    lr, batch = sweep.settings
    rows = []
    for i, cell in enumerate(sweep.cells.to_dict(orient="records")):
        valley, run = source.valley_of_cell(i, values), int(cell["best"])
        at = np.array([lr[run]]), None if batch is None else np.array([batch[run]])
        over = np.expm1(valley.excess(*at)[:, 0])
        best = quantiles(np.exp(valley.lr + sweep.center["lr"]), ci_prob)
        tried = sweep.runs["lr"][sweep.cell == i]
        rows.append(
            {
                "params": cell["params"],
                "tokens": cell["tokens"],
                "n_runs": cell["n_runs"],
                "best_run": str(sweep.runs["run_id"][run]),
                "under_tuned_share": float(np.median(over)),
                "under_tuned_upper": float(np.quantile(over, 0.95)),
                "under_tuned": bool(np.median(over) > UNDER_TUNED),
                "lr": best["median"],
                "lr_lower": best["lower"],
                "lr_upper": best["upper"],
                "lr_tried_low": tried.min(),
                "lr_tried_high": tried.max(),
            }
        )
    return pd.DataFrame(rows)


def _edges(answer: _Answer) -> tuple[str, ...]:
    """Return sentences on best settings that probably lie outside the tried range."""
    sweep, valley = answer.source.sweep, answer.valley
    lr, batch = sweep.settings
    named = [("learning rate", "lr", lr, valley.lr)]
    if batch is not None and valley.batch is not None:
        named.append(("batch size", "batch", batch, valley.batch))
    found = []
    for words, key, tried, best in named:
        low, high = np.exp(np.array([tried.min(), tried.max()]) + sweep.center[key])
        middle = float(np.exp(np.median(best) + sweep.center[key]))
        below, above = (best < tried.min()).mean(), (best > tried.max()).mean()
        if max(below, above) < 0.5:
            continue
        side, way = ("below", "lower") if below > above else ("above", "higher")
        found.append(
            f"The best {words} likely lies {side} those tried ({low:.3g} to {high:.3g}): try "
            f"{way}, {middle:.3g}."
        )
    return tuple(found)


def _exponents(source: Tuning) -> Mapping[str, Any]:
    """Return draws of the exponents of the best setting."""
    names = ["lr_params", "lr_tokens"]
    if source.sweep.batch is not None:
        names += ["batch_params", "batch_tokens"]
    values = source.values()
    return {name: _draws(values[name]) for name in names}


def _ratio(source: Tuning, params: float, tokens: float) -> float:
    """Return how many times more compute the run takes than the largest of the sweep."""
    cells = source.sweep.cells
    return float(params * tokens / (cells["params"] * cells["tokens"]).max())
