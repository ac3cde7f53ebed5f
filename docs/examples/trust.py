import bayescale

fit = bayescale.open_posterior("fit.nc")  # the backtest is kept in it
for tolerance in (0.01, 0.02, 0.05):
    answer = bayescale.trust(fit, tolerance=tolerance)
    print(f"within {tolerance:.0%}: {answer.horizon_ratio:.3g} times, by {answer.limited_by}")

bayescale.plot_trust(bayescale.trust(fit))
