import bayescale

history = bayescale.read_history("history.csv")
plan = bayescale.named_plan("cosine", 50_000, history)
bayescale.watch(history, plan, target=2.8).plot()
