"""What a posterior says in a table: medians, intervals, and which runs stand out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import pandas as pd

from bayescale.posterior.average import Fit, ModelAverage
from bayescale.posterior.posterior import DRIFTING, Posterior
from bayescale.results import DEFAULT_CI_PROB, quantiles

_DRIFT = "drift_"


@dataclass(frozen=True, eq=False)
class Summary:
    """What a posterior says of its coefficients, and whether to believe the sampler.

    Attributes
    ----------
    frame : pandas.DataFrame
        One row a coefficient: ``median``, ``lower``, ``upper`` in ``unit`` (the card's),
        ``learned`` (share of the prior's spread on the log scale that the runs removed), and
        ``prior_median``, ``prior_lower``, ``prior_upper``, NaN where no prior was drawn from.
    ci_prob : float
        Mass of the central interval between lower and upper.
    """

    law: str
    card: str
    n_runs: int
    frame: pd.DataFrame
    ci_prob: float
    diagnostics: Mapping[str, Any]
    seconds: Mapping[str, float]
    surprising: pd.DataFrame
    without_flagged: Mapping[str, Any] | None
    families: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """The coefficients' table."""
        return self.frame.copy()

    def to_json(self) -> dict[str, Any]:
        """Plain values under the keys of the command line."""
        columns = ("median", "lower", "upper", "unit", "contraction")
        rows = {
            str(name): {c: row[c] for c in columns} | {"prior": _prior_json(row)}
            for name, row in self.frame.iterrows()
        }
        return {
            "law": self.law,
            "card": self.card,
            "n_runs": self.n_runs,
            "interval": self.ci_prob,
            "coefficients": {n: q for n, q in rows.items() if not n.startswith(_DRIFT)},
            "drift": {n: q for n, q in rows.items() if n.startswith(_DRIFT)},
            "diagnostics": dict(self.diagnostics),
            "seconds": dict(self.seconds),
            "families": list(self.families),
            "outliers": self.surprising.to_dict(orient="records"),
            "without_outliers": self.without_flagged,
        }

    def __str__(self) -> str:
        lines = [
            f"{self.law} fitted to {self.n_runs} runs (card {self.card})",
            "",
            f"{'':>14}  {'median':>11}  {f'{self.ci_prob:.0%} interval':>25}  contraction  unit",
        ]
        for name, row in self.frame.iterrows():
            between = f"{row['lower']:.5g} to {row['upper']:.5g}"
            contraction = "" if np.isnan(row["contraction"]) else f"{row['contraction']:.0%}"
            lines.append(
                f"{name:>14}  {row['median']:>11.5g}  {between:>25}  {contraction:>11}  "
                f"{row['unit']}"
            )
        lines += ["", "contraction: the share of the prior's spread that the runs removed"]
        if any(str(name).startswith(_DRIFT) for name in self.frame.index):
            lines.append(
                "drift: how far the truth wanders from the law; every forecast allows for it, "
                "the other rows take the law to hold exactly"
            )
        lines.append("")
        lines.append(diagnosis(self.diagnostics))
        if len(self.surprising):
            lines += ["", _surprises(self.surprising, self.without_flagged)]
        return "\n".join(lines)


def _prior_json(row: pd.Series) -> dict[str, float] | None:
    prior = {name: float(row[f"prior_{name}"]) for name in ("median", "lower", "upper")}
    return None if np.isnan(prior["median"]) else prior


def diagnosis(diagnostics: Mapping[str, Any]) -> str:
    """A sentence on the sampler's convergence gate."""
    if diagnostics.get("point"):
        return "A point estimate: one draw, nothing sampled."
    figures = (
        f"R-hat at most {diagnostics['rhat_max']:.3f}, effective draws at least "
        f"{min(diagnostics['ess_bulk_min'], diagnostics['ess_tail_min']):.0f}, "
        f"{diagnostics['divergences']} divergences in {diagnostics['n_draws']} draws"
    )
    if diagnostics["passed"]:
        return f"Sampler: passed ({figures})."
    return f"Sampler: NOT TO BE TRUSTED. {'; '.join(diagnostics['reasons'])} ({figures})."


def _surprises(surprising: pd.DataFrame, without: Mapping[str, Any] | None) -> str:
    shown = [
        f"{row.run_id} (loss {row.loss:.3f}, law says {row.expected:.3f}; {row.why})"
        for row in surprising.head(10).itertuples()
    ]
    more = f" and {len(surprising) - 10} more" if len(surprising) > 10 else ""
    n = f"{len(surprising)} runs stand" if len(surprising) > 1 else "1 run stands"
    lines = [f"{n} out by leave-one-out: {'; '.join(shown)}{more}."]
    if without is not None:
        moves = [
            f"{name} {move['with']['median']:.4g} -> {move['without']['median']:.4g} "
            f"({move['without']['lower']:.4g} to {move['without']['upper']:.4g})"
            for name, move in without["coefficients"].items()
        ]
        lines.append(
            f"Without the surprising ones (90 % intervals): {'; '.join(moves)}. "
            "Keep them if they are sound runs."
            + ("" if without["passed"] else " (That refit missed its convergence gate.)")
        )
    return "\n".join(lines)


def finite(value: float) -> float | None:
    """The number for JSON, which has no infinity."""
    return float(value) if np.isfinite(value) else None


@dataclass(frozen=True, eq=False)
class ModelAverageSummary:
    """What each law of a pool says of its coefficients.

    Attributes
    ----------
    laws : tuple of Summary
    weights : tuple of float
        The laws' shares of the pooled answer.
    """

    laws: tuple[Summary, ...]
    weights: tuple[float, ...]
    diagnostics: Mapping[str, Any]

    @property
    def seconds(self) -> dict[str, float]:
        """Of all laws together."""
        names = {name for law in self.laws for name in law.seconds}
        return {name: sum(law.seconds.get(name, 0.0) for law in self.laws) for name in names}

    def to_frame(self) -> pd.DataFrame:
        """The coefficients' tables, one below the other, by law."""
        return pd.concat({law.law: law.to_frame() for law in self.laws}, names=["law"])

    def to_json(self) -> dict[str, Any]:
        """Plain values under the keys of the command line."""
        answers = {law.law: law.to_json() for law in self.laws}
        shared = ("n_runs", "interval", "families")
        first = answers[self.laws[0].law]
        own = ("law", "seconds", *shared)
        return {
            "laws": {
                name: {key: value for key, value in answer.items() if key not in own}
                for name, answer in answers.items()
            },
            "weights": {law.law: w for law, w in zip(self.laws, self.weights, strict=True)},
            **{key: first[key] for key in shared},
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        shares = [f"{law.law} {w:.0%}" for law, w in zip(self.laws, self.weights, strict=True)]
        head = f"{len(self.laws)} laws pooled ({', '.join(shares)}); forecasts answer from all."
        return "\n\n".join([head, *map(str, self.laws)])


@overload
def summarize(fit: Posterior, ci_prob: float = ...) -> Summary: ...
@overload
def summarize(fit: Fit, ci_prob: float = ...) -> Summary | ModelAverageSummary: ...
def summarize(fit: Fit, ci_prob: float = DEFAULT_CI_PROB) -> Summary | ModelAverageSummary:
    """Medians and central intervals of every coefficient, of the noise and of the drift.

    Parameters
    ----------
    fit : Posterior or ModelAverage
    ci_prob : float
        Mass of the central intervals, 0.9 unless asked otherwise.

    Returns
    -------
    Summary or ModelAverageSummary
        Coefficients and noise take the law to hold exactly, as published ones do.
    """
    if isinstance(fit, ModelAverage):
        laws = tuple(summarize(member, ci_prob) for member in fit.members)
        return ModelAverageSummary(laws, fit.weights, fit.diagnostics)
    posterior = fit
    card, draws = posterior.card, posterior.draws
    described = card.coefficients | card.noise.parameters
    sources = {name: draws for name in described if name in draws}
    if card.drift is not None and DRIFTING in posterior.tree.children:
        described |= card.drift.parameters
        sources |= dict.fromkeys(card.drift.parameters, posterior.drifting().draws)
    has_prior = "prior" in posterior.tree.children
    prior = posterior.tree["prior"].to_dataset() if has_prior else {}
    rows = {}
    for name, source in sources.items():
        factor = described[name].unit_factor
        before = quantiles(prior[name].values / factor if name in prior else np.nan, ci_prob)
        rows[name] = quantiles(source[name].values / factor, ci_prob) | {
            "unit": described[name].unit,
            "contraction": contraction(posterior, name) if source is draws else float("nan"),
            **{f"prior_{key}": value for key, value in before.items()},
        }
    return Summary(
        law=card.law.name,
        card=card.name,
        n_runs=0 if posterior.runs is None else len(posterior.runs),
        frame=pd.DataFrame.from_dict(rows, orient="index"),
        ci_prob=ci_prob,
        diagnostics=posterior.diagnostics,
        seconds=posterior.record.get("seconds", {}),
        surprising=outliers(posterior),
        without_flagged=posterior.record.get("without_flagged"),
        families=posterior.families,
    )


def contraction(posterior: Posterior, name: str) -> float:
    """The share of a coefficient's prior spread, on the log scale, that the runs removed.

    NaN for a point estimate, which has no prior.
    """
    if "prior" not in posterior.tree.children:
        return float("nan")
    prior = posterior.tree["prior"].to_dataset()[name].values
    return float(1 - np.log(posterior.draws[name].values).std() / np.log(prior).std())


def outliers(posterior: Posterior) -> pd.DataFrame:
    """Runs that leave-one-out finds far off the law or moving it much, worst first.

    Returns
    -------
    pandas.DataFrame
        ``run_id``, ``loss``, ``expected`` (nats per token), ``p_value`` (two-sided, of the run
        given all others), ``moves`` (largest shift of a coefficient's mean on leaving the run
        out, in posterior standard deviations), ``moves_coefficient`` and ``why``.
    """
    columns = ["run_id", "loss", "expected", "p_value", "moves", "moves_coefficient", "why"]
    if "leave_one_out" not in posterior.tree.children or posterior.runs is None:
        return pd.DataFrame(columns=columns)
    loo = posterior.tree["leave_one_out"].to_dataset()
    shift = abs(loo["shift"])
    largest = shift.fillna(-1.0).argmax("coefficient")  # of draws that never move it is NaN
    frame = pd.DataFrame(
        {
            "run_id": posterior.runs["run_id"],
            "loss": posterior.runs["loss"],
            "expected": loo["expected"].values,
            "p_value": loo["p_value"].values,
            "moves": shift.max("coefficient").values,
            "moves_coefficient": loo["coefficient"].values[largest.values].astype(str),
            "surprising": loo["surprising"].values.astype(bool),
            "influential": loo["influential"].values.astype(bool),
        }
    )
    flagged = frame[frame["surprising"] | frame["influential"]].copy()
    surprise = [f"p = {p:.2g}" for p in flagged["p_value"]]
    influence = [
        f"moves {name} by {moves:.1f} sd"
        for name, moves in zip(flagged["moves_coefficient"], flagged["moves"], strict=True)
    ]
    reasons = zip(flagged["surprising"], surprise, flagged["influential"], influence, strict=True)
    flagged["why"] = [
        " and ".join([text for flag, text in ((a, why_a), (b, why_b)) if flag])
        for a, why_a, b, why_b in reasons
    ]
    return flagged.sort_values("p_value")[columns].reset_index(drop=True)
