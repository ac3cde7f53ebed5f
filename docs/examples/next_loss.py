import numpy as np

import bayescale

fit = bayescale.open_posterior("fit.nc")
answer = bayescale.forecast(fit, params=70e9, tokens=[0.7e12, 1.4e12], target=1.95)
columns = ["tokens", "loss_median", "loss_lower", "loss_upper", "p_below_target"]
print(answer.to_frame()[columns].to_string(index=False, float_format="{:.4g}".format))

path = bayescale.forecast(fit, flops=np.geomspace(1e19, 1e24, 60))
bayescale.plot_forecast(path, runs=fit.runs, horizon=bayescale.trust(fit))
