python make_export.py
head -n 3 wandb_export.csv
bayescale check wandb_export.csv --exclude State=crashed --write
bayescale fit wandb_export.csv -o runs.nc --quiet
bayescale trust runs.nc --quiet
bayescale allocate runs.nc --flops 1e22 --quiet
bayescale next-run runs.nc --target-flops 1e22 --budget 4e21 --quiet
bayescale forecast runs.nc --flops 1e22 --figure slide.png --brief
bayescale report runs.nc --flops 1e22 -o report.html --brief
