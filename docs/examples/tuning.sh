bayescale tune sweep.csv --params 1B --tokens 40B -o tune.nc
