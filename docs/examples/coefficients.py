import bayescale

posterior = bayescale.open_posterior("fit.nc")
summary = bayescale.summarize(posterior)
alpha = posterior.draws["alpha"]  # ready for ArviZ: dims chain and draw
print(f"alpha above 0.34 with {float((alpha > 0.34).mean()):.0%}")
bayescale.plot_coefficients(summary)
