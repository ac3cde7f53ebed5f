bayescale trust fit.nc
bayescale forecast fit.nc --flops 2e22
