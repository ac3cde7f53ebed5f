# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # When to stop trusting a power law
#
# **Question.** A law fits the runs that there are. Up to what scale can a decision rest on its
# forecast, and would that have been right?
#
# **Answer.** The scale differs between logs by an order of magnitude. From the smaller half of
# their runs, Chinchilla's can be trusted up to 28 times, Porian's up to 1.63 times and Gadre's on
# RedPajama up to 4.3 times the largest run. Inside these horizons lie 111 larger runs. The 90 %
# intervals covered 93 % of them (76 % without drift), and 97 % of forecasts were within the 2 %
# tolerance. Of the 63 runs beyond, 67 % were. There, intervals with drift still have good coverage
# (98 %), but they are too wide to decide on.
#
# Data: runs behind Hoffmann et al. 2022 (read off by Besiroglu et al. 2024), of Porian et al. 2024
# (arXiv 2406.19146) and of Gadre et al. 2024 (arXiv 2403.08540), found through the environment
# variable `BAYESCALE_DATA`.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import bayescale
from bayescale.tasks import Serial

DATA = Path(os.environ["BAYESCALE_DATA"])
FAST = bool(os.environ.get("BAYESCALE_FAST"))  # fewer draws, for the tests
FIT = {"draws": 100, "tune": 200, "chains": 2} if FAST else {}
COLUMNS = ["run_id", "params", "tokens", "flops", "loss"]

# %%
chinchilla = pd.read_csv(DATA / "chinchilla_epoch.csv").query("besiroglu_outlier == 0")
porian = pd.read_csv(DATA / "porian_refinedweb.csv").query("clean_final_run == 1")
gadre = pd.read_csv(DATA / "gadre_overtraining.csv").query("chinchilla_mult >= 1")
sets = {
    "Chinchilla": chinchilla,
    "Porian": porian,
    "Gadre, RedPajama": gadre[gadre["dataset"] == "rpj"],
}
for name, table in sets.items():
    print(f"{name}: {bayescale.read_runs(table[COLUMNS])}")

# %% [markdown]
# ## Only the smaller half
#
# From each set, the fit gets the half of the runs with less compute. Backtests inside that half
# measure the coverage of its intervals. Together with the tolerance, 2 % of the loss, they give
# the horizon. The larger half shows whether the horizon was right.

# %%
trusts, rows = {}, []
for name, table in sets.items():
    is_small = table["flops"] <= table["flops"].quantile(0.5)
    runs = bayescale.read_runs(table.loc[is_small, COLUMNS])
    fit = bayescale.fit(runs, "chinchilla", seed=1, **FIT)
    tested = bayescale.backtest(runs, ["chinchilla"], seed=1, executor=Serial())
    trust = bayescale.trust(fit, tested, allow_unconverged=FAST)
    trusts[name] = trust
    print(f"{name}\n{trust}\n")
    larger = table[~is_small]
    scales = {key: larger[key].to_numpy() for key in ("params", "tokens")}
    for kind in ("with drift", "plain"):
        frame = bayescale.forecast(
            fit, **scales, drift=kind == "with drift", allow_unconverged=FAST
        ).to_frame()
        rows.append(
            pd.DataFrame(
                {
                    "set": name,
                    "kind": kind,
                    "ratio": frame["extrapolation_ratio"],
                    "inside": frame["extrapolation_ratio"] <= trust.horizon_ratio,
                    "error": np.log(frame["loss_median"] / larger["loss"].to_numpy()),
                    "covered": (frame["loss_new_lower"] <= larger["loss"].to_numpy())
                    & (larger["loss"].to_numpy() <= frame["loss_new_upper"]),
                }
            )
        )
held_out = pd.concat(rows, ignore_index=True)

# %%
fig, axes = plt.subplots(3, 1, figsize=(7, 13), layout="constrained")
for ax, (name, trust) in zip(axes, trusts.items(), strict=True):
    ax.set_title(name)
    bayescale.plot_trust(trust, ax)
plt.show()

# %% [markdown]
# ## Was it right?

# %%
held_out["within 2%"] = held_out["error"].abs() <= 0.02
summary = held_out.groupby(["kind", "set", "inside"])[["covered", "within 2%"]].mean()
summary["runs"] = held_out.groupby(["kind", "set", "inside"]).size()
print(summary.round(3).to_string())
print()
together = held_out.groupby(["kind", "inside"])[["covered", "within 2%"]].mean()
together["runs"] = held_out.groupby(["kind", "inside"]).size()
together["largest ratio"] = held_out.groupby(["kind", "inside"])["ratio"].max()
print(together.round(3).to_string())

# %%
fig, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
drifting = held_out[held_out["kind"] == "with drift"]
for (name, part), color in zip(
    drifting.groupby("set", sort=False), ("#0072B2", "#D55E00", "#009E73"), strict=True
):
    ax.plot(part["ratio"], part["error"], "o", color=color, markersize=4, label=name)
    ax.axvline(trusts[name].horizon_ratio, color=color, linestyle="--")
ax.axhspan(-0.02, 0.02, color="grey", alpha=0.15, linewidth=0, label="tolerance")
ax.set(xscale="log", xlabel="times the largest run fitted (dashed: horizon)")
ax.set_ylabel("log of forecast over loss reached")
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False)
plt.show()
