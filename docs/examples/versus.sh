python make_pilots.py
bayescale versus recipes.csv --family recipe --flops 1e21
