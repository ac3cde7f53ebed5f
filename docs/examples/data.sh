bayescale data fit.nc --params 7B
bayescale prune fit.nc --params 7B --tokens 140B
