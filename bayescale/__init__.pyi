"""The public names, which type checkers and the lazy loader both read from this file."""

from . import datasets as datasets
from . import errors as errors
from .cards import (
    ModelCard as ModelCard,
)
from .cards import (
    load_card as load_card,
)
from .conventions import (
    Conventions as Conventions,
)
from .curves.finished import (
    read_finished as read_finished,
)
from .curves.history import (
    read_history as read_history,
)
from .curves.named import (
    named_schedule as named_schedule,
)
from .curves.plan import (
    named_plan as named_plan,
)
from .curves.plan import (
    plan_of_table as plan_of_table,
)
from .decisions.allocate import (
    allocate as allocate,
)
from .decisions.allocation import (
    Allocation as Allocation,
)
from .decisions.data_answer import (
    DataBudget as DataBudget,
)
from .decisions.data_budget import (
    data_budget as data_budget,
)
from .decisions.next_run import (
    next_run as next_run,
)
from .decisions.next_run_answer import (
    NextRun as NextRun,
)
from .decisions.overfit import (
    OverfitLine as OverfitLine,
)
from .decisions.overfit import (
    overfit_line as overfit_line,
)
from .decisions.regret import (
    RegretMap as RegretMap,
)
from .decisions.regret import (
    regret_map as regret_map,
)
from .decisions.tune import (
    tune as tune,
)
from .decisions.tuning_answer import (
    Tune as Tune,
)
from .decisions.versus import (
    versus as versus,
)
from .decisions.versus_answer import (
    Versus as Versus,
)
from .decisions.watch import (
    watch as watch,
)
from .decisions.watch_answer import (
    Watch as Watch,
)
from .errors import (
    BayescaleError as BayescaleError,
)
from .forecasting import (
    Forecast as Forecast,
)
from .forecasting import (
    forecast as forecast,
)
from .forecasting import (
    forecast_table as forecast_table,
)
from .forecasting import (
    slices as slices,
)
from .inference.fit import (
    fit as fit,
)
from .inference.fit import (
    refit as refit,
)
from .inference.many import (
    Fitted as Fitted,
)
from .inference.many import (
    fit_many as fit_many,
)
from .inference.model.build import (
    build_model as build_model,
)
from .inference.recipes import (
    fit_recipes as fit_recipes,
)
from .inference.reproduce import (
    Reproduction as Reproduction,
)
from .inference.reproduce import (
    reproduce as reproduce,
)
from .inference.valley import (
    fit_tuning as fit_tuning,
)
from .laws import (
    LAWS as LAWS,
)
from .laws import (
    Law as Law,
)
from .laws import (
    compute_optimal as compute_optimal,
)
from .plotting import (
    plot_allocation as plot_allocation,
)
from .plotting import (
    plot_best_split as plot_best_split,
)
from .plotting import (
    plot_coefficients as plot_coefficients,
)
from .plotting import (
    plot_comparison as plot_comparison,
)
from .plotting import (
    plot_coverage as plot_coverage,
)
from .plotting import (
    plot_data_budget as plot_data_budget,
)
from .plotting import (
    plot_downstream as plot_downstream,
)
from .plotting import (
    plot_emergence as plot_emergence,
)
from .plotting import (
    plot_errors as plot_errors,
)
from .plotting import (
    plot_fit as plot_fit,
)
from .plotting import (
    plot_forecast as plot_forecast,
)
from .plotting import (
    plot_frontier as plot_frontier,
)
from .plotting import (
    plot_isoflop_parabolas as plot_isoflop_parabolas,
)
from .plotting import (
    plot_laws as plot_laws,
)
from .plotting import (
    plot_next_run as plot_next_run,
)
from .plotting import (
    plot_overfit as plot_overfit,
)
from .plotting import (
    plot_perceptron as plot_perceptron,
)
from .plotting import (
    plot_point as plot_point,
)
from .plotting import (
    plot_pruning as plot_pruning,
)
from .plotting import (
    plot_published as plot_published,
)
from .plotting import (
    plot_regret as plot_regret,
)
from .plotting import (
    plot_slices as plot_slices,
)
from .plotting import (
    plot_trust as plot_trust,
)
from .posterior import (
    ModelAverage as ModelAverage,
)
from .posterior import (
    Posterior as Posterior,
)
from .posterior import (
    open_posterior as open_posterior,
)
from .posterior import (
    point as point,
)
from .posterior import (
    save as save,
)
from .posterior import (
    summarize as summarize,
)
from .posterior.learned import (
    prior_from as prior_from,
)
from .posterior.recipe_files import (
    open_recipes as open_recipes,
)
from .posterior.recipe_files import (
    save_recipes as save_recipes,
)
from .posterior.resampling import (
    resampling_ratio as resampling_ratio,
)
from .posterior.resampling import (
    widen as widen,
)
from .published import (
    PublishedComparison as PublishedComparison,
)
from .published import (
    PublishedLaw as PublishedLaw,
)
from .published import (
    compare_published as compare_published,
)
from .published import (
    load_published as load_published,
)
from .published import (
    published_names as published_names,
)
from .published_rules import (
    PublishedRule as PublishedRule,
)
from .published_rules import (
    load_rule as load_rule,
)
from .published_rules import (
    rule_names as rule_names,
)
from .reporting.sections import (
    Report as Report,
)
from .reporting.sections import (
    report as report,
)
from .runs import (
    Runs as Runs,
)
from .runs import (
    convert as convert,
)
from .runs import (
    read_runs as read_runs,
)
from .scenarios.answers import (
    Answers as Answers,
)
from .scenarios.answers import (
    Dispersion as Dispersion,
)
from .scenarios.answers import (
    calibrate_dispersion as calibrate_dispersion,
)
from .scenarios.answers import (
    read_scores as read_scores,
)
from .scenarios.emergence import (
    Emergence as Emergence,
)
from .scenarios.emergence import (
    emergence as emergence,
)
from .scenarios.perceptron import (
    PrunedPerceptron as PrunedPerceptron,
)
from .scenarios.perceptron import (
    prune_perceptron as prune_perceptron,
)
from .scenarios.pruning import (
    Pruning as Pruning,
)
from .scenarios.pruning import (
    prune as prune,
)
from .simulation import (
    simulate as simulate,
)
from .splits.hardware import (
    Cluster as Cluster,
)
from .splits.utilization import (
    Utilization as Utilization,
)
from .trackers import (
    read_huggingface as read_huggingface,
)
from .trackers import (
    read_mlflow as read_mlflow,
)
from .trackers import (
    read_tensorboard as read_tensorboard,
)
from .trackers import (
    read_wandb as read_wandb,
)
from .tuning import (
    Tuning as Tuning,
)
from .tuning import (
    open_tuning as open_tuning,
)
from .tuning import (
    save_tuning as save_tuning,
)
from .validation.backtest import (
    Backtest as Backtest,
)
from .validation.backtest import (
    backtest as backtest,
)
from .validation.comparison import (
    Comparison as Comparison,
)
from .validation.comparison import (
    compare as compare,
)
from .validation.cross_check import (
    CrossCheck as CrossCheck,
)
from .validation.cross_check import (
    cross_check as cross_check,
)
from .validation.design import (
    design_checks as design_checks,
)
from .validation.design import (
    design_notes as design_notes,
)
from .validation.horizon import (
    Trust as Trust,
)
from .validation.horizon import (
    trust as trust,
)
from .validation.identifiability import (
    identifiability_checks as identifiability_checks,
)
from .validation.identifiability import (
    posterior_notes as posterior_notes,
)
from .validation.sensitivity import (
    Sensitivity as Sensitivity,
)
from .validation.sensitivity import (
    sensitivity as sensitivity,
)

__version__: str
