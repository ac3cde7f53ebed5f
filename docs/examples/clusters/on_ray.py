"""Fit many logs on a Ray cluster: here two workers of this computer."""

from concurrent.futures import Executor, Future

import ray

import bayescale
from bayescale.datasets import load


@ray.remote
def call(task, args, kwargs):
    return task(*args, **kwargs)


class RayExecutor(Executor):
    """Runs each task on whichever core of the cluster is free."""

    def submit(self, fn, /, *args, **kwargs) -> Future:
        return call.remote(fn, args, kwargs).future()


if __name__ == "__main__":
    runs = load("pile_2023")
    logs = {
        name: runs.take(lambda frame, name=name: frame["family"] == name)
        for name in ("Cerebras-GPT", "Pythia")
    }
    ray.init(num_cpus=2)
    for fitted in bayescale.fit_many(logs, "kaplan_compute", executor=RayExecutor()):
        print(fitted.name, fitted.error or fitted.fit.diagnostics["passed"])
    ray.shutdown()
