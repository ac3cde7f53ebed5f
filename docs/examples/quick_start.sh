python -c "from bayescale.datasets import load; load('chinchilla').to_frame().to_csv('chinchilla.csv', index=False)"
bayescale check chinchilla.csv
bayescale fit chinchilla.csv -o fit.nc
