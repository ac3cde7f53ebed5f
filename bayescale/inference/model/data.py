"""The arrays that a model reads from a run log. A refit replaces all of them."""

from typing import Any

import numpy as np

from bayescale.cards import ModelCard, drift_bases, input_errors, log_size, loss_steps, memberships
from bayescale.inference.model.condensed import Condensed, condensed
from bayescale.inference.model.drift import rotation
from bayescale.inference.model.recipes import recipe_data
from bayescale.laws import Bent, Depth
from bayescale.runs import Runs

FEW_FAMILIES = 5
"""Up to this many families, their terms themselves are sampled: runs determine these well enough,
and the model compiles in a third of the time."""


def model_data(
    runs: Runs, card: ModelCard, families: bool = True, weights: np.ndarray | None = None
) -> dict[str, Any]:
    """Return the arrays of a model's ``pm.Data``, by name.

    Parameters
    ----------
    runs : Runs
    card : ModelCard
    families : bool
        As for :func:`bayescale.fit`.
    weights : numpy.ndarray, shape (run,), optional
        See :mod:`bayescale.inference.model.drift_weights`; by default equal. They are not used with
        many families, whose steps are whitened with equal weights.

    Returns
    -------
    dict
        The law's inputs and ``log_<input>`` (run,), ``log_center_<input>`` scalars of those that
        terms scale with, ``log_loss_observed`` (run,), ``relative_se`` (run,) where the log states
        errors of losses; ``drift_basis_<axis>`` (run, step) where the card has drift,
        ``drift_weights`` (run,) of the sampling coordinates, and with these weights the products
        ``drift_overlap`` (step, step) of all their columns, or, along one axis and without many
        families, of columns that ``drift_turn`` (step, step) has made orthogonal, (step,); where
        drift is integrated out, ``drift_directions`` (run, run), ``drift_variance`` (run,) and
        ``log_loss_rotated`` (run,) instead of these; ``log_first_<input>`` (smallest run),
        ``log_range_<input>`` and ``log_loss_center`` scalars where priors are relative to the runs;
        ``family_index`` (run,) with partial pooling; ``log_relative_size`` (run,) where the
        residual noise shrinks, ``step_below`` and ``step_above`` (run,) where losses are known to a
        step, ``log_error_<scale>`` (run,) of scales with errors, and ``members`` (run,), the
        training run of a row, with ``n_members`` (training_run,) rows, where rows share it. A log
        that is condensed has the inputs and their logs at nodes, and instead of all other arrays by
        run those of :mod:`bayescale.inference.model.condensed`.
    """
    inputs = {name: np.array(runs[name]) for name in card.law.inputs}
    log_loss = np.log(runs["loss"])
    data = inputs | {f"log_{name}": np.log(x) for name, x in inputs.items()}
    data["log_loss_observed"] = log_loss
    if "loss_se" in runs:
        data["relative_se"] = np.array(runs["loss_se"] / runs["loss"])
    data |= {f"log_center_{name}": data[f"log_{name}"].mean() for name in scaled_inputs(card)}
    priors = [described.prior for described in card.coefficients.values()]
    for name in {prior.across for prior in priors if prior.across is not None}:
        data[f"log_first_{name}"] = data[f"log_{name}"].min()
        data[f"log_range_{name}"] = np.ptp(data[f"log_{name}"])
    depths = any(isinstance(term, Depth) for term in card.law.terms.values())
    if depths or any(prior.at == "runs" for prior in priors):
        data["log_loss_center"] = log_loss.mean()
    bases = drift_bases(card, runs)
    if not family_names(runs, card, families) and (short := condensed(runs, card)) is not None:
        scalars = {name: x for name, x in data.items() if np.ndim(x) == 0}
        at_nodes = short.inputs | {f"log_{name}": np.log(x) for name, x in short.inputs.items()}
        return scalars | at_nodes | _condensed_data(short, log_loss, bases, weights)
    if card.integrates_drift(runs):
        data["drift_directions"], data["drift_variance"] = rotation(*bases.values())
        data["log_loss_rotated"] = data["drift_directions"].T @ data.pop("log_loss_observed")
        data.pop("relative_se", None)
    elif bases:
        few = are_few(family_names(runs, card, families))
        used = data["drift_weights"] = np.ones(len(runs)) if weights is None or not few else weights
        if card.recipes is not None:
            data |= recipe_data(runs, card, used)
        else:
            data |= _drift_data(bases, used, apart=len(bases) == 1 and few)
    if card.noise.shrink is not None:
        size = np.array(log_size(inputs))
        data["log_relative_size"] = size - size.mean()
    if (steps := loss_steps(card, runs)) is not None:
        data["step_below"], data["step_above"] = steps
    errors = input_errors(card, runs)
    data |= {f"log_error_{scale}": error for scale, error in errors.items()}
    if card.noise.shared is not None and runs.has_checkpoints:
        data["members"] = memberships(runs)
        data["n_members"] = np.bincount(data["members"]).astype(float)
    if family_names(runs, card, families):
        data["family_index"] = np.unique(runs["family"], return_inverse=True)[1]
    return data


def _drift_data(
    bases: dict[str, np.ndarray], weights: np.ndarray, *, apart: bool
) -> dict[str, Any]:
    """Return the columns of the drift and their products, with weights for the runs."""
    if apart:
        ((axis, basis),) = bases.items()
        turn = np.linalg.eigh(basis.T * weights @ basis)[1]
        turned = basis @ turn
        return {
            "drift_turn": turn,
            "drift_overlap": weights @ turned**2,
            f"drift_basis_{axis}": turned,
        }
    every = np.concatenate(list(bases.values()), axis=1)
    overlap = {"drift_overlap": every.T * weights @ every}
    return overlap | {f"drift_basis_{axis}": basis for axis, basis in bases.items()}


def _condensed_data(
    short: Condensed, log_loss: np.ndarray, bases: dict[str, np.ndarray], weights: np.ndarray | None
) -> dict[str, Any]:
    """Return what the likelihood and the coordinates of the drift need of condensed rows."""
    if not bases:
        return short.data(log_loss, None)
    every = np.concatenate(list(bases.values()), axis=1)
    used = np.ones(len(log_loss)) if weights is None else weights
    overlap = {"drift_overlap": every.T * used @ every}
    return short.data(log_loss, every) | short.pulls(log_loss, every, used) | overlap


def with_runs(
    compiled: Any,
    runs: Runs,
    card: ModelCard,
    families: bool = True,
    weights: np.ndarray | None = None,
) -> Any:
    """Return a card's compiled model with the data of these runs that it uses."""
    data, used = model_data(runs, card, families, weights), compiled.shared_data
    return compiled.with_data(**{name: data[name] for name in data if name in used})


def family_names(runs: Runs, card: ModelCard, families: bool = True) -> tuple[str, ...]:
    """Return the names of the families that get coefficients of their own.

    There are none if the log has a single family, or if every family has a single run, whose
    coefficients would absorb every residual.
    """
    if not (families and card.family and "family" in runs) or card.recipes is not None:
        return ()
    names, counts = np.unique(runs["family"].astype(str), return_counts=True)
    return tuple(map(str, names)) if len(names) > 1 and counts.max() > 1 else ()


def are_few(names: tuple[str, ...]) -> bool:
    """Return whether there are few enough families that their terms themselves are sampled."""
    return len(names) <= FEW_FAMILIES


def scaled_inputs(card: ModelCard) -> list[str]:
    """Return the inputs that some term of the law scales with."""
    terms = card.law.terms.values()
    used = {scale for term in terms for scale in term.inputs}
    used |= {scale for term in terms if isinstance(term, Bent) for scale in term.bend_inputs}
    return [name for name in card.law.inputs if name in used]
