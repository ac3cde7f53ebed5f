"""Posterior: draws of a law's coefficients, with the law, card and runs they came from.

Opening, summarising and forecasting need neither PyMC nor nutpie.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.cards import ModelCard, parse_card
from bayescale.errors import CardError, PosteriorError, UnconvergedError
from bayescale.files import replacing
from bayescale.laws import LAWS, Law
from bayescale.runs import LeftOut, Note, Runs

FORMAT = 1
"""Version of the posterior file. A file with a higher one was made by a later package."""

DEFAULT_INTERVAL = 0.9


@dataclass(frozen=True, eq=False)
class Posterior:
    """A fitted law. Made by :func:`bayescale.fit`, :func:`open_posterior` or :func:`point`.

    Attributes
    ----------
    tree : xarray.DataTree
        An ordinary ArviZ tree: ``posterior`` (dims chain, draw) with every coefficient in raw
        units, ``sigma`` and ``nu``, ``sample_stats``, ``prior``, ``prior_predictive``,
        ``posterior_predictive``, ``log_likelihood``, ``log_prior``, ``observed_data``,
        ``constant_data``, and ``leave_one_out`` (dim run).
    card : ModelCard
        Priors and likelihood.
    runs : Runs or None
        The runs that were fitted; None for a published point estimate.
    record : mapping
        ``diagnostics``, ``provenance``, ``seconds`` and ``without_flagged`` as plain values.
    """

    tree: xr.DataTree
    card: ModelCard
    runs: Runs | None
    record: Mapping[str, Any]

    @property
    def law(self) -> Law:
        """The law whose coefficients these are."""
        return self.card.law

    @property
    def draws(self) -> xr.Dataset:
        """The ``posterior`` group, dims chain and draw."""
        return self.tree["posterior"].to_dataset()

    @property
    def families(self) -> tuple[str, ...]:
        """Families with coefficients of their own; empty where none are pooled."""
        if "family" not in self.draws.coords:
            return ()
        return tuple(str(name) for name in self.draws["family"].values)

    @cached_property
    def _rng_seed(self) -> int:
        return int(self.record.get("provenance", {}).get("seed", 0))

    def rng(self, purpose: int) -> np.random.Generator:
        """A generator for predictive draws: the same purpose gives the same numbers."""
        return np.random.default_rng([self._rng_seed, purpose])

    def coefficients(self, family: str | None = None) -> dict[str, xr.DataArray]:
        """Draws of every coefficient, dims (chain, draw), in raw units.

        Parameters
        ----------
        family : str, optional
            One of :attr:`families`. Without it, where families are pooled, the coefficients
            are those of a new family, drawn from the spread between the known ones.

        Raises
        ------
        PosteriorError
            If there is no such family.
        """
        draws, law = self.draws, self.law
        values = {name: draws[name] for name in law.coefficients}
        if family is not None and family not in self.families:
            raise PosteriorError(
                f"family {family!r} is not among those of this fit: "
                f"{', '.join(self.families) or 'it does not tell families apart'}"
            )
        rng = self.rng(purpose=1)
        for name in self.card.family if self.families else ():
            if family is not None:
                values[name] = draws[f"{name}_by_family"].sel(family=family, drop=True)
            else:
                deviation = draws[f"{name}_spread"] * rng.standard_normal(draws[name].shape)
                term = law.terms[name]
                slope = term.slope(values[term.exponent] if term.exponent else None)
                values[name] = values[name] * np.exp(deviation / slope)
        return values

    def loss(self, inputs: Mapping[str, xr.DataArray], family: str | None = None) -> xr.DataArray:
        """The law's mean loss draw by draw, dims (chain, draw, ...) in nats per token."""
        return self.law.loss(**inputs, **self.coefficients(family))

    def loss_of_runs(self) -> xr.DataArray:
        """The law's mean loss at the runs it was fitted to, dims (chain, draw, run).

        Where families are pooled, each run has its own family's coefficients.
        """
        runs, draws = self.runs, self.draws
        if runs is None:
            raise PosteriorError("a point estimate was not fitted to any runs")
        inputs = {name: xr.DataArray(runs[name], dims="run") for name in self.law.inputs}
        if not self.families or not all(f"{name}_by_family" in draws for name in self.card.family):
            return self.loss(inputs)
        family = xr.DataArray(runs["family"].astype(str), dims="run")
        values = {
            name: draws[f"{name}_by_family"].sel(family=family).drop_vars("family")
            if name in self.card.family
            else draws[name]
            for name in self.law.coefficients
        }
        return self.law.loss(**inputs, **values)

    def noise(self, template: xr.DataArray, purpose: int = 2) -> xr.DataArray:
        """One run's deviation from the law on log loss, a fresh draw for each element.

        Raises
        ------
        PosteriorError
            If the posterior is a point estimate that states no noise.
        """
        draws = self.draws
        if "sigma" not in draws:
            raise PosteriorError(
                "this is a point estimate without a noise scale: it can say what the mean run "
                "reaches, not what one new run does"
            )
        rng, shape = self.rng(purpose), template.shape
        if "nu" in draws:
            nu = draws["nu"].broadcast_like(template).transpose(*template.dims)
            standard = rng.standard_t(nu.values)
        else:
            standard = rng.standard_normal(shape)
        return draws["sigma"] * template.copy(data=standard)

    def new_run(self, loss: xr.DataArray) -> xr.DataArray:
        """One new run for each draw of the mean loss, in nats per token.

        It scatters as the fitted runs do about the law, without any error of measurement.
        """
        with np.errstate(over="ignore"):  # few degrees of freedom reach an endless loss
            return loss * xr.ufuncs.exp(self.noise(loss))

    @property
    def diagnostics(self) -> Mapping[str, Any]:
        """What the convergence gate measured: rhat_max, ess_bulk_min, ..., passed, reasons."""
        return self.record["diagnostics"]

    def require_converged(self, allow: bool = False) -> None:
        """Refuse draws that failed the convergence gate.

        Raises
        ------
        UnconvergedError
            Unless the gate was passed or ``allow`` is true.
        """
        if not (allow or self.diagnostics["passed"]):
            raise UnconvergedError(
                "this posterior failed its convergence gate, so nothing is computed from it: "
                f"{'; '.join(self.diagnostics['reasons'])}. Fit again with more --draws, or use "
                "it all the same with --allow-unconverged"
            )

    def __str__(self) -> str:
        return str(summarise(self))


def point(
    card: ModelCard,
    values: Mapping[str, float],
    *,
    sigma: float | None = None,
    nu: float | None = None,
) -> Posterior:
    """A point estimate as a posterior with one draw, so that it goes through the same code.

    Parameters
    ----------
    card : ModelCard
        The card whose law the values belong to.
    values : mapping of str to float
        Every coefficient, in raw units; for a published one see
        :meth:`ModelCard.published_values`.
    sigma, nu : float, optional
        Noise scale on log loss and degrees of freedom, for forecasts of one new run.

    Examples
    --------
    >>> from bayescale.cards import load_card
    >>> card = load_card("chinchilla")
    >>> besiroglu = point(card, card.published_values("besiroglu_2024"))
    >>> loss = besiroglu.loss({"params": 70e9, "tokens": 1.4e12})
    >>> round(float(loss.squeeze()), 4)
    1.9739
    """
    if set(values) != set(card.law.coefficients):
        raise PosteriorError(
            f"a point of law {card.law.name!r} needs {', '.join(card.law.coefficients)}; given "
            f"{', '.join(values)}"
        )
    noise = {k: v for k, v in {"sigma": sigma, "nu": nu}.items() if v is not None}
    dataset = xr.Dataset(
        {k: (("chain", "draw"), np.full((1, 1), float(v))) for k, v in {**values, **noise}.items()},
        coords={"chain": [0], "draw": [0]},
    )
    record = {
        "diagnostics": {"passed": True, "reasons": [], "point": True},
        "provenance": {"seed": 0},
        "seconds": {},
    }
    return Posterior(xr.DataTree.from_dict({"posterior": dataset}), card, None, record)


# summary


@dataclass(frozen=True, eq=False)
class Summary:
    """What a posterior says of its coefficients, and whether to believe the sampler.

    Attributes
    ----------
    frame : pandas.DataFrame
        One row a coefficient: ``median``, ``lower``, ``upper`` in ``unit`` (the card's),
        ``learned`` (share of the prior's spread on the log scale that the runs removed).
    interval : float
        Mass of the central interval between lower and upper.
    """

    law: str
    card: str
    n_runs: int
    frame: pd.DataFrame
    interval: float
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
        columns = ("median", "lower", "upper", "unit", "learned")
        return {
            "law": self.law,
            "card": self.card,
            "n_runs": self.n_runs,
            "interval": self.interval,
            "coefficients": {
                str(name): {c: row[c] for c in columns} for name, row in self.frame.iterrows()
            },
            "diagnostics": dict(self.diagnostics),
            "seconds": dict(self.seconds),
            "families": list(self.families),
            "surprising_runs": self.surprising.to_dict(orient="records"),
            "without_surprising_runs": self.without_flagged,
        }

    def __str__(self) -> str:
        lines = [
            f"{self.law} fitted to {self.n_runs} runs (card {self.card})",
            "",
            f"{'':>14}  {'median':>11}  {f'{self.interval:.0%} interval':>25}  learned  unit",
        ]
        for name, row in self.frame.iterrows():
            between = f"{row['lower']:.5g} to {row['upper']:.5g}"
            learned = "" if np.isnan(row["learned"]) else f"{row['learned']:.0%}"
            lines.append(
                f"{name:>14}  {row['median']:>11.5g}  {between:>25}  {learned:>7}  {row['unit']}"
            )
        lines += ["", "learned: how much of the prior's spread the runs removed", ""]
        lines.append(_diagnosis(self.diagnostics))
        if len(self.surprising):
            lines += ["", _surprises(self.surprising, self.without_flagged)]
        return "\n".join(lines)


def _diagnosis(diagnostics: Mapping[str, Any]) -> str:
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
        )
    return "\n".join(lines)


def quantiles(values: Any, interval: float = DEFAULT_INTERVAL) -> dict[str, float]:
    """Median and central interval of draws, reduced over everything."""
    flat = np.asarray(values, dtype=float).ravel()
    lower, median, upper = np.quantile(flat, [(1 - interval) / 2, 0.5, (1 + interval) / 2])
    return {"median": float(median), "lower": float(lower), "upper": float(upper)}


def summarise(posterior: Posterior, interval: float = DEFAULT_INTERVAL) -> Summary:
    """Medians and central intervals of every coefficient and of the noise.

    Parameters
    ----------
    posterior : Posterior
    interval : float
        Mass of the central intervals, 0.9 unless asked otherwise.
    """
    card, draws = posterior.card, posterior.draws
    described = card.coefficients | card.noise.parameters
    prior = posterior.tree["prior"].to_dataset() if "prior" in posterior.tree.children else None
    rows = {}
    for name in (*card.law.coefficients, *card.noise.parameters):
        if name not in draws:
            continue
        values = draws[name].values / described[name].unit_factor
        learned = np.nan
        if prior is not None:
            learned = 1 - np.log(draws[name].values).std() / np.log(prior[name].values).std()
        rows[name] = quantiles(values, interval) | {
            "unit": described[name].unit,
            "learned": float(learned),
        }
    return Summary(
        law=card.law.name,
        card=card.name,
        n_runs=0 if posterior.runs is None else len(posterior.runs),
        frame=pd.DataFrame.from_dict(rows, orient="index"),
        interval=interval,
        diagnostics=posterior.diagnostics,
        seconds=posterior.record.get("seconds", {}),
        surprising=surprising_runs(posterior),
        without_flagged=posterior.record.get("without_flagged"),
        families=posterior.families,
    )


def surprising_runs(posterior: Posterior) -> pd.DataFrame:
    """Runs that leave-one-out finds far off the law or moving it much, worst first.

    Returns
    -------
    pandas.DataFrame
        ``run_id``, ``loss``, ``expected`` (nats per token), ``p_value`` (two-sided, of the run
        given all others), ``moves`` (largest shift of a coefficient's mean on leaving the run
        out, in posterior standard deviations), ``moves_coefficient`` and ``why``.
    """
    if "leave_one_out" not in posterior.tree.children or posterior.runs is None:
        return pd.DataFrame(columns=["run_id", "loss", "expected", "p_value", "moves", "why"])
    loo = posterior.tree["leave_one_out"].to_dataset()
    largest = abs(loo["shift"]).argmax("coefficient")
    frame = pd.DataFrame(
        {
            "run_id": posterior.runs["run_id"],
            "loss": posterior.runs["loss"],
            "expected": loo["expected"].values,
            "p_value": loo["p_value"].values,
            "moves": abs(loo["shift"]).max("coefficient").values,
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
    columns = ["run_id", "loss", "expected", "p_value", "moves", "moves_coefficient", "why"]
    return flagged.sort_values("p_value")[columns].reset_index(drop=True)


# files


def save(posterior: Posterior, path: str | Path) -> Path:
    """Write a posterior to a NetCDF file, whole or not at all.

    Raises
    ------
    OutputError
        If the folder does not exist or cannot be written to.
    """
    path = Path(path)
    tree = posterior.tree.copy()
    if posterior.runs is not None:
        tree["runs"] = xr.DataTree(_runs_dataset(posterior.runs))
    tree.attrs = {
        "bayescale_format": FORMAT,
        "law": posterior.law.name,
        "card": posterior.card.text,
        "record": json.dumps(posterior.record),
        **{f"provenance_{k}": v for k, v in posterior.record["provenance"].items()},
    }
    with replacing(path) as temporary:
        tree.to_netcdf(temporary, engine="h5netcdf")
    return path


def open_posterior(path: str | Path, *, law: Law | None = None) -> Posterior:
    """Open a posterior file, wholly into memory.

    Parameters
    ----------
    path : path
        A file written by :func:`save` or ``bayescale fit``.
    law : Law, optional
        The law, where it is the caller's own: a file holds no code.

    Raises
    ------
    PosteriorError
        If the file is absent, truncated, not a posterior of ours, or made by a later version.
    """
    path = Path(path)
    if not path.is_file():
        raise PosteriorError(f"posterior file {str(path)!r} does not exist")
    with path.open("rb") as stream:
        if stream.read(8) != b"\x89HDF\r\n\x1a\n":
            raise PosteriorError(
                f"{path.name} is not a posterior file (NetCDF): give one that bayescale fit wrote"
            )
    try:
        with xr.open_datatree(path, engine="h5netcdf") as opened:
            tree = opened.load()
    except Exception as error:  # h5py raises many kinds on damaged files
        raise PosteriorError(
            f"{path.name} is damaged or cut short ({type(error).__name__}): fit again or restore it"
        ) from error
    found = tree.attrs.get("bayescale_format")
    if found is None or "posterior" not in tree.children:
        raise PosteriorError(
            f"{path.name} is a NetCDF file, but not a posterior that bayescale wrote"
        )
    if int(found) > FORMAT:
        raise PosteriorError(
            f"{path.name} has format {int(found)}, made by a later version of bayescale; this one "
            f"reads up to {FORMAT}: upgrade bayescale"
        )
    name = tree.attrs["law"]
    if law is None and name not in LAWS:
        raise PosteriorError(
            f"{path.name} was fitted with your own law {name!r}, whose equation is not in the "
            "file: name it with --law file.py:NAME"
        )
    try:
        card = parse_card(tree.attrs["card"], law=law, place=f"the card in {path.name}")
        record = json.loads(tree.attrs["record"])
        runs = _runs_from(tree["runs"].to_dataset()) if "runs" in tree.children else None
    except (CardError, KeyError, ValueError) as error:
        raise PosteriorError(f"{path.name} cannot be understood: {error}") from error
    if runs is not None:
        del tree["runs"]
    tree.attrs = {}
    return Posterior(tree, card, runs, record)


def _runs_dataset(runs: Runs) -> xr.Dataset:
    data = {c: ("run_index", np.asarray(runs[c])) for c in runs.frame.columns}
    about = {
        "columns": dict(runs.columns),
        "dropped": [list(item) for item in runs.dropped],
        "warnings": [list(item) for item in runs.warnings],
        "source": runs.source,
    }
    return xr.Dataset(data, attrs={"about": json.dumps(about)})


def _runs_from(dataset: xr.Dataset) -> Runs:
    about = json.loads(dataset.attrs["about"])
    return Runs(
        frame=pd.DataFrame({str(k): v.values for k, v in dataset.data_vars.items()}),
        columns=about["columns"],
        dropped=tuple(LeftOut(*item) for item in about["dropped"]),
        warnings=tuple(Note(*item) for item in about["warnings"]),
        source=about["source"],
    )
