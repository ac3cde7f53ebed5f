import numpy as np

import bayescale

fit = bayescale.open_posterior("fit.nc")
path = np.geomspace(1e19, 1e24, 40)
scores = bayescale.emergence(fit, flops=path, answer_tokens=(1, 5, 25))
end = scores.to_frame().query("flops == flops.max()")
columns = ["metric", "median", "lower", "upper"]
print(end[columns].to_string(index=False, float_format="{:.3g}".format))
bayescale.plot_emergence(scores)
