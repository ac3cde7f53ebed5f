bayescale emerge fit.nc --flops 1e19,1e24 --answer-tokens 1,5
bayescale emerge fit.nc --flops 1e19,1e24 --answer-tokens 1,5 --dispersion 4.3 --greedy
