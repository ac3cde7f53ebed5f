"""The ways to spend a compute budget: every pair of params and tokens that it buys.

A budget C pays for training, 6 N D, and for serving T tokens later, 2 N T, or for what the log
counts in their place. This leaves one number to choose, the training tokens per parameter.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from bayescale.conventions import SIX_ND, FlopCount
from bayescale.conventions.flop_count import FORWARD_SHARE
from bayescale.errors import DecisionError, collected
from bayescale.plausible import MOST
from bayescale.runs import Runs
from bayescale.splits.served import spread_served
from bayescale.units import as_size, format_size

TOKENS_PER_PARAM = (1e-4, 1e7)
"""The range of training tokens per parameter that is searched if a fit has no runs."""

MOST_FLOPS = MOST["flops"]
"""The largest budget."""

BEYOND_RUNS = 1.5
"""E-folds of tokens per parameter that are searched beyond the range of the runs, in each
direction. Further out, a law's values reflect its form instead of evidence."""


def searched_range(runs: Runs | None) -> tuple[float, float]:
    """Return the least and the most training tokens per parameter that are searched."""
    if runs is None:
        return TOKENS_PER_PARAM
    ratio, beyond = runs["tokens"] / runs["params"], np.exp(BEYOND_RUNS)
    return float(ratio.min() / beyond), float(ratio.max() * beyond)


@dataclass(frozen=True)
class Constraints:
    """Limits on the ways to spend a budget.

    Parameters
    ----------
    max_tokens : float, optional
        The most training tokens, each used once.
    max_params : float, optional
        The largest model, in params.
    sizes : tuple of float, optional
        The models that can be built, in params; by default any size.
    inference_tokens : float or numpy.ndarray, shape (draw, 1)
        Tokens to be served later, which the budget has to pay for too. If they are uncertain, their
        mean: cost is proportional to them, so a split then costs the budget on average. The limits
        of draws, see :meth:`of_draws`, have a number for each draw.
    inference_interval : tuple of (float, float), optional
        The 90 % interval of these tokens if they are uncertain, with a log-normal distribution.
    unique_tokens : float, optional
        The most unique tokens, which are repeated as often as it pays; for laws that model
        repetition, instead of ``max_tokens``.
    count : FlopCount
        How compute is counted.
    searched : tuple of (float, float)
        Least and most training tokens per parameter of the search, see :func:`searched_range`.
        Limits and ``sizes`` may require splits outside this range.

    Raises
    ------
    DecisionError
        If a limit is not above zero, or no size is within the limits.
    """

    max_tokens: float | None = None
    max_params: float | None = None
    sizes: tuple[float, ...] | None = None
    inference_tokens: Any = 0.0
    inference_interval: tuple[float, float] | None = None
    unique_tokens: float | None = None
    count: FlopCount = SIX_ND
    searched: tuple[float, float] = TOKENS_PER_PARAM

    def __post_init__(self) -> None:
        limits = {
            "max_tokens": self.max_tokens if self.unique_tokens is None else self.unique_tokens,
            "max_params": self.max_params,
        }
        problems = [
            f"{name} is {value:g}, but must be finite and above zero"
            for name, value in limits.items()
            if value is not None and not 0 < value < np.inf
        ]
        served = np.asarray(self.inference_tokens)
        if not np.all((served >= 0) & (served < np.inf)):
            problems.append(
                f"inference_tokens is {self.inference_tokens:g}, but must be finite, zero or more"
            )
        if self.sizes is not None:
            if not self.sizes or not all(0 < size < np.inf for size in self.sizes):
                problems.append("sizes must be one or more numbers of params, each above zero")
            elif self.max_params is not None and min(self.sizes) > self.max_params:
                problems.append(
                    f"the smallest size, {format_size(min(self.sizes))} params, is above "
                    f"max_params, {format_size(self.max_params)}: raise that, or add a size"
                )
        if problems:
            raise DecisionError(collected("these constraints cannot be met:", problems))

    def of_draws(self, rng: np.random.Generator, n_draws: int) -> "Constraints":
        """Return these limits with tokens to be served of each draw's own, if they are uncertain.

        Quantities that depend on them have a first dim of draws.
        """
        if self.inference_interval is None:
            return self
        served = spread_served(self.inference_interval, rng, n_draws)
        return replace(self, inference_tokens=served[:, None])

    @property
    def of_options(self) -> "Constraints":
        """These limits, for arrays that have a last dim of options."""
        if np.ndim(self.inference_tokens) == 0:
            return self
        return replace(self, inference_tokens=self.inference_tokens[..., None])

    def to_json(self) -> dict[str, Any]:
        """Return the limits by name, without the count of compute."""
        return {name: value for name, value in asdict(self).items() if name != "count"}

    def cost_interval(self, params: float, tokens: float) -> tuple[float, float]:
        """Return the 90 % interval of the FLOP of training and serving together."""
        low, high = self.inference_interval or (self.inference_tokens, self.inference_tokens)
        count = self.count.plain
        trained = count.flops(params, tokens)
        return tuple(trained + count.served(params, served) for served in (low, high))

    def cost(self, params: Any, tokens: Any) -> Any:
        """Return the compute of training on these tokens and of serving, in the count's unit."""
        served = self.count.served(params, self.inference_tokens)
        return self.count.flops(params, tokens) + served

    def tokens_left(self, flops: Any, params: Any) -> Any:
        """Return the training tokens that a budget pays for; not positive for too large models."""
        left = self.count.tokens(flops - self.count.served(params, self.inference_tokens), params)
        return left if self.max_tokens is None else np.minimum(left, self.max_tokens)

    def split(self, flops: Any, log_ratio: Any) -> tuple[Any, Any]:
        """Return the params and tokens that spend a budget at this log of tokens per parameter.

        Limits may leave part of the budget unspent.
        """
        ratio = np.exp(log_ratio)

        def params_of(each: Any) -> Any:
            served = self.inference_tokens * each * FORWARD_SHARE / 2
            # the positive root of 6 r N^2 + 2 T N = C
            return flops / (served + np.sqrt(served**2 + each * ratio * flops))

        params = self.count.solve(params_of)
        tokens = ratio * params
        if self.max_params is not None:
            params = np.minimum(params, self.max_params)
        if self.max_tokens is not None:
            tokens = np.minimum(tokens, self.max_tokens)
        return params, tokens

    def range(self, flops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the least and the largest log of tokens per parameter, shape (..., budget).

        They are equal if a limit requires a split outside the range that is searched, or if both
        limits bind, so that part of the budget stays unspent.
        """
        low, high = (np.full(np.shape(flops), np.log(end)) for end in self.searched)
        least, most = np.full_like(low, -np.inf), np.full_like(high, np.inf)
        if self.max_tokens is not None:
            trained = self.max_tokens + FORWARD_SHARE * self.inference_tokens
            params = self.count.solve(lambda each: flops / (each * trained))
            most = np.log(self.max_tokens / params)
        if self.max_params is not None:
            tokens = self.tokens_left(flops, self.max_params)
            with np.errstate(divide="ignore", invalid="ignore"):  # serving alone takes it all
                least = np.fmax(np.log(np.maximum(tokens, 0.0) / self.max_params), -np.inf)
        low, high = np.maximum(low, least), np.minimum(np.maximum(high, least), most)
        return np.minimum(low, high), high

    def can_train(self, flops: np.ndarray) -> np.ndarray:
        """Return a mask of the budgets that train one of the sizes, or one parameter on one token.

        The mask has shape (budget,), or (draw, budget) for limits or budgets of draws. Without
        sizes, every split that is searched must pay for that.
        """
        if self.sizes is not None:
            return ~np.isnan(self.buildable(flops)[1]).all(axis=-1)
        least, most = self.range(flops)
        return (self.split(flops, most)[0] >= 1) & (self.split(flops, least)[1] >= 1)

    def require_a_model(self, flops: np.ndarray) -> None:
        """Raise an error if a budget, shape (..., budget), is too small to train any model.

        Raises
        ------
        DecisionError
            If there is one.
        """
        hopeless = ~self.can_train(flops)
        if not hopeless.any():
            return
        parts = flops, self.inference_tokens
        least, served = (np.broadcast_to(x, hopeless.shape)[hopeless][0] for x in parts)
        one = replace(self, inference_tokens=served)
        does, do = "train a model of one parameter on one token", ["raise the budget"]
        if self.sizes is None and least >= one.cost(1.0, 1.0):
            ends = (f"{ratio:.3g}" for ratio in self.searched)
            does += f" at every split that is compared, of {' to '.join(ends)} tokens per parameter"
        smallest = 1.0 if self.sizes is None else min(self.sizes)
        if self.sizes is not None:
            does = f"train the smallest size, {format_size(smallest)} params, on even one token"
        if served:
            of_draw = ", as in one of the draws" if np.ndim(self.inference_tokens) else ""
            does += (
                f", and serve {format_size(served)} tokens{of_draw}, which alone takes "
                f"{one.cost(smallest, 0.0):.3g} {self.count.unit}"
            )
            do.append("serve fewer tokens")
        if self.sizes is not None:
            do.append("add a smaller size")
        advice = f"{', '.join(do[:-1])}, or {do[-1]}" if do[1:] else do[0]
        budget = f"a budget of {least:.3g} {self.count.unit}"
        raise DecisionError(f"{budget} cannot {does}: {advice}")

    def buildable(self, flops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return params and tokens of each size within the limits, each (..., budget, size).

        Tokens are NaN if a budget cannot train and serve the size.
        """
        assert self.sizes is not None
        most = np.inf if self.max_params is None else self.max_params
        params = np.array(sorted(size for size in self.sizes if size <= most))
        tokens = self.of_options.tokens_left(flops[..., None], params)
        return np.broadcast_to(params, tokens.shape), np.where(tokens >= 1, tokens, np.nan)


def checked_budgets(flops: Any, name: str = "flops") -> np.ndarray:
    """Return budgets in FLOP, shape (budget,), from numbers or from texts such as "1e21".

    Raises
    ------
    DecisionError
        If there are none, or one is above :data:`MOST_FLOPS`.
    UnitError
        If one is not finite and above zero.
    """
    budgets = np.atleast_1d(as_size(flops, name))
    if budgets.ndim != 1 or not len(budgets):
        raise DecisionError(f"`{name}=` holds no budget: give one number, or a list of them")
    if (most := budgets.max()) > MOST_FLOPS:
        raise DecisionError(
            f"a budget of {most:.3g} FLOP is above {MOST_FLOPS:g}, more than any computer can do: "
            "check its unit"
        )
    return budgets
