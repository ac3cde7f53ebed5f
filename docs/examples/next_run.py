import bayescale

fit = bayescale.open_posterior("fit.nc")
answer = bayescale.next_run(fit, budget=5e22, target_flops=5.76e23)
columns = ["params", "tokens", "flops", "sd_before", "sd_after"]
print(answer.to_frame()[columns].head(3).to_string(index=False, float_format="{:.3g}".format))
bayescale.plot_next_run(answer)
