import bayescale as bs
from bayescale.datasets import load

fit = bs.fit(load("chinchilla"))  # 245 published runs; yours: bs.fit("runs.csv")
print(fit.forecast(params="70B", tokens="1.4T", target=1.95))
