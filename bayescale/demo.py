"""Demonstration on published runs: fit five small ones, forecast two larger ones, compare."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayescale.datasets import load
from bayescale.files import replacing
from bayescale.forecasting import Forecast, forecast
from bayescale.inference.fit import fit
from bayescale.plotting import plot_forecast
from bayescale.posterior import Posterior, Summary, save, summarize
from bayescale.results import Result, TextTable
from bayescale.runs import Runs

FAMILY = "Cerebras-GPT"
LARGEST_FITTED = 3e9
LAW = "henighan_compute"


@dataclass(frozen=True, eq=False)
class Demo(Result):
    """The summary and the forecasts of the demonstration, and the files that it wrote.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per held-out run: ``run_id``, ``flops``, ``extrapolation_ratio``, ``reached`` (nats
        per token), the interval of a single new run, and whether it ``covered``.
    """

    summary: Summary
    table: pd.DataFrame
    ci_prob: float
    figure: Path
    output: Path

    def _table(self) -> pd.DataFrame:
        return self.table

    def _json(self) -> dict[str, Any]:
        return self.summary.to_json() | {
            "held_out": self.table,
            "figure": str(self.figure),
            "output": str(self.output),
        }

    def brief(self) -> tuple[str, ...]:
        """Return a line for each larger run, with its interval and the loss it reached."""
        return tuple(
            f"{row['run_id']}: forecast {row['loss_new_lower']:.3f} to "
            f"{row['loss_new_upper']:.3f}, reached {row['reached']:.3f}"
            for row in self.table.to_dict(orient="records")
        )

    def _content(self) -> Iterator[str | TextTable]:
        yield f"Five published {FAMILY} runs, 111M to 2.7B parameters, fitted with {LAW}:"
        yield ""
        yield from self.summary.content()
        yield ""
        yield f"Forecast of the two larger ones, a single new run, {self.ci_prob:.0%} interval:"
        yield ""
        yield TextTable.of(
            {
                "": row["run_id"],
                "times larger": f"{row['extrapolation_ratio']:.1f}",
                "median": f"{row['loss_new_median']:.3f}",
                "interval": f"{row['loss_new_lower']:.3f} to {row['loss_new_upper']:.3f}",
                "reached": f"{row['reached']:.3f}",
                "inside": "yes" if row["covered"] else "NO",
            }
            for row in self.table.to_dict(orient="records")
        )
        yield ""
        yield f"Figure:    {self.figure}"
        yield f"Posterior: {self.output}"
        yield ""
        yield "Next, with these runs:"
        yield f"  bayescale forecast {self.output} --flops 1e23"
        yield "and with your own (a CSV file with params, tokens and loss):"
        yield "  bayescale check runs.csv"
        yield "  bayescale fit runs.csv -o fit.nc"
        yield "  bayescale forecast fit.nc --params 70B --tokens 1.4T"


def run_demo(folder: Path, *, seed: int = 0, show_progress: bool = False) -> Demo:
    """Fit, forecast and compare, save a figure and the posterior in ``folder``, and return all."""
    table = load("pile_2023").take(lambda frame: frame["family"] == FAMILY, "another family")
    training = table.take(lambda frame: frame["params"] < LARGEST_FITTED, "held out")
    posterior = fit(training, LAW, seed=seed, show_progress=show_progress)
    held_out = table.to_frame().query("params >= @LARGEST_FITTED").reset_index(drop=True)
    result = forecast(posterior, flops=held_out["flops"], allow_unconverged=True)
    frame = pd.concat([held_out[["run_id"]], result.to_frame()], axis=1)
    frame["reached"] = held_out["loss"]
    frame["covered"] = frame["reached"].between(frame["loss_new_lower"], frame["loss_new_upper"])
    columns = ["run_id", "flops", "extrapolation_ratio", "reached"]
    columns += ["loss_new_median", "loss_new_lower", "loss_new_upper", "covered"]
    return Demo(
        summary=summarize(posterior),
        table=frame[columns],
        ci_prob=result.ci_prob,
        figure=_figure(posterior, training, held_out, folder / "bayescale_demo.png"),
        output=save(posterior, folder / "bayescale_demo.nc"),
    )


def _figure(posterior: Posterior, training: Runs, held_out: pd.DataFrame, path: Path) -> Path:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    curve: Forecast = forecast(
        posterior,
        flops=np.geomspace(training["flops"].min() / 2, held_out["flops"].max() * 5, 120),
        allow_unconverged=True,
    )
    figure, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
    plot_forecast(curve, ax, runs=training, held_out=held_out)
    ax.set_title(f"{FAMILY} on the Pile: five runs fitted, two forecast")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
    plt.close(figure)
    return path
