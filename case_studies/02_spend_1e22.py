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
# # Spend the next 1e22 FLOP
#
# **Question.** A team has 24 runs of up to 411M parameters on one training set. It will spend 1e22
# FLOP on one model. Which size should it train, how certain is that, and would a pilot run first
# reduce the uncertainty?
#
# **Answer.** Train 9.8B parameters on 170B tokens, although the uncertainty is large. Each draw's
# own best size lies between 2.7B and 19.3B. The choice loses 0.025 nats in expectation, as if a
# fifth of the compute were wasted. The two laws disagree, 19B against 6.7B, and following the
# wrong one wastes 39 to 49 %. If a trillion tokens are to be served, the choice is 2.8B on 270B,
# and the laws agree. Pilots of 3e20 FLOP in all, the largest 2.5B on 13B tokens, should reduce the
# standard error of the loss from 4.9 % to 2.2 %. Three larger runs that the fit never saw, of 1.4B
# and 6.9B, all ended inside their 90 % intervals.
#
# Data: the RedPajama runs of Gadre et al. 2024 (arXiv 2403.08540), found through the environment
# variable `BAYESCALE_DATA`.

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

# %%
table = pd.read_csv(DATA / "gadre_overtraining.csv")
table = table[(table["dataset"] == "rpj") & (table["chinchilla_mult"] >= 1)]
columns = ["run_id", "params", "tokens", "flops", "loss"]
small, large = table[table["params"] < 1e9], table[table["params"] > 1e9]
runs = bayescale.read_runs(small[columns])
print(runs)
fit = bayescale.fit(runs, ["chinchilla", "kaplan_irreducible"], seed=1, **FIT)
print(fit)

# %% [markdown]
# ## The split, and what other splits waste

# %%
options = [(7e9, 1e22 / 6 / 7e9), (1.4e9, 1e22 / 6 / 1.4e9)]
split = bayescale.allocate(fit, 1e22, options=options, allow_unconverged=FAST)
print(split)

# %% [markdown]
# If a trillion tokens are to be served, each at a cost of twice the parameters, the best model is
# smaller:

# %%
served = bayescale.allocate(fit, 1e22, inference_tokens=1e12, allow_unconverged=FAST)
print(served)

# %%
frontier = bayescale.allocate(fit, np.geomspace(1e20, 1e23, 7), allow_unconverged=FAST)
bayescale.plot_allocation(frontier)
plt.show()

# %% [markdown]
# ## Which pilot to train

# %%
pilot = bayescale.next_run(fit, 5e20, target_flops=1e22, allow_unconverged=FAST)
print(pilot)
bayescale.plot_next_run(pilot)
plt.show()

# %% [markdown]
# ## What the larger runs reached
#
# Three larger runs were trained. The fit saw none of them.

# %%
for _, run in large.iterrows():
    answer = bayescale.forecast(
        fit, params=run["params"], tokens=run["tokens"], allow_unconverged=FAST
    ).to_json()
    new = answer["loss_new"]
    inside = new["lower"] <= run["loss"] <= new["upper"]
    print(
        f"{run['params'] / 1e9:.1f}B on {run['tokens'] / 1e9:.0f}B tokens: forecast "
        f"{new['median']:.3f} ({new['lower']:.3f} to {new['upper']:.3f}), reached "
        f"{run['loss']:.3f}: {'inside' if inside else 'outside'}"
    )
