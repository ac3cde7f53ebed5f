bayescale summary fit.nc
