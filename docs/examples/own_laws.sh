bayescale models check tied.py:TIED --card tied.toml
bayescale fit chinchilla.csv --law tied.py:TIED --card tied.toml -o tied.nc
bayescale allocate tied.nc --law tied.py:TIED --flops 5.76e23
