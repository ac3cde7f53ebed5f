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
# **Question.** A law fits the runs that there are. Up to what scale is its forecast worth a
# decision, and would that have been right?
#
# **Answer.** It differs from log to log by an order of magnitude. From the cheaper half of their
# runs, Chinchilla's can be trusted up to 29 times, Porian's up to 1.6 times and Gadre's on
# RedPajama up to 4.1 times the largest run. Of the 112 dearer runs inside these horizons, 90 %
# intervals held 91 % (72 % without drift), and 96 % of forecasts were within the 2 % tolerance; of
# the 62 beyond, 68 % were. Beyond, intervals stay honest with drift (97 %), but are too wide to
# decide on.
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
# ## Only the cheaper runs
#
# Of each set, a fit sees the cheaper half of the runs. Backtests inside that half say how far its
# intervals held; with the tolerance, 2 % of the loss, that makes the horizon. The dearer half tells
# whether it was right.

# %%
trusts, rows = {}, []
for name, table in sets.items():
    cheap = table["flops"] <= table["flops"].quantile(0.5)
    runs = bayescale.read_runs(table.loc[cheap, COLUMNS])
    fit = bayescale.fit(runs, "chinchilla", seed=1, **FIT)
    tested = bayescale.backtest(
        runs, ["chinchilla"], refit=bayescale.refit, seed=1, executor=Serial()
    )
    trust = bayescale.trust(fit, tested, allow_unconverged=FAST)
    trusts[name] = trust
    print(f"{name}\n{trust}\n")
    dear = table[~cheap]
    scales = {key: dear[key].to_numpy() for key in ("params", "tokens")}
    for kind in ("with drift", "plain"):
        told = bayescale.forecast(
            fit, **scales, drift=kind == "with drift", allow_unconverged=FAST
        ).to_frame()
        rows.append(
            pd.DataFrame(
                {
                    "set": name,
                    "kind": kind,
                    "ratio": told["extrapolation_ratio"],
                    "inside": told["extrapolation_ratio"] <= trust.horizon_ratio,
                    "error": np.log(told["loss_median"] / dear["loss"].to_numpy()),
                    "covered": (told["loss_new_lower"] <= dear["loss"].to_numpy())
                    & (dear["loss"].to_numpy() <= told["loss_new_upper"]),
                }
            )
        )
held_out = pd.concat(rows, ignore_index=True)

# %%
fig, axes = plt.subplots(1, 3, figsize=(15, 4.5), layout="constrained")
for ax, (name, trust) in zip(axes, trusts.items(), strict=True):
    bayescale.plot_trust(trust, ax)
    ax.set_title(name)
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
ax.set_ylabel("log of forecast over reached")
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False)
plt.show()
