import bayescale

fit = bayescale.open_posterior("fit.nc")  # the backtest is kept in it
print(bayescale.trust(fit, tolerance=0.05))
bayescale.plot_trust(bayescale.trust(fit))
