"""Extrapolation of 92 public curves of one scale, each to twice its training data.

The curves of Alabdulmohsin et al. 2022 (arXiv 2209.06640), with the split that they come with:
loss or error rate against training examples, of image classifiers, translation models, language
models and BIG-Bench tasks. Least squares, as usually done, is compared with posteriors of this
package. The published results of NSL-PFN are in the same table.

Some priors are *learned* from the training points of other curves, never of those that they are
scored on: either without the scored curve's group (an image data set, or one of the other three
domains), or, stricter, without its whole domain. All curves are sampled once under a wider prior.
The priors are learned from these draws, and each curve is then sampled again under its own prior.

Needs ``benchmark_vision.csv`` and ``benchmark_lang.csv`` in a folder, with columns ``domain``,
``task``, ``model``, ``x``, ``loss`` and ``split`` (train or test).

Run: ``BAYESCALE_DATA=folder python benchmarks/curves.py``
"""

import hashlib
import json
import os
import pickle
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

import least_squares
import numpy as np
import pandas as pd
import typer
import xarray as xr

from bayescale.cards import ModelCard, Prior, card_for, load_card
from bayescale.forecasting import forecast
from bayescale.inference.compile import compiled_model
from bayescale.inference.diagnostics import check_convergence
from bayescale.inference.schedule import sample
from bayescale.posterior import DRIFTING, EXACT, Posterior
from bayescale.progress import Stage, progress
from bayescale.runs import Runs
from bayescale.validation import scores

HERE = Path(__file__).parent
RESULTS = HERE / "results"
SEED = 0
CHAINS = 4

IMAGES = "IC"
DOMAINS = (IMAGES, "NMT", "LM", "BB")
RATIOS = ((1.0, 1.25), (1.25, 1.6), (1.6, 2.3))
NORMAL_QUANTILE = 1.6448536269514722  # a card's low and high hold the central 90 %

ROUNDS = 40
"""Iterations of expectation maximization, which has converged by then."""

FIRST_PSEUDO_CURVES = 2
"""Weight of the weak prior's spread in the first learned prior, in curves."""

LEAST_SD = {"E": 0.5, "A": 0.9, "k_0": 0.8}
"""Least standard deviations of the logs of coefficients, in learned priors.

Runs determine the level of a curve, which the priors of E and A both affect. Learned separately,
they count the information on the level twice and become overconfident. Most curves do not identify
k_0.
"""

MOST_DRAWS = 2000
"""Most draws of which quantiles are taken; evenly spaced if there are more."""

WIDER = 1.2
"""Width of the prior that is sampled, relative to that of the learned priors."""

VERSIONS_OF = ("bayescale", "pymc", "nutpie", "numpy", "scipy")

PUBLISHED = {
    # on log loss and with the same split and scores, as their paper states them
    "NSL-PFN, published": {"IC": {"RMSLE": 0.0280, "log density": 3.330}},
    "MCMC on M4, published with NSL-PFN": {"IC": {"RMSLE": 0.0422, "log density": 3.024}},
    "MCMC on BNSL, published with NSL-PFN": {"IC": {"RMSLE": 0.0645, "log density": 2.921}},
    "M4, published with NSL-PFN": {"IC": {"RMSLE": 0.0415}},
    "BNSL, published with NSL-PFN": {"IC": {"RMSLE": 0.0406}},
}

NOTES = (
    "IC: image classification; NMT: translation; LM: language models; BB: BIG-Bench. Each score "
    "is computed over the test points of a curve; the tables show means over curves.",
    "RMSLE: root mean square error of the log of the forecast's median. Log density: log "
    "predictive density of the loss reached; larger is better. CRPS: of log loss. MSCE: mean "
    "squared error of coverage over seven levels, for each curve by itself. Errors within a "
    "curve are correlated, which keeps it above zero.",
    "Learned priors use only the training points of other curves. Groups: the four image data "
    "sets bird, c, cal and inet, and NMT, LM, BB; domains: IC, NMT, LM, BB. Two choices were "
    "made for all curves with the scores of all curves known: the smallest standard deviations "
    "of learned priors, and that learned priors keep nothing of the weak prior's spread "
    "(keeping as much as two curves weigh makes RMSLE 0.0008 larger).",
    "Priors are learned, by importance weights, from draws under one wider prior. Each curve is "
    "then sampled again under the prior learned without its group or domain. The three domains "
    "other than images are groups themselves, so their scores are the same in both rows.",
    "Exact: the law is taken to hold without drift. All posteriors have normal noise.",
)

type Array = np.ndarray


# the curves


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve in two parts: training points and test points."""

    domain: str
    group: str
    name: str
    x: Array
    loss: Array
    x_test: Array
    loss_test: Array

    @property
    def ratio(self) -> Array:
        """Test points as multiples of the largest training x."""
        return self.x_test / self.x.max()

    @property
    def runs(self) -> Runs:
        """The training points as runs; tokens are examples, in most curves."""
        run_id = [str(i) for i in range(len(self.x))]
        frame = pd.DataFrame({"run_id": run_id, "tokens": self.x, "loss": self.loss})
        return Runs(frame=frame, columns={}, source=self.name)


def read_curves(folder: Path) -> list[Curve]:
    """Read all curves, in alphabetical order of domain, task and model."""
    files = [folder / f"benchmark_{part}.csv" for part in ("vision", "lang")]
    frame = pd.concat([pd.read_csv(file) for file in files])
    return [
        _curve(str(domain), str(task), str(model), rows.sort_values("x", kind="stable"))
        for (domain, task, model), rows in frame.groupby(["domain", "task", "model"])
    ]


def _curve(domain: str, task: str, model: str, rows: pd.DataFrame) -> Curve:
    parts = (rows[rows["split"] == part] for part in ("train", "test"))
    numbers = [part[column].to_numpy(float) for part in parts for column in ("x", "loss")]
    group = task.split("_")[0] if domain == "IC" else domain  # IC tasks are <data set>_<shots>
    return Curve(domain, group, f"{domain} {task} {model}", *numbers)


# sampling


@dataclass(frozen=True, eq=False)
class Sampled:
    """Draws of one curve under one card.

    Attributes
    ----------
    stated : numpy.ndarray, shape (draw, quantity)
        Each quantity on the scale on which the card's prior is normal.
    log_loss, log_density : numpy.ndarray, shape (draw, point)
        Log loss of a single new run at the test points, and the density of the loss reached.
    rhat, seconds : float
        The largest R-hat, and what sampling took.
    """

    stated: Array
    log_loss: Array
    log_density: Array
    rhat: float
    seconds: float


@dataclass(frozen=True)
class Pass:
    """Settings of sampling: the card, whether drift is included, and numbers of draws.

    Chains mix slowly, so one draw in ``thin`` is kept.
    """

    card: ModelCard
    drift: bool = True
    draws: int = 500
    tune: int = 1000
    thin: int = 4


def sample_curve(curve: Curve, how: Pass) -> Sampled:
    """Sample one curve's training points, and forecast its test points."""
    runs, card = curve.runs, how.card if how.drift else how.card.without_drift()
    sampler, _ = compiled_model(runs, card)
    started = time.perf_counter()
    tree = sample(
        sampler,
        runs,
        card,
        draws=how.draws,
        tune=how.tune,
        thin=how.thin,
        chains=CHAINS,
        cores=None,
        seed=SEED,
    )
    seconds = time.perf_counter() - started
    diagnostics = check_convergence(tree)
    record = {"diagnostics": diagnostics, "provenance": {"seed": SEED}, "seconds": {}}
    group = EXACT if card.drift is None else DRIFTING
    draws = xr.DataTree.from_dict({group: tree["posterior"].to_dataset()})
    posterior = Posterior(draws, card, runs, record)
    new = forecast(posterior, tokens=curve.x_test, allow_unconverged=True).loss_new
    assert new is not None
    density = posterior.drifting.log_density(
        curve.loss_test, {"tokens": xr.DataArray(curve.x_test, dims="point")}
    )
    with np.errstate(divide="ignore"):
        log_loss = np.log(_by_draw(new))
    return Sampled(
        stated=stated(posterior),
        log_loss=log_loss,
        log_density=_by_draw(density),
        rhat=float(diagnostics["rhat_max"]),
        seconds=seconds,
    )


def _by_draw(values: xr.DataArray) -> Array:
    flat = values.transpose("chain", "draw", "point").values
    return flat.reshape(-1, flat.shape[-1]).astype(np.float32)


def stated(posterior: Posterior) -> Array:
    """Return draws of the quantities with priors, on the scales on which these are normal."""
    card, runs = posterior.card, posterior.runs
    assert runs is not None
    values = {name: posterior.draws[name].values.ravel() for name in card.parameters}
    log_x = {name: np.log(runs[name]) for name in card.law.inputs}
    center = {name: float(x.mean()) for name, x in log_x.items()}

    def column(name: str, prior: Prior) -> Array:
        log_value = np.log(values[name])
        if prior.across is not None:
            x = log_x[prior.across]
            return (log_value - x.min()) / np.ptp(x)
        if prior.at == "runs":
            in_runs = card.law.terms[name].log_value(log_value, values, center)
            return in_runs - np.log(runs["loss"]).mean()
        if prior.dist == "NearOne":
            return np.sign(log_value) * np.sqrt(np.abs(log_value) / prior.kwargs["scale"])
        return log_value

    return np.column_stack([column(name, d.prior) for name, d in card.parameters.items()])


# learning priors


@dataclass(frozen=True, eq=False)
class Beliefs:
    """A card's priors as independent normals, shape (quantity,) each."""

    mean: Array
    sd: Array

    @classmethod
    def of(cls, card: ModelCard) -> "Beliefs":
        """Take the priors of a card; ``NearOne`` on the scale of its standard normal."""
        priors = [described.prior for described in card.parameters.values()]
        return cls(*np.array([prior.log_normal or (0.0, 1.0) for prior in priors]).T)

    def log_density(self, at: Array) -> Array:
        """Return the log density up to a constant, shape (draw,)."""
        return (-0.5 * ((at - self.mean) / self.sd) ** 2 - np.log(self.sd)).sum(axis=-1)

    def wider(self, times: float) -> "Beliefs":
        """Return priors with larger standard deviations."""
        return replace(self, sd=self.sd * times)

    def card(self, base: ModelCard) -> ModelCard:
        """Return the card with these priors."""
        ci_prob = (self.mean + side * NORMAL_QUANTILE * self.sd for side in (-1, 1))
        ends = dict(zip(base.parameters, zip(*ci_prob, strict=True), strict=True))

        def held(name: str, described: Any) -> Any:
            low, high = ends[name] if described.prior.across else np.exp(ends[name])
            update = {"low": float(low), "high": float(high)}
            return described.model_copy(update={"prior": described.prior.model_copy(update=update)})

        assert base.drift is not None
        return base.model_copy(
            update={
                "coefficients": {n: held(n, d) for n, d in base.coefficients.items()},
                "noise": base.noise.model_copy(update={"sigma": held("sigma", base.noise.sigma)}),
                "drift": base.drift.model_copy(
                    update={"size": held(next(iter(base.drift.parameters)), base.drift.size)}
                ),
            }
        )


def weights(draws: Array, sampled_under: Beliefs, wanted: Beliefs) -> Array:
    """Return importance weights from the posterior under one prior to that under another.

    They sum to one, and are truncated at sqrt(n) times their mean (Ionides 2008).
    """
    log_weight = wanted.log_density(draws) - sampled_under.log_density(draws)
    weight = np.exp(log_weight - log_weight.max())
    weight = np.minimum(weight, weight.mean() * np.sqrt(len(weight)))
    return weight / weight.sum()


def learn(
    curves: Sequence[Array],
    sampled_under: Beliefs,
    start: Beliefs,
    least_sd: Array,
    pseudo_curves: int = 0,
) -> Beliefs:
    """Estimate normals from which the curves' quantities come, by expectation maximization.

    Parameters
    ----------
    curves : sequence of numpy.ndarray, shape (draw, quantity)
        Draws of each curve.
    sampled_under : Beliefs
        The priors under which they were sampled.
    start : Beliefs
        First guess.
    least_sd : numpy.ndarray, shape (quantity,)
        Standard deviations are not let below these.
    pseudo_curves : int
        The first guess's standard deviations count as those of so many curves more.
    """
    beliefs, n = start, len(curves)
    for _ in range(ROUNDS):
        each = [(weights(draws, sampled_under, beliefs), draws) for draws in curves]
        mean = np.mean([weight @ draws for weight, draws in each], axis=0)
        spread = np.sum([weight @ (draws - mean) ** 2 for weight, draws in each], axis=0)
        sd = np.sqrt((spread + pseudo_curves * start.sd**2) / (n + pseudo_curves))
        beliefs = Beliefs(mean, np.maximum(sd, least_sd))
    return beliefs


# scoring


@dataclass(frozen=True, eq=False)
class Predicted:
    """The forecast of one method for the test points of a curve.

    Attributes
    ----------
    log_loss : numpy.ndarray, shape (draw, point)
        One draw for a method without a distribution.
    log_density : numpy.ndarray, shape (point,), or None
        Of the loss that was reached.
    """

    log_loss: Array
    log_density: Array | None = None

    @classmethod
    def of(cls, sampled: Sampled) -> "Predicted":
        """Make the forecast from draws with equal weights."""
        return cls(sampled.log_loss, scores.log_predictive(sampled.log_density))


def average(parts: Sequence[Predicted]) -> Predicted:
    """Average forecasts with equal weights."""
    shares = np.full(len(parts), 1 / len(parts))
    densities = [part.log_density for part in parts]
    return Predicted(
        scores.mixed([part.log_loss for part in parts], shares),
        scores.log_mixture(densities, shares),
    )


def score(curve: Curve, predicted: Predicted, at: Array) -> dict[str, float]:
    """Score one curve on some of its test points; on log loss unless said otherwise."""
    draws, log_loss = (
        scores.thinned(predicted.log_loss[:, at], MOST_DRAWS),
        np.log(curve.loss_test[at]),
    )
    result = {"RMSLE": scores.rmsle(np.exp(np.median(draws, axis=0)), np.exp(log_loss))}
    if predicted.log_density is None:
        return result
    shares = scores.pit(draws, log_loss)
    return result | {
        "log density": float(predicted.log_density[at].mean()),
        "CRPS": float(scores.crps(scores.limited(draws), log_loss).mean()),
        "coverage 50": float(scores.covered(draws, log_loss, 0.5).mean()),
        "coverage 90": float(scores.covered(draws, log_loss, 0.9).mean()),
        "MSCE": scores.msce(shares),
    }


def averages(
    curves: Sequence[Curve], predicted: Sequence[Predicted]
) -> dict[str, dict[str, float]]:
    """Average scores over curves: all, by domain, and by ratio to the largest training x."""

    def scored(low: float, high: float) -> list[tuple[str, dict[str, float]]]:
        among = [(curve.ratio > low) & (curve.ratio <= high) for curve in curves]
        return [
            (curve.domain, score(curve, answer, at))
            for curve, answer, at in zip(curves, predicted, among, strict=True)
            if at.any()
        ]

    def mean(rows: Sequence[tuple[str, dict[str, float]]]) -> dict[str, float]:
        names = rows[0][1]
        each = {name: float(np.mean([row[name] for _, row in rows])) for name in names}
        return each | {"curves": len(rows)}

    everywhere = scored(1.0, np.inf)
    result = {"all": mean(everywhere)}
    for domain in DOMAINS:
        result[domain] = mean([row for row in everywhere if row[0] == domain])
    return result | {f"{low:g} to {high:g}": mean(scored(low, high)) for low, high in RATIOS}


# the methods


def bending_card(curve: Curve) -> ModelCard:
    """Return the saturating law's card for a curve."""
    return card_for(curve.runs, load_card("saturating_tokens"))


def relative_power_law(bending: ModelCard) -> ModelCard:
    """Return the power law plus constant with the priors of the saturating card."""
    power = load_card("henighan_tokens")
    like = {"E": "E", "D_c": "A", "alpha_D": "alpha"}
    coefficients = {
        name: described.model_copy(update={"prior": bending.coefficients[like[name]].prior})
        for name, described in power.coefficients.items()
    }
    noise, drift = bending.noise, bending.drift
    return power.model_copy(
        update={"coefficients": coefficients, "noise": noise, "drift": drift, "family": {}}
    )


def sample_all(curves: Sequence[Curve], how: Pass, stage: Stage, name: str) -> list[Sampled]:
    """Sample every curve under one card."""
    done = stage(name, total=len(curves))
    result = []
    for i, curve in enumerate(curves, 1):
        result.append(sample_curve(curve, how))
        done(i)
    return result


@dataclass(frozen=True, eq=False)
class Method:
    """A method: a row of the table.

    Attributes
    ----------
    title : str
        Its name in the table.
    predicted : list of Predicted
        One per curve.
    note : mapping
        Further values that are kept with its scores.
    """

    title: str
    predicted: list[Predicted]
    note: Mapping[str, Any]


def by_least_squares(name: str, curves: Sequence[Curve], stage: Stage) -> Method:
    """Forecast with one form by least squares."""
    done, started, predicted = stage(f"{name} by least squares", total=len(curves)), _now(), []
    for i, curve in enumerate(curves, 1):
        loss = least_squares.fit(name, curve.x, curve.loss)(curve.x_test)
        predicted.append(Predicted(np.log(loss)[None]))
        done(i)
    return Method(f"{name}, least squares", predicted, {"seconds_a_curve": _now(started, curves)})


def as_sampled(title: str, sampled: Sequence[Sampled]) -> Method:
    """Forecast with the posteriors as they were sampled."""
    return Method(title, [Predicted.of(each) for each in sampled], _diagnosed(sampled))


def learned_without(
    left_out: str,
    part: Callable[[Curve], str],
    curves: Sequence[Curve],
    sampled: Sequence[Sampled],
    sampled_under: Beliefs,
    base: ModelCard,
) -> Beliefs:
    """Learn priors from the training points of all curves except those of one part."""
    others = [s for s, curve in zip(sampled, curves, strict=True) if part(curve) != left_out]
    return learn_card(others, sampled_under, base)


def learn_card(
    sampled: Sequence[Sampled], sampled_under: Beliefs, base: ModelCard, pseudo_curves: int = 0
) -> Beliefs:
    """Learn priors on the quantities of a card from draws of curves."""
    least_sd = np.array([LEAST_SD.get(name, 0.0) for name in base.parameters])
    draws = [each.stated for each in sampled]
    return learn(draws, sampled_under, Beliefs.of(base), least_sd, pseudo_curves)


def averaged_methods(title: str, methods: Sequence[Method]) -> Method:
    """Average methods with equal weights."""
    each = zip(*(method.predicted for method in methods), strict=True)
    return Method(title, [average(parts) for parts in each], {})


def _diagnosed(sampled: Sequence[Sampled]) -> dict[str, float]:
    return {
        "seconds_a_curve": float(np.mean([each.seconds for each in sampled])),
        "rhat_median": float(np.median([each.rhat for each in sampled])),
        "share_rhat_above_1.05": float(np.mean([each.rhat > 1.05 for each in sampled])),
    }


def _now(since: float | None = None, curves: Sequence[Curve] = ()) -> float:
    now = time.perf_counter()
    return now if since is None else (now - since) / len(curves)


def all_methods(
    curves: Sequence[Curve], keep: Path | None, stage: Stage
) -> tuple[list[Method], dict[str, dict[str, Beliefs]]]:
    """Evaluate every method, and return them with the learned priors by split and part."""
    base = bending_card(curves[0])
    group_of, domain_of = attrgetter("group"), attrgetter("domain")

    def draws(name: str, how: Pass, those: Sequence[Curve] = curves) -> list[Sampled]:
        return kept(keep, how, those, lambda: sample_all(those, how, stage, name))

    def sampled_again(
        learned: Mapping[str, Beliefs], part: Callable[[Curve], str]
    ) -> dict[str, Sampled]:
        found = {}
        for left_out, beliefs in learned.items():
            those = [curve for curve in curves if part(curve) == left_out]
            drawn = draws(f"learned without {left_out}", Pass(beliefs.card(base)), those)
            found |= {curve.name: each for curve, each in zip(those, drawn, strict=True)}
        return found

    weak = draws("saturating, drift", Pass(base))
    wide = learn_card(weak, Beliefs.of(base), base, FIRST_PSEUDO_CURVES).wider(WIDER)
    widely = draws("saturating, drift, wider than learned", Pass(wide.card(base)))
    of_group = {
        group: learned_without(group, group_of, curves, widely, wide, base)
        for group in dict.fromkeys(map(group_of, curves))
    }
    # the other domains are groups themselves
    of_domain = {IMAGES: learned_without(IMAGES, domain_of, curves, widely, wide, base)}
    by_group = sampled_again(of_group, group_of)
    by_domain = by_group | sampled_again(of_domain, domain_of)
    group, domain = (
        as_sampled(
            f"saturating, drift, prior learned without the {part}",
            [found[curve.name] for curve in curves],
        )
        for part, found in (("group", by_group), ("domain", by_domain))
    )
    exact = "power law + constant", Pass(relative_power_law(base), drift=False)
    exact_saturating = "saturating", Pass(base, drift=False)
    weakly = as_sampled("saturating, drift, weak prior", weak)
    methods = [
        *(by_least_squares(name, curves, stage) for name in least_squares.FORMS),
        *(
            as_sampled(f"{name}, exact", draws(name, how))
            for name, how in (exact, exact_saturating)
        ),
        weakly,
        group,
        domain,
        averaged_methods(
            "model average: the two learned and the weak, equal weights", [weakly, group, domain]
        ),
    ]
    everything = {"": learn_card(widely, wide, base)}
    return methods, {"group": of_group, "domain": of_domain, "nothing": everything}


def kept(
    folder: Path | None, how: Pass, curves: Sequence[Curve], make: Callable[[], list[Sampled]]
) -> list[Sampled]:
    """Load draws of these curves with these settings, or make and keep them."""
    if folder is None:
        return make()
    card, names = how.card.model_dump_json(exclude={"law"}), [curve.name for curve in curves]
    settings = f"{card} {how.drift} {how.draws} {how.tune} {how.thin} {names}"
    file = folder / f"{hashlib.sha256(settings.encode()).hexdigest()[:16]}.pickle"
    if file.exists():
        return [Sampled(**fields) for fields in pickle.loads(file.read_bytes())]
    made = make()
    folder.mkdir(parents=True, exist_ok=True)
    file.write_bytes(pickle.dumps([vars(each) for each in made]))
    return made


# the report


def report(
    curves: Sequence[Curve],
    methods: Sequence[Method],
    learned: Mapping[str, Mapping[str, Beliefs]],
) -> dict[str, Any]:
    """Collect the results as plain values."""
    base = bending_card(curves[0])
    return {
        "command": "python benchmarks/curves.py",
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
        },
        "versions": {name: metadata.version(name) for name in VERSIONS_OF},
        "seed": SEED,
        "curves": {domain: sum(curve.domain == domain for curve in curves) for domain in DOMAINS},
        "methods": {
            method.title: {"scores": averages(curves, method.predicted), **method.note}
            for method in methods
        },
        "published": PUBLISHED,
        "learned_without": {
            split: {part: _stated(beliefs.card(base)) for part, beliefs in of_part.items()}
            for split, of_part in learned.items()
        },
    }


def _stated(card: ModelCard) -> dict[str, tuple[float, float]]:
    """Return low and high of every prior."""
    priors = {name: described.prior for name, described in card.parameters.items()}
    return {
        name: (float(f"{prior.low:.4g}"), float(f"{prior.high:.4g}"))
        for name, prior in priors.items()
        if prior.low is not None and prior.high is not None
    }


def markdown(results: Mapping[str, Any]) -> str:
    """Write the results as a page."""
    methods = {title: method["scores"] for title, method in results["methods"].items()}
    published = results["published"]
    counts = ", ".join(f"{n} {domain}" for domain, n in results["curves"].items())

    def one(score: str, part: str) -> Callable[[Mapping[str, Any]], str]:
        return lambda row: _number(score, row.get(part, {}).get(score))

    def coverage(part: str) -> Callable[[Mapping[str, Any]], str]:
        def cell(row: Mapping[str, Any]) -> str:
            levels = [row.get(part, {}).get(f"coverage {level}") for level in (50, 90)]
            return " / ".join(f"{100 * level:.0f}" for level in levels if level is not None)

        return cell

    parts = ("all", *DOMAINS)
    bins = [f"{low:g} to {high:g}" for low, high in RATIOS]
    overall = {"RMSLE": one("RMSLE", "all"), "log density": one("log density", "all")}
    overall |= {"100 CRPS": one("CRPS", "all"), "coverage 50 / 90 %": coverage("all")}
    overall |= {"MSCE": one("MSCE", "all")}
    tables = {
        "All curves": (methods, overall),
        "RMSLE": (methods | published, {part: one("RMSLE", part) for part in parts}),
        "Log density": (methods | published, {part: one("log density", part) for part in parts}),
        "Coverage of the 50 % and 90 % intervals, %": (
            methods,
            {part: coverage(part) for part in parts},
        ),
        "RMSLE by x / largest training x": (methods, {part: one("RMSLE", part) for part in bins}),
        "Log density by x / largest training x": (
            methods,
            {part: one("log density", part) for part in bins},
        ),
        "Coverage by x / largest training x, %": (methods, {part: coverage(part) for part in bins}),
    }
    sampled = {t: m for t, m in results["methods"].items() if "rhat_median" in m}
    tables["Sampling"] = (
        sampled,
        {
            "seconds per curve": lambda row: f"{row['seconds_a_curve']:.1f}",
            "median R-hat": lambda row: f"{row['rhat_median']:.2f}",
            "curves with R-hat above 1.05": lambda row: f"{row['share_rhat_above_1.05']:.0%}",
        },
    )
    lines = ["# Extrapolating 92 curves of one scale", "", f"Made by `{results['command']}`.", ""]
    for heading, (rows, columns) in tables.items():
        cells = {title: [cell(row) for cell in columns.values()] for title, row in rows.items()}
        lines += [f"## {heading}", "", f"| | {' | '.join(columns)} |"]
        lines += ["| --- |" + " ---: |" * len(columns)]
        lines += [f"| {title} | {' | '.join(row)} |" for title, row in cells.items() if any(row)]
        lines += [""]
    return "\n".join([*lines, *(f"- {note}" for note in (*NOTES, f"Curves: {counts}."))]) + "\n"


def _number(score: str, value: float | None) -> str:
    if value is None:
        return ""
    return {
        "RMSLE": f"{value:.4f}",
        "log density": f"{value:.3f}",
        "CRPS": f"{100 * value:.2f}",
        "MSCE": f"{value:.3f}",
    }[score]


def main(
    json_file: Annotated[Path, typer.Option("--json", help="Where the results go.")] = RESULTS
    / "curves.json",
    markdown_file: Annotated[
        Path, typer.Option("--markdown", help="Where the table goes.")
    ] = RESULTS / "curves.md",
    keep: Annotated[
        Path | None, typer.Option(help="A folder for draws, from which a stopped run continues.")
    ] = None,
) -> None:
    """Fit 92 curves with every method and score their extrapolation."""
    if "BAYESCALE_DATA" not in os.environ:
        raise SystemExit("set BAYESCALE_DATA to the folder with benchmark_vision.csv")
    curves = read_curves(Path(os.environ["BAYESCALE_DATA"]))
    with progress(True) as stage:
        methods, learned = all_methods(curves, keep, stage)
        stage("scoring")
        results = report(curves, methods, learned)
    text = markdown(results)
    print(text)
    for path, content in ((json_file, json.dumps(results, indent=2) + "\n"), (markdown_file, text)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
