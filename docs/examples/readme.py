import bayescale
from bayescale.datasets import load

runs = load("chinchilla")  # 245 published runs; your own: bayescale.read_runs("runs.csv")
fit = bayescale.fit(runs, "chinchilla")
print(bayescale.forecast(fit, params=70e9, tokens=1.4e12, target=1.95))
print(bayescale.allocate(fit, 5.76e23, options=[(280e9, 300e9)]))
