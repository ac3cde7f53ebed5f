import bayescale

sweep = bayescale.open_tuning("tune.nc")
bayescale.tune(sweep, params="1B", tokens="40B").plot()
