bayescale allocate fit.nc --flops 5.76e23 --option 280B,300B
