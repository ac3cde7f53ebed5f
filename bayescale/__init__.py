"""Bayesian inference for neural scaling laws.

>>> import bayescale
>>> runs = bayescale.read_runs("runs.csv")  # doctest: +SKIP
>>> posterior = bayescale.fit(runs, "chinchilla")  # doctest: +SKIP
>>> print(bayescale.forecast(posterior, params=70e9, tokens=1.4e12))  # doctest: +SKIP

Public names are imported when first used, so that the command line answers at once.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayescale.cards import ModelCard, load_card
    from bayescale.conventions import Conventions
    from bayescale.decide.allocate import allocate
    from bayescale.decide.allocation import Allocation
    from bayescale.decide.data_budget import DataBudget, data_budget
    from bayescale.decide.next_run import NextRun, next_run
    from bayescale.decide.overfit import OverfitLine, overfit_line
    from bayescale.decide.regret import RegretMap, regret_map
    from bayescale.errors import BayescaleError
    from bayescale.forecast import Forecast, forecast, forecast_table
    from bayescale.inference.many import Fitted, fit_many
    from bayescale.inference.model import build_model
    from bayescale.inference.reproduce import Reproduction, reproduce
    from bayescale.inference.sample import fit, refit
    from bayescale.laws import LAWS, Law, compute_optimal
    from bayescale.plots import (
        plot_allocation,
        plot_coefficients,
        plot_comparison,
        plot_coverage,
        plot_downstream,
        plot_emergence,
        plot_errors,
        plot_forecast,
        plot_isoflop_parabolas,
        plot_laws,
        plot_next_run,
        plot_overfit,
        plot_perceptron,
        plot_pruning,
        plot_published,
        plot_regret,
        plot_slices,
        plot_trust,
    )
    from bayescale.posterior import Pool, Posterior, open_posterior, point, save, summarise
    from bayescale.published import (
        PublishedComparison,
        PublishedLaw,
        compare_published,
        load_published,
        published_names,
    )
    from bayescale.report import Report, report
    from bayescale.runs import Runs, convert, read_runs
    from bayescale.scenarios.answers import (
        Answers,
        Dispersion,
        calibrate_dispersion,
        read_scores,
    )
    from bayescale.scenarios.emergence import Emergence, emergence
    from bayescale.scenarios.perceptron import PrunedPerceptron, prune_perceptron
    from bayescale.scenarios.pruning import Pruning, prune
    from bayescale.simulate import simulate
    from bayescale.trackers import read_huggingface, read_mlflow, read_tensorboard, read_wandb
    from bayescale.trust.backtest import Backtest, backtest
    from bayescale.trust.cross_check import CrossCheck, cross_check
    from bayescale.trust.design import design_checks, design_notes
    from bayescale.trust.horizon import Trust, trust
    from bayescale.trust.identifiability import identifiability_checks, posterior_notes
    from bayescale.trust.resampling import resampling_ratio, widen
    from bayescale.trust.sensitivity import Sensitivity, sensitivity
    from bayescale.trust.stacking import Comparison, compare

__version__ = "0.1.0"

_HOMES = {
    "Allocation": "decide.allocation",
    "Answers": "scenarios.answers",
    "Backtest": "trust.backtest",
    "BayescaleError": "errors",
    "Comparison": "trust.stacking",
    "Conventions": "conventions",
    "CrossCheck": "trust.cross_check",
    "DataBudget": "decide.data_budget",
    "Dispersion": "scenarios.answers",
    "Emergence": "scenarios.emergence",
    "Fitted": "inference.many",
    "Forecast": "forecast",
    "LAWS": "laws",
    "Law": "laws",
    "ModelCard": "cards",
    "NextRun": "decide.next_run",
    "OverfitLine": "decide.overfit",
    "Pool": "posterior",
    "Posterior": "posterior",
    "PrunedPerceptron": "scenarios.perceptron",
    "Pruning": "scenarios.pruning",
    "PublishedComparison": "published",
    "PublishedLaw": "published",
    "RegretMap": "decide.regret",
    "Report": "report",
    "Reproduction": "inference.reproduce",
    "Runs": "runs",
    "Sensitivity": "trust.sensitivity",
    "Trust": "trust.horizon",
    "allocate": "decide.allocate",
    "backtest": "trust.backtest",
    "build_model": "inference.model",
    "calibrate_dispersion": "scenarios.answers",
    "compare": "trust.stacking",
    "compare_published": "published",
    "compute_optimal": "laws",
    "convert": "runs",
    "cross_check": "trust.cross_check",
    "data_budget": "decide.data_budget",
    "design_checks": "trust.design",
    "design_notes": "trust.design",
    "emergence": "scenarios.emergence",
    "fit": "inference.sample",
    "fit_many": "inference.many",
    "forecast": "forecast",
    "forecast_table": "forecast",
    "identifiability_checks": "trust.identifiability",
    "load_card": "cards",
    "load_published": "published",
    "next_run": "decide.next_run",
    "open_posterior": "posterior",
    "overfit_line": "decide.overfit",
    "plot_allocation": "plots",
    "plot_coefficients": "plots",
    "plot_comparison": "plots",
    "plot_coverage": "plots",
    "plot_downstream": "plots",
    "plot_emergence": "plots",
    "plot_errors": "plots",
    "plot_forecast": "plots",
    "plot_isoflop_parabolas": "plots",
    "plot_laws": "plots",
    "plot_next_run": "plots",
    "plot_overfit": "plots",
    "plot_perceptron": "plots",
    "plot_pruning": "plots",
    "plot_published": "plots",
    "plot_regret": "plots",
    "plot_slices": "plots",
    "plot_trust": "plots",
    "point": "posterior",
    "posterior_notes": "trust.identifiability",
    "prune": "scenarios.pruning",
    "prune_perceptron": "scenarios.perceptron",
    "published_names": "published",
    "read_huggingface": "trackers",
    "read_mlflow": "trackers",
    "read_runs": "runs",
    "read_scores": "scenarios.answers",
    "read_tensorboard": "trackers",
    "read_wandb": "trackers",
    "refit": "inference.sample",
    "regret_map": "decide.regret",
    "report": "report",
    "reproduce": "inference.reproduce",
    "resampling_ratio": "trust.resampling",
    "save": "posterior",
    "sensitivity": "trust.sensitivity",
    "simulate": "simulate",
    "summarise": "posterior",
    "trust": "trust.horizon",
    "widen": "trust.resampling",
}

__all__ = [
    "LAWS",
    "Allocation",
    "Answers",
    "Backtest",
    "BayescaleError",
    "Comparison",
    "Conventions",
    "CrossCheck",
    "DataBudget",
    "Dispersion",
    "Emergence",
    "Fitted",
    "Forecast",
    "Law",
    "ModelCard",
    "NextRun",
    "OverfitLine",
    "Pool",
    "Posterior",
    "PrunedPerceptron",
    "Pruning",
    "PublishedComparison",
    "PublishedLaw",
    "RegretMap",
    "Report",
    "Reproduction",
    "Runs",
    "Sensitivity",
    "Trust",
    "allocate",
    "backtest",
    "build_model",
    "calibrate_dispersion",
    "compare",
    "compare_published",
    "compute_optimal",
    "convert",
    "cross_check",
    "data_budget",
    "design_checks",
    "design_notes",
    "emergence",
    "fit",
    "fit_many",
    "forecast",
    "forecast_table",
    "identifiability_checks",
    "load_card",
    "load_published",
    "next_run",
    "open_posterior",
    "overfit_line",
    "plot_allocation",
    "plot_coefficients",
    "plot_comparison",
    "plot_coverage",
    "plot_downstream",
    "plot_emergence",
    "plot_errors",
    "plot_forecast",
    "plot_isoflop_parabolas",
    "plot_laws",
    "plot_next_run",
    "plot_overfit",
    "plot_perceptron",
    "plot_pruning",
    "plot_published",
    "plot_regret",
    "plot_slices",
    "plot_trust",
    "point",
    "posterior_notes",
    "prune",
    "prune_perceptron",
    "published_names",
    "read_huggingface",
    "read_mlflow",
    "read_runs",
    "read_scores",
    "read_tensorboard",
    "read_wandb",
    "refit",
    "regret_map",
    "report",
    "reproduce",
    "resampling_ratio",
    "save",
    "sensitivity",
    "simulate",
    "summarise",
    "trust",
    "widen",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f"bayescale.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    try:
        return importlib.import_module(f"bayescale.{name}")
    except ModuleNotFoundError:
        raise AttributeError(f"module 'bayescale' has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


class _Package(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        # importing bayescale.forecast, the module, must not hide forecast, the function
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
