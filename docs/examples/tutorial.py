import bayescale as bs
from bayescale.datasets import load

fit = bs.open_posterior("runs.nc")
later = load("chinchilla").take(lambda frame: frame["flops"] > 5e21).to_frame()
answer = fit.forecast(params=later["params"], tokens=later["tokens"]).to_frame()
answer["reached"] = later["loss"].to_numpy()
columns = ["params", "tokens", "loss_new_lower", "loss_new_median", "loss_new_upper", "reached"]
print(answer[columns].to_string(index=False, float_format="{:.4g}".format))

bs.plot_fit(fit, point=fit.forecast(flops=1e22))
