"""The checks of the contract of laws, each a function of a :class:`Subject`."""

import math
import pickle
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import xarray as xr

from bayescale.contract.subject import Subject
from bayescale.laws import LAWS, compute_optimal
from bayescale.laws.law import sum_of_parts
from bayescale.laws.optimum import held_at, splits

GRADIENTS = 40
"""Number of draws at which a law is differentiated."""

BUDGET = 1e22
"""The budget that is split, in FLOP."""

MOST_BAD = 0.05
"""The largest share of bad draws that passes, because the prior's tails may be implausible."""

_UNITS = {"nats/token": (0.5, 15.0), "error rate": (0.0, 1.0)}
_FACTOR = 10.0  # the range about the runs' typical loss, if priors are relative to it
_SAME = 1e-9

Answer = tuple[bool | None, str] | None
"""Whether a check passed (None for information) and a sentence; None if it does not apply."""


def _name(it: Subject) -> Answer:
    law = it.law
    if LAWS.get(law.name, law) is not law:
        return False, (
            f"{law.name!r} is the name of a law of the package, for which it would be taken: "
            "give yours another"
        )
    signature = ", ".join((*law.inputs, "*", *law.coefficients))
    return True, f"{law.name}({signature}), in {law.unit}"


def _card(it: Subject) -> Answer:
    if it.card_problem is not None:
        return False, it.card_problem
    if it.card is None:
        return None, (
            "none is named, so nothing is known about the coefficients, and checks that depend on "
            "them are left out: name one with `card=`"
        )
    return True, f"{it.card.name} has a prior for each of {', '.join(it.law.coefficients)}"


def _floats(it: Subject) -> Answer:
    found = it.at(*(float(values[0]) for values in it.inputs.values()))
    if not isinstance(found, int | float):
        return False, f"from floats it returns a {type(found).__name__}. {ARITHMETIC}"
    if not math.isfinite(found):
        return False, f"from {_point(it)} it returns {found}: correct the formula or the prior"
    return True, f"a float from floats: {found:.4g} at {_point(it)}"


def _point(it: Subject) -> str:
    return ", ".join(f"{name} {values[0]:.3g}" for name, values in it.inputs.items())


def _arrays(it: Subject) -> Answer:
    before = {name: values.copy() for name, values in it.inputs.items()}
    one_by_one, losses = it.one_by_one(), it.losses
    if any((before[name] != it.inputs[name]).any() for name in before):
        return False, (
            "it changes the arrays it is given: write x = x * 2 instead of x *= 2, so that the "
            "caller's arrays stay as they are"
        )
    shape = len(next(iter(it.draws.values()))), len(one_by_one)
    if losses.shape != shape:
        return False, (
            f"from inputs of shape ({shape[1]},) and coefficients of shape ({shape[0]}, 1) it "
            f"returns shape {losses.shape}, where one loss each, {shape}, is needed: use no sum, "
            "mean, max or index over runs"
        )
    alike = np.asarray(it.law.loss(**it.inputs, **it.middle), dtype=float)
    if not np.allclose(alike, one_by_one, rtol=_SAME, equal_nan=True):
        return False, f"NumPy arrays give {alike[0]:.6g} where floats give {one_by_one[0]:.6g}"
    again = np.asarray(it.law.loss(**it.inputs, **it.middle), dtype=float)
    if not np.array_equal(alike, again, equal_nan=True):
        return False, "two equal calls give two results: use no random numbers, and keep no state"
    return True, "NumPy arrays give what floats do, one loss a run and draw"


def _labeled(it: Subject) -> Answer:
    points = {name: xr.DataArray(x, dims="point") for name, x in it.inputs.items()}
    draws = {name: xr.DataArray(x[:, None], dims=("chain", "draw")) for name, x in it.draws.items()}
    with np.errstate(all="ignore"):
        found = it.law.loss(**points, **draws)
    if not isinstance(found, xr.DataArray) or set(found.dims) != {"chain", "draw", "point"}:
        what = (
            f"dims {tuple(found.dims)}" if isinstance(found, xr.DataArray) else type(found).__name__
        )
        return False, f"from xarray it returns {what}, not dims chain, draw, point. {ARITHMETIC}"
    values = found.transpose("chain", "draw", "point").values[:, 0]
    if not np.allclose(values, it.losses, rtol=_SAME, equal_nan=True):
        return False, "xarray objects give other losses than NumPy arrays"
    return True, "xarray objects give what NumPy arrays do, with their dims"


def _sampler(it: Subject) -> Answer:
    found, _ = it.graph(it.inputs, it.middle)
    if np.shape(found) != np.shape(it.losses[0]):
        return False, f"PyTensor variables give shape {np.shape(found)} for {len(it.runs)} runs"
    if not np.allclose(found, it.one_by_one(), rtol=_SAME, equal_nan=True):
        return False, "PyTensor variables give other losses than floats"
    return True, "PyTensor variables, which are sampled, give what floats do"


def _finite(it: Subject) -> Answer:
    if it.card is None:
        return None
    bad = ~(np.isfinite(it.losses) & (it.losses > 0)).all(axis=1)
    if bad.any():
        return False, (
            f"the loss is not finite and above zero {it.worst(bad)}: its logarithm is what is "
            "fitted, so narrow the prior or write the formula so that it cannot overflow"
        )
    return True, f"finite and above zero in all of {len(bad)} draws of the prior"


def _gradient(it: Subject) -> Answer:
    rows = list(zip(*it.draws.values(), strict=True))[:GRADIENTS]
    sets = [dict(zip(it.draws, row, strict=True)) for row in rows]
    slopes = np.array([it.graph(it.inputs, values)[1] for values in sets])
    bad = ~np.isfinite(slopes)
    if bad.any():
        names = [
            name for name, column in zip(it.law.coefficients, bad.T, strict=True) if column.any()
        ]
        return False, (
            f"the slope with {', '.join(names)} is not finite {it.worst(bad.any(axis=1))}: the "
            "sampler stops there, so keep roots, powers and logarithms away from zero"
        )
    flat = [n for n, column in zip(it.law.coefficients, slopes.T, strict=True) if not column.any()]
    if flat:
        return False, (
            f"the loss does not depend on {', '.join(flat)} at any draw: leave it out of the law, "
            "or correct the formula"
        )
    return True, "finite with every coefficient, in all draws of the prior"


def _falls(it: Subject) -> Answer:
    rising = []
    for name in it.law.falls_with or ():
        more = it.loss(it.inputs | {name: 1.5 * it.inputs[name]})
        bad = (more > it.losses * (1 + 1e-12)).any(axis=1)
        if bad.mean() > MOST_BAD:
            rising.append(f"with {name} {it.worst(bad)}")
    if rising:
        return False, (
            f"the loss rises {'; '.join(rising)}: correct a sign, narrow the prior, or name in "
            "falls_with the inputs with which it only falls"
        )
    if not it.law.falls_with:
        return None, "it does not say with what the loss falls"
    others = [name for name in it.law.inputs if name not in it.law.falls_with]
    rest = f"; it says nothing about {', '.join(others)}" if others else ""
    return True, f"the loss falls with {', '.join(it.law.falls_with)}{rest}"


def _terms(it: Subject) -> Answer:
    law = it.law
    if not law.terms:
        return None, (
            "none are named: priors can be stated on coefficients only, and sampling is slower; "
            "see Law.terms"
        )
    log_x = {name: np.log(values[None]) for name, values in it.inputs.items()}
    known = {name: values[:, None] for name, values in it.draws.items()}
    sizes, step = {}, 1e-6
    for name, term in law.terms.items():
        log_c = np.log(known[name])
        with np.errstate(all="ignore"):
            size = term.log_value(log_c, known, log_x)
            back = term.log_coefficient(size, known, log_x)
            slope = (term.log_value(log_c + step, known, log_x) - size) / step
            stated = term.slope(known) * np.ones_like(slope)
        if not np.allclose(back, log_c + 0 * back, rtol=1e-6, atol=1e-6):
            return False, f"term {name}: log_coefficient does not undo log_value"
        if not np.allclose(slope, stated, rtol=1e-3, atol=1e-3):
            return False, f"term {name}: slope is not the change of log_value with the coefficient"
        sizes[name] = np.exp(size) * np.ones_like(it.losses)
    with np.errstate(all="ignore"):
        sums = np.allclose(sum_of_parts(law, sizes, known), it.losses, rtol=1e-6)
    if law.sum_of_terms and not sums:
        return False, "the loss is not the sum of the terms, although sum_of_terms is True"
    if sums and not law.sum_of_terms:
        return None, "the loss is the sum of the terms: sum_of_terms=True makes sampling faster"
    return True, f"sizes and coefficients of {', '.join(law.terms)} undo each other" + (
        ", and the loss is their sum" * (sums and law.root is None)
    )


def _coordinates(it: Subject) -> Answer:
    from bayescale.inference.model.symbolic import prior_mismatch

    assert it.card is not None
    off = prior_mismatch(it.card, it.runs)
    if not off < 1e-4:
        return False, (
            f"the density that is sampled is {off:.3g} off the card's prior in logs: a term's "
            "log_value, log_coefficient and slope do not belong together"
        )
    return True, "the sampler's coordinates leave the prior as the card states it"


def _optimum(it: Subject) -> Answer:
    law = it.law
    if not splits(law.inputs):
        return None, f"a law of {', '.join(law.inputs)} splits no budget"
    held = {name: float(np.exp(np.log(it.inputs[name]).mean())) for name in law.foreign}
    law = held_at(law, held)
    searched, rest = compute_optimal(replace(law, optimum=None), BUDGET, it.draws)
    edge = (searched < 2) | (rest < 2)
    if edge.any():
        return False, (
            f"the best split of {BUDGET:g} FLOP is all params or all tokens {it.worst(edge)}: let "
            "the loss fall with both"
        )
    if law.optimum is None:
        return True, f"the search finds the best split of {BUDGET:g} FLOP in every draw"
    params, tokens = compute_optimal(law, BUDGET, it.draws)
    if np.shape(params) != np.shape(searched):
        return (
            False,
            f"optimum gives shape {np.shape(params)} for {len(searched)} coefficients each",
        )
    off = abs(np.log(params / searched)) > 1e-4
    if off.any():
        return False, (
            f"optimum does not give the least loss {it.worst(off)}: correct it, or leave it out, "
            "and the best split is searched for"
        )
    if not np.allclose(params * tokens * 6, BUDGET, rtol=1e-6):
        return False, "optimum gives params and tokens that do not spend the budget of 6 N D"
    return True, f"optimum gives the least loss at {BUDGET:g} FLOP in every draw"


def _prior(it: Subject) -> Answer:
    assert it.card is not None
    losses, (low, high), at = it.losses, _UNITS.get(it.law.unit, (0.0, np.inf)), it.inputs
    if any(described.prior.relative for described in it.card.coefficients.values()):
        # such a prior describes the typical run only
        typical = float(np.exp(np.log(it.runs["loss"]).mean()))
        low, high = typical / _FACTOR, typical * _FACTOR
        at = {name: np.exp(np.log(x).mean(keepdims=True)) for name, x in it.inputs.items()}
        losses = it.loss(at)
    share = ((losses > low) & (losses < high)).mean(axis=0)
    worst, middle = int(share.argmin()), np.median(losses, axis=0)
    place = ", ".join(f"{name} {values[worst]:.3g}" for name, values in at.items())
    text = (
        f"before any runs, {share[worst]:.0%} of losses at {place} lie between {low:.3g} "
        f"and {high:.3g} {it.law.unit}, with a median of {middle[worst]:.3g}"
    )
    if share[worst] < 1 - MOST_BAD:
        return False, (
            f"{text}: narrow the priors, or state them on the size of terms at a scale (at = 1e9)"
        )
    return True, text


def _processes(it: Subject) -> Answer:
    found = pickle.loads(pickle.dumps(it.law))
    return found.name == it.law.name, "found again by other processes, as backtests need"


ARITHMETIC = (
    "Write it with operators and np.exp, np.log, np.log1p, np.sqrt, np.power alone: np.where, "
    "np.maximum, np.clip, np.logaddexp, the math module, float() and if do not take all of floats, "
    "NumPy, xarray and PyTensor variables"
)

CHECKS: Mapping[str, tuple[Callable[[Subject], Answer], tuple[str, ...]]] = {
    # each check, and the checks that it depends on
    "name": (_name, ()),
    "card": (_card, ()),
    "floats": (_floats, ()),
    "arrays": (_arrays, ("floats",)),
    "labeled": (_labeled, ("arrays",)),
    "sampler": (_sampler, ("arrays",)),
    "finite": (_finite, ("card", "arrays")),
    "gradient": (_gradient, ("sampler", "finite")),
    "falls": (_falls, ("finite",)),
    "terms": (_terms, ("arrays",)),
    "coordinates": (_coordinates, ("sampler", "finite", "terms")),
    "optimum": (_optimum, ("finite",)),
    "prior": (_prior, ("finite",)),
    "processes": (_processes, ()),
}
