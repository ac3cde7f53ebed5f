"""Writes the posterior file that a release adds here: ``python tests/formats/make.py``."""

from pathlib import Path

import numpy as np

import bayescale
from bayescale.laws import LAWS
from bayescale.posterior.files import FORMAT
from bayescale.simulation import simulate


def main() -> None:
    """Fit a small log, and tell what its file is to answer."""
    flops = np.geomspace(1e18, 1e21, 6)
    truth = {"C_c": 1e24, "alpha_C": 0.05}
    runs = bayescale.read_runs(simulate(LAWS["kaplan_compute"], truth, {"flops": flops}, seed=1))
    posterior = bayescale.fit(runs, "kaplan_compute", draws=20, tune=200, chains=2)
    path = Path(__file__).parent / f"format_{FORMAT}_version_{bayescale.__version__}.nc"
    print(bayescale.save(posterior, path), path.stat().st_size, "bytes")
    loss = bayescale.forecast(posterior, flops=1e22, drift=False, allow_unconverged=True).loss
    print("median loss at 1e22 FLOP without drift:", float(np.median(loss)))


if __name__ == "__main__":  # pytest imports every module here, to look for examples
    main()
