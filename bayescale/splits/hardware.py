"""Budgets in GPUs, days, dollars and memory."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bayescale.arguments import checks_arguments, require_kind
from bayescale.errors import DecisionError, collected, did_you_mean
from bayescale.splits.utilization import Utilization
from bayescale.units import three_digits

DAY = 86_400.0
HOUR = 3_600.0

BYTES_PER_PARAM = 16.0
"""Training state of one parameter with Adam in mixed precision: weights and gradients in 16 bits,
and weights and two moments in 32 bits (Rajbhandari et al. 2020, arXiv 1910.02054). Activations are
not included."""

GPUS = {
    "a100": (312e12, 80e9),
    "h100": (989e12, 80e9),
    "h200": (989e12, 141e9),
    "b200": (2250e12, 180e9),
}
"""Peak dense FLOP/s in bfloat16 and bytes of memory of each GPU, from the makers' data sheets."""


@dataclass(frozen=True)
class Cluster:
    """A cluster of GPUs, and the price of an hour of each.

    Attributes
    ----------
    gpus : int
    peak : float
        Peak FLOP/s of one GPU.
    utilization : float or Utilization
        The share of the peak that training reaches (MFU), with compute as the log counts it: one
        share for all models, or one that depends on their size.
    price : float, optional
        Dollars for an hour of one GPU.
    memory : float, optional
        Bytes of one GPU. The training state of the largest model may fill the memory of all GPUs.

    Raises
    ------
    DecisionError
        If a number is out of range.
    """

    gpus: int
    peak: float
    utilization: float | Utilization = 0.4
    price: float | None = None
    memory: float | None = None

    def __post_init__(self) -> None:
        for name in ("gpus", "peak", "utilization"):
            require_kind(name, getattr(self, name))
        for name in ("price", "memory"):
            if (value := getattr(self, name)) is not None:
                require_kind(f"gpu_{name}", value, name)
        share = 1.0 if isinstance(self.utilization, Utilization) else self.utilization
        checks = {
            "gpus": (self.gpus, 1 <= self.gpus < 1e8, "1 to 1e8"),
            "peak": (self.peak, 1e9 <= self.peak <= 1e18, "FLOP/s of one GPU, such as 989e12"),
            "utilization": (share, 0 < share <= 1, "above 0 and at most 1"),
            "price": (self.price, self.price is None or 0 < self.price < 1e6, "above zero"),
            "memory": (
                self.memory,
                self.memory is None or self.memory >= 1e6,
                "bytes of one GPU, such as 80e9",
            ),
        }
        problems = [
            f"{name} is {value:g}, but must be {need}"
            for name, (value, fits, need) in checks.items()
            if not fits
        ]
        if problems:
            raise DecisionError(collected("this cluster is not possible:", problems))

    @classmethod
    @checks_arguments
    def of(cls, gpu: str, gpus: int, **more: Any) -> "Cluster":
        """Return a cluster of GPUs that are known by name.

        Raises
        ------
        DecisionError
            If the name is unknown.

        Examples
        --------
        >>> print(f"{Cluster.of('h100', 512, utilization=0.4).flops_in(30):.3g} FLOP in 30 days")
        5.25e+23 FLOP in 30 days
        """
        if gpu.lower() not in GPUS:
            raise DecisionError(
                f"GPU {gpu!r} is unknown: use {', '.join(GPUS)}, or state the FLOP/s of one "
                f"in its place (`gpu_flops=`){did_you_mean(gpu, GPUS)}"
            )
        peak, memory = GPUS[gpu.lower()]
        return cls(gpus, **{"peak": peak, "memory": memory, **more})

    @property
    def by_size(self) -> Utilization | None:
        """The utilization, if it depends on the model's size."""
        return self.utilization if isinstance(self.utilization, Utilization) else None

    def utilization_at(self, params: Any = None) -> Any:
        """Return the share of the peak that models of these params reach.

        Raises
        ------
        DecisionError
            If it depends on params, and none are given.
        """
        if not isinstance(self.utilization, Utilization):
            return self.utilization
        if params is None:
            raise DecisionError(
                "utilization depends on the model's size: give the size with `params=`, or give "
                "`allocate` a budget in `days=`"
            )
        return self.utilization.at(params)

    def rate(self, params: Any = None) -> Any:
        """Return the FLOP/s that all GPUs together reach with models of these params."""
        return self.gpus * self.peak * self.utilization_at(params)

    def price_per_flop(self, params: Any = None) -> Any:
        """Return dollars per FLOP of models of these params; None without a price."""
        if self.price is None:
            return None
        return self.price / HOUR / self.peak / self.utilization_at(params)

    @property
    def max_params(self) -> float | None:
        """The largest model, in params, whose training state fits into the memory of all GPUs."""
        return None if self.memory is None else self.gpus * self.memory / BYTES_PER_PARAM

    def flops_in(self, days: Any, params: Any = None) -> Any:
        """Return the FLOP that training models of these params spends in this many days."""
        return self.rate(params) * DAY * np.asarray(days, dtype=float)[()]

    def cost(self, flops: float, params: float | None = None) -> dict[str, float | None]:
        """Return ``days``, ``gpu_hours`` and ``dollars`` of this many FLOP."""
        days, price = flops / self.rate(params) / DAY, self.price_per_flop(params)
        hours = days * 24 * self.gpus
        return {
            "days": float(days),
            "gpu_hours": float(hours),
            "dollars": None if price is None else float(flops * price),
        }

    def time_text(self, flops: float, params: float | None = None) -> str:
        """Return a text that says how long this many FLOP take."""
        days = flops / self.rate(params) / DAY
        return (
            f"{three_digits(days)} days on {self.gpus:,} GPUs ({days * 24 * self.gpus:,.0f} "
            f"GPU-hours at {self.utilization_at(params):.0%} of the peak)"
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Cluster":
        """Return the cluster that :meth:`to_json` describes."""
        shares = values["utilization"]
        if isinstance(shares, Mapping):
            shares = Utilization(tuple(shares["sizes"]), tuple(shares["shares"]))
        return cls(**{**values, "utilization": shares})

    def to_json(self) -> dict[str, Any]:
        """Return the attributes of the cluster by name."""
        return asdict(self)
