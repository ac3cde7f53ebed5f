"""The noise model and the drift of a card for a given run log.

Rounded losses and errors of scales are stated either by the log's columns, for each run, or by the
card, for all runs, but not by both.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bayescale.cards.card import ModelCard
from bayescale.cards.parts import Rounding
from bayescale.drift import STEPS, TILT, Component, Frame, coordinate
from bayescale.errors import RunLogError, argument, collected, listed
from bayescale.runs import Runs, with_inputs
from bayescale.runs.log import SCALES


def card_for(runs: Runs, card: ModelCard) -> ModelCard:
    """Return the card for a log: without ``noise.shared`` if the log has one row per run.

    Raises
    ------
    RunLogError
        If card and log state the same thing, or things that cannot be combined.
    """
    noise, problems = card.noise, []
    together = runs.has_checkpoints
    if together and noise.shared is None:
        problems.append(
            "several of its rows are of one run, and the card does not say how much noise these "
            "share: add [noise.shared] (`bayescale.load_card('chinchilla')` has one), or keep one "
            "row per run"
        )
    rounded = noise.rounding is not None or "loss_step" in runs
    for what, there in (("noise.excess", card.is_floor), ("rounded losses", rounded)):
        if together and there:
            problems.append(
                f"{what} cannot be combined with several rows of one run: keep one row per run"
            )
    problems += _rounding_problems(runs, noise.rounding)
    problems += _input_error_problems(card, runs)
    if problems:
        raise RunLogError(
            collected(f"card {card.name!r} cannot be used with {runs.source}:", problems)
        )
    if together or noise.shared is None:
        return card
    return card.model_copy(update={"noise": noise.model_copy(update={"shared": None})})


def runs_for(card: ModelCard, runs: Runs) -> Runs:
    """Return the runs with all columns that the card's law needs, checked by the card's guards.

    Raises
    ------
    RunLogError
        If a column has values that are not positive numbers, or that the card's guard excludes.
    """
    runs = with_inputs(runs, card.law)
    problems = []
    for name, described in card.inputs.items():
        if name not in runs:
            continue
        (low, high), values = described.guard, runs[name]
        outside = (values < low) | (values > high)
        if outside.any():
            ids, found = runs["run_id"][outside], values[outside]
            places = listed(f"{x:g} in {i}" for x, i in zip(found, ids, strict=True))
            problems.append(
                f"{name} must lie from {low:g} to {high:g} ({described.unit}: "
                f"{described.meaning}): {places}; correct it, name another column with "
                f"{argument('columns', **{name: 'HEADER'})}, or widen inputs.{name}.guard of the "
                "card"
            )
    if problems:
        raise RunLogError(
            collected(f"card {card.name!r} cannot be used with {runs.source}:", problems)
        )
    return runs


def _rounding_problems(runs: Runs, rounding: Rounding | None) -> list[str]:
    problems = []
    if rounding is not None and "loss_step" in runs:
        problems.append(
            "the rounding of losses is stated twice, by its column loss_step and by the card's "
            "[noise.rounding]: keep one of them"
        )
    by_log = rounding is not None and rounding.of == "log loss"
    if by_log or (rounding is None and "loss_step" not in runs):
        return problems
    step = runs["loss_step"] if rounding is None else np.full(len(runs), rounding.step)
    wide = step >= 2 * runs["loss"]
    if wide.any():
        problems.append(
            f"losses rounded to {step[wide][0]:g} could be zero in {listed(runs['run_id'][wide])}: "
            "state the step that losses were rounded to"
        )
    return problems


def _input_error_problems(card: ModelCard, runs: Runs) -> list[str]:
    inputs = set(card.law.inputs) & set(SCALES)
    columns = {scale for scale in SCALES if f"{scale}_se" in runs}
    from_card = card.noise.input_errors
    stated = set() if from_card is None else set(from_card.values)
    problems = []
    if columns and from_card is not None:
        problems.append(
            "errors of scales are stated twice, by its column "
            f"{' and '.join(f'{scale}_se' for scale in SCALES if scale in columns)} and by the "
            "card's [noise.input_errors]: keep one of them"
        )
    given = columns | stated
    if {"tokens", "flops"} <= given and {"params", "tokens"} <= inputs:
        problems.append(
            "errors of both tokens and flops are stated, but with params one follows from the "
            "other: keep the one that was measured, tokens_se or flops_se"
        )
    usable = inputs | ({"flops"} if {"params", "tokens"} <= inputs else set())
    if given and inputs and not given & usable:
        problems.append(
            f"errors are stated of {' and '.join(sorted(given))}, but the law is of "
            f"{' and '.join(sorted(inputs))}: state "
            f"{' and '.join(f'{scale}_se' for scale in sorted(inputs))}"
        )
    return problems


def input_errors(card: ModelCard, runs: Runs) -> dict[str, np.ndarray]:
    """Return standard errors of the logs of the law's scales, shape (run,), by scale."""
    inputs, from_card = card.law.inputs, card.noise.input_errors
    usable = [*inputs, *(["flops"] if {"params", "tokens"} <= set(inputs) else [])]
    found = {s: np.array(runs[f"{s}_se"]) for s in SCALES if f"{s}_se" in runs and s in usable}
    stated = {} if from_card is None else from_card.values
    return found | {s: np.full(len(runs), v) for s, v in stated.items() if s in usable}


def loss_steps(card: ModelCard, runs: Runs) -> tuple[np.ndarray, np.ndarray] | None:
    """Return lower and upper ends of each log loss's rounding step about it, shape (run,) each."""
    loss, rounding = runs["loss"], card.noise.rounding
    if "loss_step" not in runs and rounding is None:
        return None
    if rounding is not None and rounding.of == "log loss":
        half = np.full(len(runs), rounding.step / 2)
        return -half, half
    step = runs["loss_step"] if rounding is None else rounding.step
    return np.log1p(-step / (2 * loss)), np.log1p(step / (2 * loss))


def log_size(inputs: Mapping[str, Any]) -> Any:
    """Return the log of a run's size, which its noise may depend on: compute, or the only scale."""
    both = {"params", "tokens"} <= set(inputs)
    return coordinate(inputs, "flops" if both else next(s for s in SCALES if s in inputs))


def memberships(runs: Runs) -> np.ndarray:
    """Return the index of each row's training run, shape (row,), in the order of their names."""
    return np.unique(runs["run"], return_inverse=True)[1]


def drift_components(card: ModelCard, runs: Runs, steps: int | None = None) -> dict[str, Component]:
    """Return the walks of the drift by name, with ``steps`` steps on each side of the center."""
    drift = card.drift
    if drift is None:
        return {}
    inputs = {name: runs[name] for name in card.law.inputs}
    n = steps or (None if card.integrates_drift(runs) else STEPS[drift.walk])
    components = {
        axis: Component(
            axis, Frame.of(coordinate(inputs, axis), drift.walk, drift.fades_over, steps=n), axis
        )
        for axis in drift.along
    }
    if drift.tilt is not None:
        along, across = drift.along
        frame = Frame.of(coordinate(inputs, along), "level", steps=steps or STEPS[drift.walk])
        center = components[across].frame.center
        components[TILT] = Component(along, frame, across, drift.tilt, (across, center))
    return components


def drift_bases(card: ModelCard, runs: Runs, steps: int | None = None) -> dict[str, np.ndarray]:
    """Return the effect of each unit step of the drift on each run, shape (run, step), by walk."""
    inputs = {name: runs[name] for name in card.law.inputs}
    return {name: walk.basis(inputs) for name, walk in drift_components(card, runs, steps).items()}
