bayescale next-run fit.nc --target-flops 5.76e23 --budget 5e22
