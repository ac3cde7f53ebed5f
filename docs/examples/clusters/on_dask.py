"""Fit many logs on a Dask cluster: here two workers of this computer."""

from dask.distributed import Client, LocalCluster

import bayescale
from bayescale.datasets import load

if __name__ == "__main__":
    runs = load("pile_2023")
    logs = {
        name: runs.take(lambda frame, name=name: frame["family"] == name)
        for name in ("Cerebras-GPT", "Pythia")
    }
    with LocalCluster(n_workers=2, threads_per_worker=1) as cluster, Client(cluster) as client:
        executor = client.get_executor(pure=False)
        for fitted in bayescale.fit_many(logs, "kaplan_compute", executor=executor):
            print(fitted.name, fitted.error or fitted.fit.diagnostics["passed"])
