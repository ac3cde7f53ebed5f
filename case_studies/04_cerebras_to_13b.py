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
# # Five Cerebras-GPT runs, and the 13B model
#
# **Question.** Five models from 111M to 2.7B parameters were trained on twenty tokens per
# parameter. What will 6.7B and 13B reach? Can the five say how to split a budget?
#
# **Answer.** From five runs, a single new run at 6.7B ends between 1.601 and 1.775 with 90 %
# probability (it reached 1.704), and at 13B between 1.451 and 1.714 (1.572). Every interval from
# four, five or six runs covers what was reached. Least squares gives one line, and a different one
# with each further run: its floor jumps from 1.00 to 0 to 0.74 nats, and its error at 13B from
# +4.5 % to -1.6 % to +1.6 %. The five runs cannot say how to split a budget: at 1e23 FLOP the best
# split of 74 % of the draws lies at an end of the search, 4.4 or 91 tokens per parameter.
#
# Data: Dey et al. 2023 (arXiv 2304.03208), the bundled data set `pile_2023`.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.optimize import least_squares

import bayescale
from bayescale.datasets import load

FAST = bool(os.environ.get("BAYESCALE_FAST"))  # fewer draws, for the tests
FIT = {"draws": 100, "tune": 200, "chains": 2} if FAST else {}

# %%
runs = load("pile_2023").take(lambda frame: frame["family"] == "Cerebras-GPT")
sizes = np.sort(runs["params"])


def up_to(n):
    return runs.take(lambda frame: frame["params"] <= sizes[n - 1])


# %% [markdown]
# ## Least squares: a different line with each further run
#
# A power law of compute plus a constant, by least squares on log loss.


# %%
def point(log):
    def off(theta):
        law = np.exp(theta[0]) + np.exp(theta[1] - np.exp(theta[2]) * np.log(log["flops"] / 1e20))
        return np.log(law / log["loss"])

    starts = [(np.log(e), np.log(1.5), np.log(a)) for e in (0.1, 0.5, 1.0) for a in (0.05, 0.1)]
    return min((least_squares(off, s) for s in starts), key=lambda found: found.cost).x


rows = []
for n in (4, 5, 6):
    theta = point(up_to(n))
    row = {"runs": n, "floor": np.exp(theta[0])}
    for size in sizes[n:]:
        run = runs.take(lambda frame, size=size: frame["params"] == size)
        law = np.exp(theta[0]) + np.exp(theta[1] - np.exp(theta[2]) * np.log(run["flops"] / 1e20))
        row[f"error at {size / 1e9:.1f}B"] = f"{float(law[0] / run['loss'][0] - 1):+.2%}"
    rows.append(row)
print(pd.DataFrame(rows).to_string(index=False))

# %% [markdown]
# ## The posterior: intervals that cover

# %%
fits = {n: bayescale.fit(up_to(n), "henighan_compute", seed=1, **FIT) for n in (4, 5, 6)}
print(fits[5])

# %%
for n, fit in fits.items():
    for size in sizes[n:]:
        run = runs.take(lambda frame, size=size: frame["params"] == size)
        answer = bayescale.forecast(fit, flops=run["flops"][0], allow_unconverged=True).to_json()
        new = answer["loss_new"]
        inside = new["lower"] <= run["loss"][0] <= new["upper"]
        print(
            f"{n} runs, {size / 1e9:.1f}B: {new['median']:.3f} ({new['lower']:.3f} to "
            f"{new['upper']:.3f}), reached {run['loss'][0]:.3f}: "
            f"{'inside' if inside else 'outside'}"
        )

# %%
grid = np.geomspace(2e18, 1e23, 60)
curve = bayescale.forecast(fits[5], flops=grid, allow_unconverged=True)
held = runs.take(lambda frame: frame["params"] > sizes[4]).to_frame()
bayescale.plot_forecast(curve, runs=up_to(5), held_out=held)
plt.show()

# %% [markdown]
# ## What the five cannot say
#
# All have twenty tokens per parameter, so the effects of size and data cannot be separated.

# %%
for check in bayescale.design_checks(up_to(5), bayescale.LAWS["chinchilla"]):
    print(
        f"{ {True: 'ok', False: 'WEAK', None: 'info'}[check.passed] }  {check.code}: {check.text}"
    )
both = bayescale.fit(up_to(5), "chinchilla", seed=1, **FIT)
print(bayescale.allocate(both, 1e23, allow_unconverged=True))
