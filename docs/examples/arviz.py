import arviz as az
import matplotlib.pyplot as plt
import numpy as np

import bayescale as bs

fit = bs.open_posterior("fit.nc")
tree = fit.tree.isel(draw=slice(None, None, 10))  # a tenth of the points to draw
az.plot_pair(tree, var_names=["alpha", "beta", "kappa"])
plt.gcf().set_layout_engine("constrained", w_pad=0.1)
elpd = az.loo(fit.tree).elpd  # of log loss
jacobian = float(np.log(fit.runs["loss"]).sum())
print(
    f"elpd of log loss {elpd:.1f}, of the loss, as bayescale.compare has it, {elpd - jacobian:.1f}"
)
