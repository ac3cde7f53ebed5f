import numpy as np

import bayescale

fit = bayescale.open_posterior("fit.nc")
budgets = [1e21, 1e22, 1e23]
best = bayescale.allocate(fit, budgets)
columns = ["flops", "choice_params", "choice_tokens", "regret_mean"]
print(best.to_frame()[columns].to_string(index=False, float_format="{:.3g}".format))

spent = np.repeat(budgets, 40)
params = np.sqrt(spent / 120) * np.tile(np.geomspace(0.2, 5, 40), 3)
curves = bayescale.forecast(fit, params=params, tokens=spent / (6 * params))
bayescale.plot_slices(curves, best=best)
