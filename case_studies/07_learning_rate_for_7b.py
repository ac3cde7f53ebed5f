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
# # Which learning rate for the 7B run?
#
# **Question.** A 7B model will train on 140B tokens. The pilot runs are eight random settings of
# learning rate and batch size at each of 41 smaller sizes. Which setting should it take, and what
# would a wrong one cost?
#
# **Answer.** A learning rate of 0.0005 with 444 sequences a step, or nearly anything near it. A
# second team with other settings of the same sizes would take 0.0006 and 545. The exponents are
# not settled: the published power of params, -0.713, lies just outside the first team's 90 %
# interval (-0.712 to -0.614) and outside the second's (-0.703 to -0.590); that of tokens, 0.307,
# outside the first team's (0.230 to 0.287) and inside the second's (0.241 to 0.314). The decision
# hardly depends on it. By the other team's posterior, the first choice loses 0.04 % of the loss
# (at most 0.11 % with 95 %), and the second 0.03 % (0.07 %). The published rule's 0.0005 with 655
# sequences loses 0.07 to 0.09 % (at most 0.16 %). Half or twice the learning rate loses 0.16 to
# 0.45 %. No run tests this: 7B on 140B tokens is 16 times the compute of the largest run.
#
# Data: the sweep of Li et al. 2025 (arXiv 2503.04715), 60M to 1.07B params on 2B to 100B tokens,
# found through the environment variable `BAYESCALE_DATA`. Batch sizes are in sequences of 2,048
# tokens.

# %%
import os
from pathlib import Path

import numpy as np
import pandas as pd

import bayescale

DATA = Path(os.environ["BAYESCALE_DATA"])
FAST = bool(os.environ.get("BAYESCALE_FAST"))  # fewer draws, for the tests
FIT = {"draws": 100, "tune": 200, "chains": 2} if FAST else {"draws": 1500, "tune": 1000}
RUN = {"params": 7e9, "tokens": 140e9}

sweep = pd.read_csv(DATA / "lr_batch_sweep.csv")
sweep = sweep.rename(columns={"params_non_embedding": "params"})


def pilot(seed: int) -> pd.DataFrame:
    """Take eight settings of each size at random."""
    return sweep.sample(frac=1.0, random_state=seed).groupby(["params", "tokens"]).head(8)


# %% [markdown]
# ## Two teams, two pilots
#
# Two teams draw different settings at the same sizes. Each fits the valley to its own runs.

# %%
teams = {}
for seed in (0, 1):
    runs = bayescale.read_runs(pilot(seed), repeats="keep")
    teams[f"team {seed + 1}"] = bayescale.fit_tuning(runs, seed=seed, **FIT)
print({name: (len(team.sweep.runs), team.diagnostics["passed"]) for name, team in teams.items()})

# %%
answers = {
    name: bayescale.tune(team, **RUN, allow_unconverged=FAST) for name, team in teams.items()
}
print(answers["team 1"])

# %% [markdown]
# ## What they disagree about
#
# The exponents of the best learning rate and batch size, and the best learning rate at 7B, with
# 90 % intervals.

# %%
rows = []
for name, answer in answers.items():
    for what, draws in (*answer.exponents.items(), ("best lr at 7B", answer.lr)):
        low, middle, high = np.quantile(draws, [0.05, 0.5, 0.95])
        rows.append({"team": name, "what": what, "lower": low, "median": middle, "upper": high})
table = pd.DataFrame(rows).pivot(index="what", columns="team", values=["lower", "median", "upper"])
print(table.round(4).to_string())

# %% [markdown]
# ## What they agree about
#
# Each team's choice, judged by both posteriors: what it loses, expected and with 95 %, without the
# noise of runs. Beside them stands the published rule, which saw all 2,702 runs.

# %%
rule = bayescale.load_rule("steplaw_2025").at(**RUN)
settings = {name: answer.choice for name, answer in answers.items()}
settings["Step Law"] = {"lr": rule["lr"], "batch_size": rule["batch_tokens"] / 2048}
rows = []
for judge, team in teams.items():
    for of, setting in settings.items():
        answer = bayescale.tune(team, **RUN, **setting, allow_unconverged=FAST)
        regret = answer.named["regret"]
        rows.append(
            {
                "setting of": of,
                **{k: float(f"{v:.3g}") for k, v in setting.items()},
                "judged by": judge,
                "loses": regret["expected_share"],
                "at most (95 %)": regret["noise_free_bound95_share"],
            }
        )
print(pd.DataFrame(rows).round(4).to_string(index=False))

# %% [markdown]
# ## What it would cost to be off by a factor of two

# %%
print(
    pd.DataFrame(
        {
            name: {row["move"]: row["regret"]["expected_share"] for row in answer.off}
            for name, answer in answers.items()
        }
    )
    .round(4)
    .to_string()
)
