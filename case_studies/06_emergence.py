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
# # Does a skill emerge, or does its metric?
#
# **Question.** Larger Pythia models seem to learn, at some size, to complete LAMBADA's sentences.
# Is there a jump, and could it have been predicted from smaller models? And do the downstream
# errors of Gadre's larger models follow from the losses of the smaller ones?
#
# **Answer.** There is no jump, and the scores could have been predicted. One number, the
# dispersion of words, is estimated on models of up to 1B. With it, the losses of models of 1.4B to
# 12B give their exact match within 0.014 on average, and 90 % intervals cover 90 % of 136 held-out
# checkpoints. The assumption that words are alike has an error of 0.39. From the sizes of models
# up to 2.8B alone, the forecast of exact match for 6.9B is 0.673 (0.645 to 0.703), and it reached
# 0.673; for 12B it is 0.690 (0.654 to 0.730), and it reached 0.705. If words were alike, five in a
# row would show nothing over nearly half of the path, although the loss falls throughout, and 25
# in a row would show nothing over three quarters. For Gadre's nine larger models, the 90 %
# interval from the smaller ones covers eight of nine errors averaged over 46 tasks, and as many
# averaged over 17. There, the forecasts for the 6.9B models are too good by up to 0.06.
#
# Data: Pythia's public evaluations (Biderman et al. 2023, arXiv 2304.01373) and the runs of Gadre
# et al. 2024 (arXiv 2403.08540), found through the environment variable `BAYESCALE_DATA`.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import bayescale

DATA = Path(os.environ["BAYESCALE_DATA"])
FAST = bool(os.environ.get("BAYESCALE_FAST"))  # fewer draws, for the tests
FIT = {"draws": 100, "tune": 200, "chains": 2} if FAST else {}

# %% [markdown]
# ## From loss to exact match, with one number
#
# LAMBADA asks for the last word of a passage. `loss` is the log perplexity of that word, and the
# score is how often greedy decoding gives it. If words were alike, the score would be a function
# of p = exp(-loss). They are not: some are easy, some are hopeless. The standard deviation of
# their log-odds, the *dispersion*, is estimated on models of up to 1B and kept for larger ones.

# %%
table = pd.read_csv(DATA / "pythia_checkpoints_downstream.csv")
lambada = table[(table["step"] >= 512) & (table["nonstandard_bs"] == 0)].rename(
    columns={"loss_lambada_ln_ppl": "word_loss", "lambada_acc": "score"}
)
small = lambada[lambada["params_nominal"] <= 1e9]
large = lambada[lambada["params_nominal"] > 1e9]
words = bayescale.calibrate_dispersion(small["word_loss"], small["score"])

curve, model = words.score(large["word_loss"])
lower, upper = np.quantile(model, [0.05, 0.95], axis=0)
held_out = pd.DataFrame(
    {
        "params": large["params_nominal"],
        "covered": (large["score"] >= lower) & (large["score"] <= upper),
        "error": np.abs(np.median(curve, axis=0) - large["score"]),
        "error_if_alike": np.abs(np.exp(-large["word_loss"]) - large["score"]),
    }
)
print(words.to_json())
print(held_out.groupby("params").mean())
print(held_out.mean())

# %%
grid = np.linspace(0.8, 14, 200)
_, bands = words.score(grid)
fig, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
low, middle, high = np.quantile(bands, [0.05, 0.5, 0.95], axis=0)
ax.fill_between(grid, low, high, alpha=0.3, linewidth=0, label="a single new model, 90% interval")
ax.plot(grid, middle, label="one dispersion, estimated up to 1B")
ax.plot(grid, np.exp(-grid), "--", color="grey", label="words all alike: exp(-loss)")
ax.plot(small["word_loss"], small["score"], ".", color="black", label="models up to 1B")
ax.plot(large["word_loss"], large["score"], "d", mfc="white", mec="#D55E00", label="1.4B to 12B")
ax.set(xlabel="loss on the word (nats)", ylabel="exact match")
ax.xaxis.set_inverted(True)
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ## The smooth and the sharp curve
#
# Now along size. A power law plus a constant is fitted to the word loss of six finished models up
# to 2.8B; the scores follow draw by draw. If words were all alike, five of them in a row would
# show nothing for half of the path, and 25 for most of it, although the loss falls all the way.
# With the real dispersion of words there is no such jump, however many words are asked for,
# because easy passages come early.

# %%
finished = table[(table["step"] == 143000) & table["run_id"].isin(
    [f"pythia-{s}" for s in ("70m", "160m", "410m", "1b-bf16", "1.4b", "2.8b", "6.9b", "12b")]
)]  # fmt: skip
log = finished.rename(columns={"params_nominal": "params", "loss_lambada_ln_ppl": "loss"})
log = log[["run_id", "params", "tokens", "loss", "lambada_acc"]].sort_values("params")
runs = bayescale.read_runs(log[log["params"] < 5e9])
fit = bayescale.fit(runs, "henighan_params", seed=1, **FIT)
print(fit)

# %%
path = np.geomspace(7e7, 2e11, 36)
smooth = {"params": path, "answer_tokens": [1, 5, 25], "allow_unconverged": FAST}
result = bayescale.emergence(fit, dispersion=words, **smooth)
alike = bayescale.emergence(fit, decoding="greedy", **smooth)
print(result)
print()
print(alike)

# %%
fig, axes = plt.subplots(2, 1, figsize=(7, 9), layout="constrained", sharex=True)
for ax, each, title in zip(
    axes, (result, alike), ("Words differ, as estimated", "Words all alike"), strict=True
):
    bayescale.plot_emergence(each, ax)
    ax.plot(log["params"], log["lambada_acc"], "o", color="black", label="_")
    ax.set(title=title, ylim=(0, 1.15))
plt.show()

# %%
forecast = result.to_frame().query("metric == 'token_accuracy'").set_index("params")
for _, row in log[log["params"] > 5e9].iterrows():
    at = bayescale.emergence(
        fit, params=[row["params"] / 2, row["params"]], answer_tokens=[1], dispersion=words,
        allow_unconverged=FAST,
    ).to_frame().iloc[-1]  # fmt: skip
    print(
        f"{row['params'] / 1e9:.1f}B: exact match {at['median']:.3f} "
        f"({at['lower']:.3f} to {at['upper']:.3f}), reached {row['lambada_acc']:.3f}"
    )

# %% [markdown]
# ## Downstream errors from losses: Gadre's runs
#
# The mean error over 17 (or 46) tasks is modeled as a function of the loss. It is fitted to 71
# runs of up to 411M on three training sets, and combined with a law of the loss that is fitted to
# the same runs. Nine runs of 1.4B and 6.9B are held out.

# %%
gadre = pd.read_csv(DATA / "gadre_overtraining.csv")
gadre = gadre[gadre["chinchilla_mult"] >= 1]  # below, warm-up is a large part of a run
up_to, beyond = gadre[gadre["params"] < 1e9], gadre[gadre["params"] > 1e9]
columns = ["run_id", "params", "tokens", "flops", "loss", "dataset"]
losses = bayescale.fit(
    bayescale.read_runs(up_to[columns], columns={"family": "dataset"}), "chinchilla", seed=1, **FIT
)
rows = []
for error in ("err_avg17", "err_avg46"):
    log = bayescale.read_runs(
        up_to[[*columns, error]],
        columns={"loss": error, "lm_loss": "loss", "family": "dataset"},
    )
    downstream = bayescale.fit(log, "downstream", seed=1, **FIT)
    for _, run in beyond.iterrows():
        chained = bayescale.emergence(
            losses, params=[run["params"] / 2, run["params"]],
            tokens=[run["tokens"] / 2, run["tokens"]], family=run["dataset"],
            downstream=downstream, downstream_family=run["dataset"], allow_unconverged=FAST,
        ).to_frame()  # fmt: skip
        new = chained[chained["metric"] == "downstream_error_new"].iloc[-1]
        ends = {name: new[name] for name in ("lower", "median", "upper")}
        inside = ends["lower"] <= run[error] <= ends["upper"]
        rows.append({"run": run["run_id"], "error": error, "reached": run[error], **ends,
                     "inside": inside})  # fmt: skip
gadre_table = pd.DataFrame(rows)
print(gadre_table.round(3).to_string(index=False))
print(gadre_table.groupby("error")["inside"].agg(["sum", "count"]))

# %%
grid = np.linspace(2.2, 5.2, 80)
answer = bayescale.forecast(downstream, lm_loss=grid, family="rpj", allow_unconverged=FAST)
held = beyond[beyond["dataset"] == "rpj"]
held = pd.DataFrame({"lm_loss": held["loss"], "loss": held["err_avg46"]})
own = log.take(log["family"] == "rpj", "another training set")
bayescale.plot_downstream(answer, runs=own, held_out=held)
plt.show()
