"""Cards and logs of imperfect runs, for tests that share them."""

from typing import Any

import numpy as np
import pandas as pd

from bayescale.cards import ModelCard, load_card, parse_card
from bayescale.runs import Runs, read_runs

WORDS = 'unit = "dimensionless"\nmeaning = "of a test card"\nwhy = "distinct from others"\n'
SECTIONS = {
    "excess": f"[noise.excess]\nprior = {{ low = 0.003, high = 0.1 }}\n{WORDS}",
    "shrink": "[noise.shrink]\n"
    f'prior = {{ dist = "HalfNormal", kwargs = {{ sigma = 0.1 }} }}\n{WORDS}',
    "shared": "[noise.shared]\n"
    f'prior = {{ dist = "Beta", kwargs = {{ alpha = 4, beta = 1.5 }} }}\n{WORDS}',
    "rounding": '[noise.rounding]\nstep = 0.02\nof = "loss"\nwhy = "two decimals"\n',
    "input_errors": '[noise.input_errors]\nparams = 0.05\nflops = 0.08\nwhy = "read off"\n',
}


def card_with(*names: str, dist: str = "StudentT", card: str = "chinchilla") -> ModelCard:
    """A card of the package with these sections of noise alone, of this distribution."""
    text = load_card(card).text
    start, end = text.index("[noise]"), text.index("[drift]")
    noise = text[start:end]
    noise = noise[: noise.index("[noise.shared]")] if "[noise.shared]" in noise else noise
    if dist == "Normal" and "[noise.nu]" in noise:
        noise = noise[: noise.index("[noise.nu]")].replace('"StudentT"', '"Normal"')
    return parse_card(f"{text[:start]}{noise}{''.join(SECTIONS[n] for n in names)}{text[end:]}")


def some_runs(n: int = 6, **columns: Any) -> Runs:
    """Runs of many shapes about a published law."""
    rng = np.random.default_rng(4)
    params = np.geomspace(1e8, 1e10, n)
    tokens = params * rng.uniform(5, 80, n)
    loss = 1.8 + 480 / params**0.35 + 2000 / tokens**0.37
    loss = loss * np.exp(0.01 * rng.standard_normal(n))
    log = {"run_id": [f"r{i}" for i in range(n)], "params": params, "tokens": tokens, "loss": loss}
    return read_runs(pd.DataFrame(log | columns))


CHECKPOINTS = list("aabbbc")
