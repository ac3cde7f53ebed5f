bayescale forecast fit.nc --params 70B --tokens 1.4T --target 1.95
