"""Methods that fits of one law and of several laws share: questions, and the convergence guard."""

import html
import importlib
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any

from bayescale.arguments import checks_arguments, require_kind
from bayescale.errors import NoFitError, PosteriorError, did_you_mean, shortened
from bayescale.posterior.converged import refuse_unconverged

MEAN, FLOOR = "mean over seeds", "floor of tuned runs"
"""What a law's loss means: the mean over seeds; with an excess in the card, a floor below all
runs."""


class FitMethods:
    """Methods of :class:`Posterior` and :class:`ModelAverage`.

    Each method calls the package's function with its options. The function is looked up by name,
    because its module imports this one.
    """

    def __init_subclass__(cls) -> None:
        """Keep the one-line ``repr``: that of a dataclass would print every array."""
        cls.__repr__ = FitMethods.__repr__

    @property
    def diagnostics(self) -> Mapping[str, Any]:
        """Results of the convergence checks."""
        raise NotImplementedError

    def __getitem__(self, law: str) -> Any:
        """Return the posterior of one law by its name.

        Raises
        ------
        PosteriorError
            If the fit has no such law.
        """
        fit: Any = self
        by_name = {member.name: member for member in fit.members}
        if law not in by_name:
            raise PosteriorError(
                f"this fit holds no law {law!r}: take one of {', '.join(by_name)}, such as "
                f"`fit[{next(iter(by_name))!r}]`{did_you_mean(law, by_name)}"
            )
        return by_name[law]

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the posteriors of the laws."""
        fit: Any = self
        return iter(fit.members)

    def require_converged(self, allow: bool = False) -> None:
        """Refuse draws that failed the convergence checks.

        Raises
        ------
        UnconvergedError
            Unless the checks passed or ``allow`` is true.
        """
        refuse_unconverged(self.diagnostics, allow)

    def summary(self, ci_prob: float | None = None, *, robust: bool = False) -> Any:
        """Summarize coefficients, noise and drift: see :func:`bayescale.summarize`."""
        mass = {} if ci_prob is None else {"ci_prob": ci_prob}
        return _call("summarize", self, **mass, robust=robust)

    def forecast(self, **options: Any) -> Any:
        """Forecast the loss of larger runs: see :func:`bayescale.forecast`."""
        return _call("forecast", self, **options)

    def allocate(self, flops: Any = None, **options: Any) -> Any:
        """Split compute budgets between parameters and tokens: see :func:`bayescale.allocate`."""
        return _call("allocate", self, flops, **options)

    def data_budget(self, **options: Any) -> Any:
        """Return the tokens that a model needs: see :func:`bayescale.data_budget`."""
        return _call("data_budget", self, **options)

    def next_run(self, budget: Any, **options: Any) -> Any:
        """Rank runs to buy next: see :func:`bayescale.next_run`."""
        return _call("next_run", self, budget, **options)

    def backtest(self, **options: Any) -> Any:
        """Forecast the fit's larger runs from its smaller ones: see :func:`bayescale.backtest`.

        Raises
        ------
        PosteriorError
            If the fit is a point estimate, which has no runs.
        """
        fit: Any = self
        if fit.runs is None:
            raise PosteriorError(
                f"{fit.name} is a point estimate, which holds no runs to forecast: fit a run log "
                "with bayescale.fit(runs)"
            )
        cards = [member.card for member in fit.members]
        return _call("backtest", fit.runs, cards, **{"weights": fit.weights, **options})

    def with_backtest(self, backtest: Any = None, **options: Any) -> Any:
        """Return the fit with a backtest in it, for verdicts on its forecasts and decisions.

        Parameters
        ----------
        backtest : Backtest, optional
            A backtest of the same laws and runs; by default, one is made with the ``options`` of
            :func:`bayescale.backtest`.

        Raises
        ------
        PosteriorError, TrustError
            If the fit has no runs, or the backtest is of other laws or runs.
        """
        if backtest is not None:
            require_kind("backtest", backtest)
        record = importlib.import_module("bayescale.validation.backtest_record")
        return record.keep(self, self.backtest(**options) if backtest is None else backtest)

    def trust(self, backtest: Any = None, **options: Any) -> Any:
        """Return how far forecasts can be trusted: see :func:`bayescale.trust`."""
        return _call("trust", self, backtest, **options)

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """Draw runs, law and trust horizon: see :func:`bayescale.plot_fit`."""
        return _call("plot_fit", self, ax, **options)

    def save(self, path: Any) -> Any:
        """Write the fit to a file: see :func:`bayescale.save`."""
        return _call("save", self, path)

    def __str__(self) -> str:
        return str(self.summary())

    def __repr__(self) -> str:
        fit: Any = self
        runs = fit.members[0].runs
        n = "a point estimate" if runs is None else f"{len(runs):,} runs"
        passed = "converged" if self.diagnostics["passed"] else "FAILED its convergence checks"
        text = shortened(f"{fit.name}, {n}, {passed}")
        return f"<{type(self).__name__}: {text}>"

    def _repr_html_(self) -> str:
        """Show the coefficients, how far to trust the fit, and the fit beside its runs."""
        fit: Any = self
        first, parts = fit.members[0], [fit.summary()._repr_html_()]
        if first.runs is not None and self.diagnostics["passed"]:
            if "backtest" in first.record:
                headline = str(self.trust()).splitlines()[0]
            else:
                headline = "Nothing beyond the runs is tested yet: fit = fit.with_backtest()."
            parts.append(f"<p><b>{html.escape(headline)}</b></p>")
            parts.append(importlib.import_module("bayescale.plotting").result_html(self))
        return "".join(parts)


def asks_fit[**P, R](ask: Callable[P, R]) -> Callable[P, R]:
    """Make a question refuse a first argument that is not a fit, and others of a wrong type."""
    question = checks_arguments(ask)

    @wraps(ask)
    def checked(*arguments: P.args, **options: P.kwargs) -> R:
        given = arguments[0] if arguments else options.get("fit")
        if not isinstance(given, FitMethods):
            raise NoFitError(
                f"{getattr(ask, '__name__', 'this')} needs a fit, and a {type(given).__name__} was "
                "given: make one with bayescale.fit(runs), or open one with "
                "bayescale.open_posterior(path)"
            )
        return question(*arguments, **options)

    return checked


def renamed[**P, R](**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function refuse former names of arguments, with a message that gives the new names."""

    def of(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def checked(*arguments: P.args, **options: P.kwargs) -> R:
            if old := [
                f"`{name}=` is now `{new}=`" for name, new in names.items() if name in options
            ]:
                raise TypeError(f"{getattr(function, '__name__', 'this')}: {', '.join(old)}")
            return function(*arguments, **options)

        return checked

    return of


def _call(name: str, *arguments: Any, **options: Any) -> Any:
    return getattr(importlib.import_module("bayescale"), name)(*arguments, **options)
