bayescale fit chinchilla.csv --law chinchilla -o one.nc
