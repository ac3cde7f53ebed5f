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
# # 25B unique tokens: repeat them, prune them, or find more?
#
# **Question.** A team has 25B unique tokens and 1e22 FLOP. How often should it repeat them, what
# would more data be worth, and would pruning be better?
#
# **Answer.** Train 8.1B parameters on 205B tokens, so on all of them about 8 times. The expected
# loss is 2.379 (90 % interval 2.365 to 2.395). The best split is hardly known: the best number of
# times lies between 1 and 17. The choice costs 0.018 nats against it on average, and less than
# 0.064 with 95 % probability. Twice as many unique tokens would be worth 0.030 nats (0.015 to
# 0.039), or 33 % of the compute (10 to 52 %); unlimited ones 0.050 nats. Pruning does not help in a
# scenario whose metric is anywhere between worse than random and one that removes harm: no share
# has a lower expected loss than keeping everything, because the tokens are repeated already and
# each one is needed. Real pruned runs agree. On C4, keeping a quarter or a half by perplexity gave
# a quality of 0.40 (0.25 to 0.68); 1 is a random choice, and 1.5 to 1.6 would break even here. For
# the loss on unpruned text, that metric harms.
#
# Data: the data-constrained runs of Muennighoff et al. 2023 (arXiv 2305.16264), found through the
# environment variable `BAYESCALE_DATA`.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import logsumexp

import bayescale

DATA = Path(os.environ["BAYESCALE_DATA"])
FAST = bool(os.environ.get("BAYESCALE_FAST"))  # fewer draws, for the tests
FIT = {"draws": 100, "tune": 200, "chains": 2} if FAST else {}

# %% [markdown]
# ## What repetition is worth
#
# The paper's 182 runs, without those on fewer than a billion tokens. These are mostly warm-up and
# lie a fifth to a third above any law that the others follow.

# %%
table = pd.read_csv(DATA / "datablations.csv")
columns = ["run_id", "params", "tokens", "unique_tokens", "flops", "loss"]
paper = table.loc[table["in_paper_fit"] == 1, columns]
runs = bayescale.read_runs(paper[paper["tokens"] >= 1e9])
fit = bayescale.fit(runs, "repetition", seed=1, **FIT)
print(fit)

# %% [markdown]
# Repeated tokens are worth more here than published: R_D is 35 (29 to 42), not 15.4, and the
# interval of R_N ends just below the published 5.3. The published pair was fitted with all other
# coefficients held at values from other runs. These values are too low for three quarters of these
# runs. If the other coefficients are held at them here as well, the published pair comes back:

# %%
card = bayescale.load_card("repetition")
published = card.published_values("muennighoff_2023")
inputs = {name: runs[name] for name in card.law.inputs}
r_n, r_d = np.geomspace(0.5, 60, 40), np.geomspace(2, 150, 50)
log_posterior = np.empty((len(r_n), len(r_d)))
sigmas, nus = np.geomspace(0.01, 0.3, 30)[:, None, None], np.array([1.0, 2.0, 5.0, 30.0])[:, None]
for i, j in np.ndindex(log_posterior.shape):
    held = published | {"R_N": r_n[i], "R_D": r_d[j]}
    residual = np.log(runs["loss"] / card.law.loss(**inputs, **held))
    density = stats.t.logpdf(residual / sigmas, nus).sum(-1) - len(runs) * np.log(sigmas[..., 0])
    log_posterior[i, j] = logsumexp(density)
for name, values, axis in (("R_N", r_n, 0), ("R_D", r_d, 1)):
    prior = card.coefficients[name].prior.frozen.logpdf(values) + np.log(values)
    log_posterior += np.expand_dims(prior, 1 - axis)
mass = np.exp(log_posterior - log_posterior.max())
for name, values, axis in (("R_N", r_n, 0), ("R_D", r_d, 1)):
    below = mass.sum(1 - axis).cumsum() / mass.sum()
    low, middle, high = np.interp([0.05, 0.5, 0.95], below, values)
    print(f"{name}, others as published: {middle:.3g} (90 % interval {low:.3g} to {high:.3g})")
high = np.mean(runs["loss"] > card.law.loss(**inputs, **published))
print(f"{high:.0%} of the runs lie above the published law")

# %%
scales = {
    "params": 8.67e9,
    "tokens": 178e9,
    "unique_tokens": 178e9 / np.array([1, 2, 4, 8, 16, 64]),
}
epochs = bayescale.forecast(fit, **scales, allow_unconverged=FAST).to_frame()
epochs["epochs"] = epochs["tokens"] / epochs["unique_tokens"]
print(epochs[["epochs", "loss_lower", "loss_median", "loss_upper"]].round(3).to_string(index=False))

# %% [markdown]
# ## The budget

# %%
split = bayescale.allocate(fit, 1e22, max_tokens=25e9, allow_unconverged=FAST)
print(split)

# %% [markdown]
# ## Pruning, as a scenario
#
# None of these runs was pruned, so the quality of the metric has a prior: from worse than a random
# choice to one that removes harm. The kept tokens are repeated as often as the compute requires.

# %%
choice = split.to_json()["choice"]
scenario = bayescale.prune(
    fit, params=choice["params"], tokens=25e9, trained=choice["tokens"], allow_unconverged=FAST
)
print(scenario)

# %%
bayescale.plot_pruning(scenario)
plt.show()

# %% [markdown]
# ## Pruning, with real runs
#
# The same project also trained on a quarter and on half of C4, chosen by perplexity. Two
# assumptions make these pruned pilot runs: C4 holds 178B tokens, the most that any run used once,
# and their losses are on the same evaluation set as those of the others. From them the law
# `pruned` infers what this metric is worth for that loss, and for no other.

# %%
extra = pd.read_csv(DATA / "datablations_filter_mix_extra.csv")
kept = {"2b855b55bc4perplexity25": 0.25, "2b855b55bc4perplexity50": 0.5,
        "4b284bc4perplexity25": 0.25, "4b284bc4perplexity50": 0.5}  # fmt: skip
pruned = extra[extra["run_id"].isin(kept)].assign(kept_fraction=lambda t: t["run_id"].map(kept))
pruned["unique_tokens"] = np.minimum(178e9 * pruned["kept_fraction"], pruned["tokens"])
both = pd.concat([runs.to_frame().assign(kept_fraction=1.0), pruned])
both = both[["run_id", "params", "tokens", "unique_tokens", "kept_fraction", "loss"]]
pilot = bayescale.fit(bayescale.read_runs(both), "pruned", seed=1, **FIT)
print(pilot)

# %%
with_runs = bayescale.prune(
    pilot, params=choice["params"], tokens=25e9, trained=choice["tokens"], keep=[0.25, 0.5, 0.8],
    allow_unconverged=FAST,
)  # fmt: skip
print(with_runs)

# %% [markdown]
# ## Why pruning can pay at all: the theory
#
# Sorscher et al. 2022 solve a case in which it does. A perceptron learns from another one, and the
# examples that are hardest under a probe are kept. With plenty of data, the hardest examples
# contain nearly all the information; with few data, the easiest ones do. A probe that is off by 20
# degrees runs out of good examples.

# %%
fig, axes = plt.subplots(2, 1, figsize=(7, 9), layout="constrained", sharex=True)
pools = np.geomspace(0.5, 200, 9 if FAST else 25)
for ax, angle in zip(axes, (0, 20), strict=True):
    theory = bayescale.prune_perceptron(pools, [0.1, 0.3, 1.0], probe_angle=angle,
                                        kept=("hard", "easy"))  # fmt: skip
    bayescale.plot_perceptron(theory, ax)
    ax.set_title(f"probe off by {angle} degrees")
plt.show()
