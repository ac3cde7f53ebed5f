"""Checks of what the runs identified, from the posterior."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.errors import MOST_LISTED, leaving_out
from bayescale.findings import Finding
from bayescale.posterior import Fit, Posterior, contraction
from bayescale.validation.design import (
    LITTLE_CONTRACTED,
    centered,
    combination,
    component_name,
    layout_checks,
    least_informed_direction,
    notes_of,
)
from bayescale.verdict import size_scale, sizes

STRONG_CORRELATION = 0.95
HALF_CONTRACTED = 0.5
SENSITIVE = 0.05
"""From this sensitivity on, a prior or the runs matter (Kallioinen et al. 2023)."""

OUTSIDE = 1.645
"""Standard deviations from the center of a normal to the end of its 90 % interval."""

UNRELIABLE_K = 0.7

CONFLICT = "prior and runs disagree"


def identifiability_checks(fit: Fit) -> tuple[Finding, ...]:
    """Return checks of what the runs identified.

    Parameters
    ----------
    fit : Posterior or ModelAverage

    Returns
    -------
    tuple of Finding
        The checks of :func:`bayescale.validation.design.layout_checks`; ``contraction`` (of each
        prior); ``ridges`` (strong correlations of coefficients); ``prior_sensitivity``; and
        ``influential_runs``. For a model average the checks of each law, with codes such as
        ``chinchilla.ridges``. If a fit lacks the draws for a check, the check is for information.

    Notes
    -----
    Prior sensitivity is measured by power-scaling (Kallioinen et al. 2023, arXiv 2107.14054): how
    far a coefficient's posterior moves, as a distance between distribution functions, when the
    density of the prior or of the likelihood is raised to a power near one. Coefficients and priors
    are on the log scale, where this leaves the median of a log-normal in place.
    """
    return tuple(
        replace(check, code=_of(fit, member, check.code, "."))
        for member in fit.members
        for check in (*_quick_checks(member), _sensitivity(member), _influence(member))
    )


def posterior_notes(fit: Fit) -> tuple[Finding, ...]:
    """Return the quick checks that failed, as warnings.

    Parameters
    ----------
    fit : Posterior or ModelAverage

    Returns
    -------
    tuple of Finding
        Codes ``few_runs``, ``narrow_range``, ``narrow_compute``, ``collinear_design``,
        ``prior_decides`` (almost no contraction of a coefficient) and ``ridge`` (strong
        correlations, or almost no contraction of a combination of coefficients).
    """
    return tuple(
        replace(note, text=_of(fit, member, note.text, ": "))
        for member in fit.members
        for note in notes_of(_quick_checks(member))
    )


def _of(fit: Fit, member: Posterior, text: str, separator: str) -> str:
    return text if len(fit.members) == 1 else f"{member.name}{separator}{text}"


def _quick_checks(posterior: Posterior) -> tuple[Finding, ...]:
    layout = () if posterior.runs is None else layout_checks(posterior.runs, posterior.law)
    return (*layout, _contraction(posterior), _ridges(posterior))


def _lacking(posterior: Posterior, name: str, *groups: str) -> Finding | None:
    """Return a finding if the posterior lacks the draws that a check needs, else None."""
    if posterior.runs is None:
        return Finding.check(name, None, "a point estimate has no draws to check")
    missing = [group for group in groups if group not in posterior.tree.children]
    if not missing:
        return None
    text = f"this posterior holds no {' and no '.join(missing)}: fit again for this check"
    return Finding.check(name, None, text)


def _contraction(posterior: Posterior) -> Finding:
    if lacking := _lacking(posterior, "contraction", "prior"):
        return lacking
    prior, names = posterior.tree["prior"].to_dataset(), list(posterior.law.coefficients)
    table = pd.DataFrame(
        {
            "prior_median": [float(prior[name].median()) for name in names],
            "posterior_median": [float(posterior.draws[name].median()) for name in names],
            "contraction": [contraction(posterior, name) for name in names],
            "moved": [_moved(posterior, name) for name in names],
        },
        index=names,
    )
    weak = table["contraction"][table["contraction"] < LITTLE_CONTRACTED].clip(lower=0)
    if len(weak):
        shares = _joined([f"{share:.0%}" for share in weak])
        comes, its = ("come", "their") if len(weak) > 1 else ("comes", "its")
        text = (
            f"{_joined(weak.index)} {comes} from the prior: the runs removed {shares} of {its} "
            "spread. Give priors that you would defend, or train runs that inform it"
        )
        return Finding.check("contraction", False, text, table)
    least = table["contraction"].idxmin()
    text = (
        f"the runs removed at least {table['contraction'].min():.0%} of the prior's spread of "
        f"every coefficient (least of {least}'s)"
    )
    return Finding.check("contraction", True, text, table)


def _moved(posterior: Posterior, name: str) -> float:
    """Return how far the mean log moved from the prior, in standard deviations of the prior."""
    prior = np.log(posterior.tree["prior"].to_dataset()[name].values)
    return float((np.log(posterior.draws[name].values).mean() - prior.mean()) / prior.std())


def _ridges(posterior: Posterior) -> Finding:
    if lacking := _lacking(posterior, "ridges", "prior"):
        return lacking
    law, names = posterior.law, posterior.law.coefficients
    prior, after = (
        np.cov(_logs(posterior, posterior.tree[group].to_dataset()))
        for group in ("prior", "posterior")
    )
    prior, after = np.atleast_2d(prior), np.atleast_2d(after)
    share = 1 - np.sqrt(np.diag(after) / np.diag(prior))
    together = _correlations(after)
    raw = _correlations(
        np.atleast_2d(np.cov([np.log(posterior.draws[name].values).ravel() for name in names]))
    )
    table = pd.DataFrame(
        [
            (names[i], names[j], raw[i, j], together[i, j], min(share[i], share[j]))
            for i, j in combinations(range(len(names)), 2)
        ],
        columns=["first", "second", "correlation", "amid_the_runs", "contraction"],
    ).sort_values("amid_the_runs", key=abs, ascending=False, ignore_index=True)
    strong = table["amid_the_runs"].abs() > STRONG_CORRELATION
    ridges = table[strong & (table["contraction"] < HALF_CONTRACTED)].head(3)
    least, direction = least_informed_direction(prior, after)
    sentences = [
        f"{component_name(law, str(first))} and {component_name(law, str(second))} are known only "
        f"jointly (correlation {r:.2f} of their logs)"
        for first, second, r in zip(
            ridges["first"], ridges["second"], ridges["amid_the_runs"], strict=True
        )
    ]
    sentences.append(combination(law, least, direction, "removed"))
    passed = not len(ridges) and least >= LITTLE_CONTRACTED
    return Finding.check("ridges", passed, "; ".join(sentences), table)


def _logs(posterior: Posterior, draws: xr.Dataset) -> np.ndarray:
    """Return draws transformed by :func:`centered`, shape (coefficient, draw)."""
    assert posterior.runs is not None
    law = posterior.law
    values = {name: draws[name].values.ravel() for name in law.coefficients}
    return np.stack(list(centered(law, posterior.runs, values).values()))


def _correlations(cov: np.ndarray) -> np.ndarray:
    sd = np.sqrt(np.diag(cov))
    return cov / np.outer(sd, sd)


def _sensitivity(posterior: Posterior) -> Finding:
    groups = ("prior", "log_prior", "log_likelihood")
    if lacking := _lacking(posterior, "prior_sensitivity", *groups):
        return lacking
    import arviz as az

    names = list(posterior.law.coefficients)
    likelihood = posterior.tree["log_likelihood"].to_dataset()
    some = {"draw": likelihood["draw"].values}  # a subset for long logs
    tree = xr.DataTree.from_dict(
        {
            "posterior": xr.ufuncs.log(posterior.draws[names].sel(some)),
            "log_prior": _log_prior_of_logs(posterior).sel(some),
            "log_likelihood": likelihood,
        }
    )
    prior, likelihood = (az.psense(tree, group=group) for group in ("prior", "likelihood"))
    table = pd.DataFrame(
        {
            "prior": [float(prior[name]) for name in names],
            "likelihood": [float(likelihood[name]) for name in names],
            "moved": [_moved(posterior, name) for name in names],
        },
        index=names,
    )
    table["diagnosis"] = [_diagnosis(*row) for row in table.itertuples(index=False)]
    leaning = table[table["prior"] >= SENSITIVE].sort_values("prior", ascending=False)
    if leaning.empty:
        most = names[int(table["prior"].argmax())]
        text = (
            f"no coefficient depends on its prior (sensitivity {table['prior'].max():.3f} of "
            f"{most}, less for others; {SENSITIVE} would matter)"
        )
        return Finding.check("prior_sensitivity", True, text, table)
    shown = [f"{name} {value:.2f}" for name, value in leaning["prior"].items()]
    text = (
        f"the priors move the answer (sensitivity: {', '.join(shown)}; {SENSITIVE} matters): fit "
        "again with priors half and twice as wide (`card=`) to see how far"
    )
    against = list(leaning.index[leaning["diagnosis"] == CONFLICT])
    if against:
        text += (
            f". The runs pull {_joined(against)} out of the prior's 90% interval: check the "
            "log's units and tokenizer, or widen that prior"
        )
    return Finding.check("prior_sensitivity", False, text, table)


def _diagnosis(prior: float, likelihood: float, moved: float) -> str:
    if prior < SENSITIVE:
        return "fine"
    if likelihood < SENSITIVE:
        return "the runs say little"
    return CONFLICT if abs(moved) > OUTSIDE else "prior and runs both decide"


def _log_prior_of_logs(posterior: Posterior) -> xr.Dataset:
    """Return the stored log prior densities as densities of the logs of the quantities."""
    card, draws = posterior.card, posterior.draws
    if posterior.runs is not None:
        card = card.anchored(posterior.runs)
    density = posterior.tree["log_prior"].to_dataset()
    described = card.coefficients | card.noise.parameters
    for name in density.data_vars:
        log, prior = xr.ufuncs.log(draws[name]), described[str(name)].prior
        if prior.stated_at:
            term = card.law.terms[str(name)]
            known = {other: draws[other] for other in term.needs}
            log = term.log_value(log, known, prior.log_at(term))
        density[name] = density[name] + log
    return density


def _influence(posterior: Posterior) -> Finding:
    name = "influential_runs"
    if lacking := _lacking(posterior, name, "leave_one_out"):
        return lacking
    assert posterior.runs is not None
    loo = posterior.tree["leave_one_out"].to_dataset()
    shift = loo["shift"].transpose("run", "coefficient").values
    most = abs(shift).argmax(axis=1)
    by, k = shift[np.arange(len(shift)), most], loo["pareto_k"].values
    moves, ids = loo["coefficient"].values[most], posterior.runs["run_id"]
    order = np.argsort(-abs(by))
    table = pd.DataFrame({"run_id": ids, "moves": moves, "by": by, "pareto_k": k})
    table = table.iloc[order].reset_index(drop=True)
    flagged = (loo["influential"].values > 0) | (k > UNRELIABLE_K)
    if not flagged.any():
        text = (
            f"no run is influential: leaving one out moves coefficients by at most "
            f"{abs(by).max():.1f} sd ({ids[order[0]]} moves {moves[order[0]]})"
        )
        return Finding.check(name, True, text, table)
    shown = [
        f"{ids[i]} ({moves[i]} by {by[i]:+.1f} sd"
        + (f", or more: Pareto k {k[i]:.1f})" if k[i] > UNRELIABLE_K else ")")
        for i in order
        if flagged[i]
    ]
    more = "; ..." if len(shown) > MOST_LISTED else ""
    chosen = leaving_out([ids[order[flagged[order]][0]] if len(shown) == 1 else "NAME"])
    text = (
        f"{len(shown)} of {len(ids)} runs would move the answer if left out: "
        f"{'; '.join(shown[:MOST_LISTED])}{more}. Look up how they were trained, and fit "
        f"again without a run that is not sound ({chosen})"
        f"{_without_the_largest(posterior, flagged)}"
    )
    return Finding.check(name, False, text, table)


def _without_the_largest(posterior: Posterior, flagged: np.ndarray) -> str:
    """Return what it costs to leave out the largest run, if it is flagged and no other is as large.

    Forecasts extrapolate from the largest run, and a horizon is a multiple of its size.
    """
    assert posterior.runs is not None
    inputs = posterior.law.inputs
    size = sizes(posterior.runs.frame, inputs)
    largest = np.flatnonzero(size >= size.max() * 0.999)
    if len(largest) != 1 or not flagged[largest[0]]:
        return ""
    scale = size_scale(inputs)
    by = {"flops": "largest run by compute", "lm_loss": "run of the lowest lm_loss"}
    which = by.get(scale, f"largest run by {scale}")
    return (
        f". {posterior.runs['run_id'][largest[0]]} is the {which}: without it, the runs reach less "
        "far, and every forecast extrapolates further"
    )


def _joined(names: "pd.Index | list[str]") -> str:
    *most, last = map(str, names)
    return f"{', '.join(most)} and {last}" if most else last
