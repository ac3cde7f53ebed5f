"""Posterior files: NetCDF that holds draws, card, runs and provenance, and no code."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import BaseModel, TypeAdapter, ValidationError

from bayescale.arguments import checks_arguments
from bayescale.cards import ModelCard, Prior, card_for, drift_components, parse_card
from bayescale.conventions import SIX_ND, Conventions, FlopCount
from bayescale.errors import PosteriorError, collected, listed
from bayescale.files import read_tree, save_tree
from bayescale.findings import note
from bayescale.laws import LAWS, Law, find_law
from bayescale.posterior.average import ModelAverage
from bayescale.posterior.fit import Fit
from bayescale.posterior.methods import asks_fit
from bayescale.posterior.posterior import DRIFTING, EXACT, Posterior
from bayescale.posterior.record import parse_record
from bayescale.runs import LeftOut, Runs, require_runs_for
from bayescale.runs.log import NUMBERS, SCALES

FORMAT = 1
"""Version of the posterior file. A higher version was written by a later version of the package."""


COMMANDS = {"recipes": "versus", "tuning": "tune"}
"""The command that reads a file of another kind, by kind."""


class _About(BaseModel):
    """The parts of a run log that are not columns of runs."""

    columns: dict[str, str]
    dropped: tuple[LeftOut, ...]
    warnings: tuple[tuple[str, str], ...]
    source: str
    conventions: Conventions = Conventions()
    flop_count: FlopCount = SIX_ND
    unused: tuple[str, ...] = ()


_WEIGHTS = TypeAdapter(tuple[float, ...])


@asks_fit
def save(fit: Fit, path: str | Path) -> Path:
    """Write a fit to a NetCDF file, completely or not at all, and return the path.

    Parameters
    ----------
    fit : Posterior or ModelAverage
    path : path
        The file; ``.nc`` is the usual ending.

    Raises
    ------
    OutputError
        If the folder does not exist or cannot be written to.
    """
    path = Path(path)
    if isinstance(fit, ModelAverage):
        members = {_member(i): _tree_of(member) for i, member in enumerate(fit.members)}
        tree = xr.DataTree(children=members)
        tree.attrs = {"weights": json.dumps(fit.weights)}
    else:
        tree = _tree_of(fit.members[0])
    if fit.runs is not None:
        tree["runs"] = xr.DataTree(runs_dataset(fit.runs))
    tree.attrs["bayescale_format"] = FORMAT
    save_tree(tree, path)
    return path


def _member(i: int) -> str:
    return f"law_{i}"


def _tree_of(posterior: Posterior) -> xr.DataTree:
    tree = posterior.tree.copy()
    tree.attrs = {
        "law": posterior.law.name,
        "card": posterior.card.text,
        "record": json.dumps(posterior.record),
    }
    return tree


@checks_arguments
def open_posterior(path: str | Path, *, law: str | Law | Sequence[str | Law] | None = None) -> Fit:
    """Read a posterior file into memory.

    Parameters
    ----------
    path : path
        A file written by :func:`save` or ``bayescale fit``.
    law : Law or sequence of Law, optional
        Your own laws that the file was fitted with. A file names a law and does not hold its code.

    Returns
    -------
    Posterior or ModelAverage
        The fit. Names of earlier versions of the package are replaced by today's.

    Raises
    ------
    PosteriorError
        If the file does not exist, is truncated, is not a posterior file, was written by a later
        version of the package, or needs a law that is not given.
    """
    given = [law] if isinstance(law, Law | str) else law or ()
    laws = [find_law(one) if isinstance(one, str) else one for one in given]
    return fit_from(read_tree(path), laws, Path(path).name)


def fit_from(tree: xr.DataTree, laws: Sequence[Law], name: str) -> Fit:
    """Make the fit that a posterior file holds: see :func:`open_posterior`."""
    found = tree.attrs.get("bayescale_format")
    kind = str(tree.attrs.get("format", "")).removeprefix("bayescale ").split(" ")[0]
    if kind in COMMANDS:
        raise PosteriorError(
            f"{name} holds a posterior of {kind}, not a fit: give it to bayescale {COMMANDS[kind]}"
        )
    if found is None or not {EXACT, DRIFTING, _member(0)} & set(tree.children):
        raise PosteriorError(f"{name} is a NetCDF file, but not a posterior that bayescale wrote")
    if not (isinstance(found, int | np.integer) and found >= 1):
        raise PosteriorError(
            f"{name} has format {found!r}, which must be a whole number from 1: the file is "
            "damaged; fit again or restore it"
        )
    if found > FORMAT:
        raise PosteriorError(
            f"{name} has format {found}, made by a later version of bayescale; this one reads up "
            f"to {FORMAT}: upgrade bayescale"
        )
    own = {one.name: one for one in laws}
    try:
        runs = runs_from(tree["runs"].to_dataset()) if "runs" in tree.children else None
        if "weights" not in tree.attrs:
            return _posterior_from(tree, runs, own, name)
        weights = _WEIGHTS.validate_json(_text(tree, "weights"))
        members = [
            _posterior_from(tree.children[_member(i)], runs, own, name) for i in range(len(weights))
        ]
        return ModelAverage(tuple(members), weights)
    except PosteriorError:
        raise
    except ValidationError as error:
        wrong = (": ".join([*map(str, one["loc"]), one["msg"]]) for one in error.errors())
        raise PosteriorError(f"{name} cannot be understood: {listed(wrong)}") from error
    except KeyError as error:
        raise PosteriorError(f"{name} cannot be understood: it lacks {error}") from error
    except ValueError as error:
        raise PosteriorError(f"{name} cannot be understood: {error}") from error


def _text(tree: xr.DataTree, attribute: str) -> str:
    """Return an attribute, which must be there and be text."""
    value = tree.attrs[attribute]
    if not isinstance(value, str):
        raise ValueError(f"its {attribute} is {value!r}, not text")
    return value


def _posterior_from(
    tree: xr.DataTree, runs: Runs | None, own: Mapping[str, Law], name: str
) -> Posterior:
    law = _text(tree, "law")
    if law not in own and law not in LAWS:
        raise PosteriorError(
            f"{name} was fitted with your own law {law!r}, whose code is not in the file: give "
            "it as `law=`, or by name as file.py:NAME"
        )
    card = parse_card(_text(tree, "card"), law=own.get(law), place=f"the card in {name}")
    if runs is not None:
        require_runs_for(card.law, runs)
        card = card_for(runs, card)
    groups = {n: group.to_dataset() for n, group in tree.children.items() if n != "runs"}
    groups = _in_todays_spelling(groups, card)
    record = parse_record(_text(tree, "record"))
    posterior = Posterior(xr.DataTree.from_dict(groups), card, runs, record)
    if problems := list(_damages(posterior)):
        raise PosteriorError(collected(f"{name} does not hold what fits hold:", problems))
    return posterior


def _in_todays_spelling(groups: dict[str, xr.Dataset], card: ModelCard) -> dict[str, xr.Dataset]:
    """Rename variables and groups that earlier versions named differently."""
    old = {"surprising": "outlier"}
    if old.keys() & set(groups.get("leave_one_out", ())):
        groups["leave_one_out"] = groups["leave_one_out"].rename(old)
    drift = () if card.drift is None else card.drift.parameters
    if EXACT in groups and drift and all(name in groups[EXACT] for name in drift):
        groups[DRIFTING] = groups.pop(EXACT)  # draws of a refit with drift
    return groups


def _damages(posterior: Posterior) -> Iterator[str]:
    """Yield what is wrong with the values that answers are computed from."""
    tree, runs = posterior.tree, posterior.runs
    if not {EXACT, DRIFTING} & set(tree.children):
        yield "it has no group posterior"
        return
    for group, needed in _needed(posterior).items():
        if group not in tree.children:
            continue
        dataset = tree[group].to_dataset()
        yield from _damages_of_group(group, dataset, needed)
        if group in (EXACT, DRIFTING):
            yield from _damages_of_draws(group, dataset, posterior.card)
        rows = 0 if runs is None else len(runs)
        if runs is not None and group == "log_likelihood" and runs.has_checkpoints:
            rows = len(np.unique(runs["run"]))  # checkpoints of a training run share one likelihood
        if runs is not None and dataset.sizes.get("run", rows) != rows:
            yield f"{group} is of {dataset.sizes['run']} runs, not of {rows}"
    if runs is None or DRIFTING not in tree.children:
        return
    walks = tree[DRIFTING].to_dataset()
    for walk, component in drift_components(posterior.card, runs).items():
        frame = component.frame
        name, count = f"drift_walk_{walk}", len(frame.down.gap) + len(frame.up.gap)
        if name in walks and walks[name].sizes.get("step", count) != count:
            yield f"{name} of {DRIFTING} has {walks[name].sizes['step']} steps, not {count}"


def _damages_of_group(group: str, dataset: xr.Dataset, needed: Mapping[str, Any]) -> Iterator[str]:
    for name, dims in needed.items():
        if name not in dataset:
            yield f"{group} has no {name}"
        elif set(dataset[name].dims) != set(dims) or not dataset[name].size:
            yield f"{name} of {group} has dims {dict(dataset[name].sizes)}, not {dims}"
        elif dataset[name].dtype.kind not in "fiub":
            yield f"{name} of {group} is not numbers but {dataset[name].dtype}"


def _damages_of_draws(group: str, dataset: xr.Dataset, card: ModelCard) -> Iterator[str]:
    positive = {n for n, described in card.parameters.items() if _is_positive(described.prior)}
    for name, variable in dataset.data_vars.items():
        if variable.dtype.kind not in "fiu":
            continue
        if not np.isfinite(variable.values).all():
            yield f"{name} of {group} is not finite throughout"
        elif name in positive and not (variable.values > 0).all():
            yield f"{name} of {group} is not above zero throughout"


def _is_positive(prior: Prior) -> bool:
    return not prior.relative and bool(prior.frozen.ppf(0.0) >= 0)


def _needed(posterior: Posterior) -> dict[str, dict[str, Any]]:
    """Return each group's required variables with their dims; a file need not have all groups."""
    card, each = posterior.card, ("chain", "draw")
    draws: dict[str, Any] = dict.fromkeys(card.law.coefficients, each)
    if posterior.runs is not None:
        draws["sigma"] = each
    if posterior.families:
        draws |= {f"{name}_spread": each for name in card.family}
        draws |= {f"{name}_by_family": (*each, "family") for name in card.family}
    # the card can have parameters that this log did not need
    draws |= {name: each for name in card.noise.parameters if name in posterior.draws}
    walks: dict[str, Any] = {}
    if card.drift is not None:
        walks = dict.fromkeys(card.drift.parameters, each)
        walks |= {f"drift_walk_{name}": (*each, "step") for name in card.drift.walks}
    of_runs = ("elpd", "pareto_k", "p_value", "expected", "outlier", "influential")
    return {
        EXACT: draws,
        DRIFTING: draws | walks,
        "prior": dict.fromkeys((*card.law.coefficients, *card.noise.parameters), each),
        "log_likelihood": {"log_loss": (*each, "run")},
        "log_prior": dict.fromkeys(card.law.coefficients, each),
        "leave_one_out": dict.fromkeys(of_runs, ("run",)) | {"shift": ("run", "coefficient")},
    }


def runs_dataset(runs: Runs) -> xr.Dataset:
    """Return a run log as a dataset for a file."""
    data = {c: ("run_index", np.asarray(runs[c])) for c in runs.frame.columns}
    about = {
        "columns": dict(runs.columns),
        "dropped": [list(item) for item in runs.dropped],
        "warnings": [[found.code, found.text] for found in runs.warnings],
        "source": runs.source,
        "conventions": runs.conventions.to_json(),
        "flop_count": asdict(runs.flop_count),
        "unused": list(runs.unused),
    }
    return xr.Dataset(data, attrs={"about": json.dumps(about)})


def runs_from(dataset: xr.Dataset) -> Runs:
    """Return the run log of a dataset from a file.

    Raises
    ------
    ValueError
        If values that answers are computed from are missing or damaged.
    """
    about = _About.model_validate_json(dataset.attrs["about"])
    values = {str(name): variable.values for name, variable in dataset.data_vars.items()}
    for name in {"run_id", "loss"} - set(values):
        raise ValueError(f"its runs have no {name}")
    for name in (n for n in NUMBERS if n in values):
        if values[name].dtype.kind not in "fiu":
            raise ValueError(f"{name} of its runs is not numbers but {values[name].dtype}")
        lacking = np.isnan(values[name]) if name in SCALES else False
        if name in ("loss", *SCALES) and not (lacking | _positive(values[name])).all():
            raise ValueError(f"{name} of its runs is not above zero and finite throughout")
    return Runs(
        frame=pd.DataFrame(values),
        columns=about.columns,
        dropped=about.dropped,
        warnings=tuple(note(*item) for item in about.warnings),
        source=about.source,
        conventions=about.conventions,
        flop_count=about.flop_count,
        unused=about.unused,
    )


def _positive(values: np.ndarray) -> Any:
    return (values > 0) & np.isfinite(values)
