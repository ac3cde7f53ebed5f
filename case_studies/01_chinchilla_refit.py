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
# # What do Chinchilla's 245 runs really say?
#
# **Question.** Hoffmann et al. (2022) and Besiroglu et al. (2024) fitted one law to the same runs.
# They disagree on the exponents, on tokens per parameter, and on the uncertainty of both. Who is
# right, and what does it change?
#
# **Answer.** Besiroglu et al. are right. By the posterior of 240 runs, N grows as C^0.510 (0.494
# to 0.527), with 19.0 tokens per parameter at Gopher's budget (13.4 to 26.6). Allowing for the
# variation between fresh logs, it is 11.7 to 30.4. The values of Besiroglu et al., 0.513 and 18.4,
# lie inside. Those of Hoffmann et al. do not: 0.452 and 93 as printed, 0.457 and 59 unrounded.
# With the printed values, the median run lies 1.8 % below the law. Keeping the five runs that
# Besiroglu et al. dropped changes little (0.514 and 17.6), because the noise has heavy tails;
# leave-one-out names the five as outliers. The disagreement matters less for the decision. The
# best split is 71B on 1.36T tokens. Chinchilla's own 70B on 1.4T loses 0.0001 nats, and Gopher's
# 280B on 300B wastes half of its compute.
#
# Data: 245 runs read off Hoffmann's figure 4 by Besiroglu et al. (arXiv 2404.10102), the data set
# `chinchilla` of the package.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import bayescale
from bayescale.datasets import load

FAST = bool(os.environ.get("BAYESCALE_FAST"))  # fewer draws, for the tests
FIT = {"draws": 100, "tune": 200, "chains": 2} if FAST else {}

# %% [markdown]
# ## All 245 runs
#
# The fit is not told which runs are unusual. Leave-one-out finds them.

# %%
everything = load("chinchilla")
fit_all = bayescale.fit(everything, "chinchilla", seed=1, **FIT)
print(fit_all)

# %% [markdown]
# ## The 240 that Besiroglu et al. kept

# %%
runs = everything.take(
    lambda frame: frame["loss"].rank(ascending=False) > 5, "one of the five highest losses"
)
fit = bayescale.fit(runs, "chinchilla", seed=1, **FIT)
print(fit)

# %%
wide = bayescale.widen(fit)  # as wide as the fit varies between fresh logs
card = bayescale.load_card("chinchilla")
papers = {
    "Hoffmann, as printed": card.published_values("hoffmann_2022"),
    "Hoffmann, unrounded": card.published_values("hoffmann_2022_unrounded"),
    "Besiroglu": card.published_values("besiroglu_2024"),
}


def interval(values):
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    return f"{middle:.4g} ({low:.4g} to {high:.4g})"


rows = {}
for name, posterior in (("245 runs", fit_all), ("240 runs", fit), ("240 runs, robust", wide)):
    draws = {key: posterior.draws[key].values.ravel() for key in card.law.coefficients}
    params, tokens = bayescale.compute_optimal(card.law, 5.76e23, draws)
    rows[name] = {key: interval(values) for key, values in draws.items()}
    rows[name]["a = beta / (alpha + beta)"] = interval(
        draws["beta"] / (draws["alpha"] + draws["beta"])
    )
    rows[name]["tokens per param at 5.76e23"] = interval(tokens / params)
for name, values in papers.items():
    params, tokens = bayescale.compute_optimal(card.law, 5.76e23, values)
    rows[name] = {key: f"{value:.4g}" for key, value in values.items()}
    rows[name]["a = beta / (alpha + beta)"] = (
        f"{values['beta'] / (values['alpha'] + values['beta']):.3f}"
    )
    rows[name]["tokens per param at 5.76e23"] = f"{float(tokens / params):.3g}"
print(pd.DataFrame(rows).to_string())

# %% [markdown]
# ## Where the published fits lie
#
# Residuals of each law at the runs: if they are not centered on zero, the fit has missed the data.

# %%
residuals = {
    name: np.log(runs["loss"] / card.law.loss(runs["params"], runs["tokens"], **values))
    for name, values in papers.items()
}
law = fit.exact.loss_of_runs().median(("chain", "draw")).values
residuals["posterior median"] = np.log(runs["loss"] / law)
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for (name, r), color in zip(
    residuals.items(), ("#D55E00", "#E69F00", "#009E73", "#0072B2"), strict=True
):
    ax.hist(
        r,
        bins=np.linspace(-0.05, 0.05, 61),
        histtype="step",
        color=color,
        linewidth=1.8,
        label=name,
    )
    print(f"{name:<22} median residual {np.median(r):+.4f}, sd {np.std(r):.4f}")
ax.set(xlabel="log of loss over law", ylabel="runs")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ## What it changes: the split of Gopher's budget

# %%
named = [(70e9, 1.4e12), (280e9, 300e9)]
split = bayescale.allocate(fit, 5.76e23, options=named, allow_unconverged=FAST)
print(split)

# %%
budgets = np.geomspace(1e20, 1e25, 11)
frontier = bayescale.allocate(fit, budgets, allow_unconverged=FAST)
bayescale.plot_allocation(frontier)
plt.show()
