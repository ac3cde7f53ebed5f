"""Write simulated runs: two recipes, of which one is 1 % better, a run in progress, a sweep."""

import numpy as np
import pandas as pd

import bayescale

# nine sizes of each recipe, with noise of 0.3 % between seeds
truth = {"E": 1.7, "A": 400.0, "alpha": 0.34, "B": 410.0, "beta": 0.28}
params, tokens = np.array([(n, n * r) for n in (3e7, 1e8, 3e8) for r in (10, 20, 40)]).T
recipes = []
for seed, (recipe, times) in enumerate({"base": 1.0, "filtered": 0.99}.items()):
    scales = {"params": params, "tokens": tokens}
    runs = bayescale.simulate("chinchilla", truth, scales, sigma=0.003, seed=seed)
    recipes.append(runs.assign(recipe=recipe, run_id=recipe + "-" + runs["run_id"]))
    recipes[-1]["loss"] *= times
pd.concat(recipes).to_csv("recipes.csv", index=False)

# the first 20,000 of 50,000 steps, with a cosine that ends at a tenth of the peak
step = np.arange(100, 20_001, 100)
share = np.minimum(step / 1000, 0.55 + 0.45 * np.cos(np.pi * step / 50_000))
fallen = np.where(step > 1000, 1 - share, 0.0)
loss = 2.7 + 0.2 * (np.cumsum(share) * 100 / 28_000) ** -0.5 - 0.1 * fallen
loss += 0.001 * np.random.default_rng(0).standard_normal(len(step))
pd.DataFrame({"step": step, "lr": 3e-4 * share, "loss": loss}).to_csv("history.csv", index=False)

# 25 settings of each of eight sizes, with noise of 0.1 %; the best rate falls with params
rng = np.random.default_rng(0)
rows = []
for n, d in ((n, n * r) for n in (5e7, 1e8, 2e8, 4e8) for r in (20, 80)):
    best = 2e-3 * (n / 1e8) ** -0.6 * (d / 4e9) ** 0.3, 128 * (d / 4e9) ** 0.5
    for lr in best[0] * 4.0 ** np.linspace(-1, 1, 5):
        for batch in best[1] * 4.0 ** np.linspace(-1, 1, 5):
            excess = 0.01 * np.log(lr / best[0]) ** 2 + 0.01 * np.log(batch / best[1]) ** 2
            loss = (1.7 + 400 / n**0.34 + 410 / d**0.28) * (1 + excess)
            loss *= 1 + 0.001 * rng.standard_normal()
            rows.append({"params": n, "tokens": d, "lr": lr, "batch_size": batch, "loss": loss})
pd.DataFrame(rows).to_csv("sweep.csv", index=False, float_format="%.6g")
