"""A checklist of what readers need to judge a scaling law, filled in from a fit's file.

The themes are those of (Mis)Fitting (Li, Kudugunta and Zettlemoyer 2025, arXiv 2502.18969), in our
own words. Points that the file does not answer are listed too, so that their absence is seen.
"""

from typing import NamedTuple

import numpy as np

from bayescale.conventions import UNKNOWN
from bayescale.conventions.stated import in_words
from bayescale.posterior import Fit, loss_unit_of
from bayescale.runs import Runs
from bayescale.units import format_size

REFERENCE = "Li, Kudugunta and Zettlemoyer 2025, (Mis)Fitting, arXiv 2502.18969"


class Item(NamedTuple):
    """One point to report; ``answer`` is None if the file does not hold it."""

    theme: str
    question: str
    answer: str | None


def checklist(fit: Fit, *, use: str) -> tuple[Item, ...]:
    """Return the checklist, filled in as far as the fit holds the answers.

    Parameters
    ----------
    fit : Posterior or ModelAverage
    use : str
        A sentence on what the report uses the law for.
    """
    return (*_form(fit, use), *_training(fit.runs), *_counting(fit.runs), *_data(fit.runs),
            *_fitting(fit))  # fmt: skip


def _form(fit: Fit, use: str) -> list[Item]:
    theme = "Form of the law"
    laws = "; ".join(
        f"{m.name}: {m.card.title} ({m.law.reference or 'own law'})" for m in fit.members
    )
    pooled = [f"{w:.0%} {m.name}" for m, w in zip(fit.members, fit.weights, strict=True)]
    return [
        Item(theme, "Which form is fitted?", laws),
        Item(
            theme,
            "Why this form, and which others were tried?",
            f"Averaged because runs cannot choose among them: {', '.join(pooled)}."
            if pooled[1:]
            else None,
        ),
        Item(theme, "What is it a function of, and what does it predict?", _predicts(fit)),
        Item(theme, "What is the hypothesis that it is to test?", None),
        Item(theme, "What is it used for here?", use),
        Item(
            theme,
            "Is the law taken to hold exactly?",
            "Coefficients: yes. Forecasts allow for drift, the law's own error, whose size is "
            "inferred."
            if all(m.card.drift is not None for m in fit.members)
            else "Yes.",
        ),
    ]


def _predicts(fit: Fit) -> str:
    what = (
        "mean error over tasks"
        if fit.inputs == ("lm_loss",)
        else f"loss in {loss_unit_of(fit).words}"
    )
    return f"{what}, from {', '.join(fit.inputs)}"


def _training(runs: Runs | None) -> list[Item]:
    theme = "Training setup"
    items = [
        Item(theme, "How many models were trained?", None if runs is None else f"{len(runs)} runs")
    ]
    for name, question in (
        ("params", "Of which sizes?"),
        ("tokens", "On how many tokens?"),
        ("flops", "With how much compute?"),
    ):
        items.append(Item(theme, question, _range(runs, name)))
    ratio = None
    if runs is not None and {"params", "tokens"} <= set(runs.frame.columns):
        values = runs["tokens"] / runs["params"]
        if np.isfinite(values).all():
            ratio = f"{values.min():.3g} to {values.max():.3g}"
    items.append(Item(theme, "At how many tokens per parameter?", ratio))
    items.append(Item(theme, "Were data repeated or pruned?", _repeated(runs)))
    family = None
    if runs is not None and "family" in runs:
        names = list(dict.fromkeys(runs["family"].astype(str)))
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if names[8:] else "")
        family = f"{len(names)} families by name only: {shown}"
    items.append(Item(theme, "Of which architecture?", family))
    items += [
        Item(theme, question, None)
        for question in (
            "On which data and split?",
            "With which optimizer and hyperparameters, and how were they chosen at each size?",
            "With which learning-rate schedule, and was it matched to each run's length?",
            "With which batch size and context length?",
            "Are code, weights and logs public?",
        )
    ]
    return items


def _range(runs: Runs | None, name: str) -> str | None:
    if runs is None or name not in runs or not np.isfinite(runs[name]).all():
        return None
    low, high = runs[name].min(), runs[name].max()
    if name == "flops":
        return f"{low:.3g} to {high:.3g} FLOP"
    return f"{format_size(low)} to {format_size(high)} {name}"


def _repeated(runs: Runs | None) -> str | None:
    if runs is None:
        return None
    parts = []
    if "unique_tokens" in runs and "tokens" in runs:
        epochs = runs["tokens"] / runs["unique_tokens"]
        parts.append(f"repeated {np.nanmin(epochs):.3g} to {np.nanmax(epochs):.3g} times")
    if "kept_fraction" in runs:
        kept = runs["kept_fraction"]
        parts.append(f"{np.nanmin(kept):.0%} to {np.nanmax(kept):.0%} of the data kept")
    return "; ".join(parts) or None


def _counting(runs: Runs | None) -> list[Item]:
    theme = "How things were counted"
    columns = {} if runs is None else runs.columns
    read = {name: f"read from {place}" for name, place in columns.items()}
    if columns.get("flops", "").startswith("6 *"):
        read["flops"] = f"computed: {columns['flops']}"
    return [
        Item(theme, "Where do parameter counts come from?", read.get("params")),
        Item(theme, "Do they include embeddings?", _stated(runs, "params")),
        Item(theme, "Where does compute come from?", read.get("flops")),
        Item(
            theme,
            "Does it include attention, embeddings and recomputation?",
            _stated(runs, "flops"),
        ),
        Item(
            theme,
            "In which count are budgets spent?",
            None if runs is None else runs.flop_count.in_words(),
        ),
        Item(theme, "Where does the loss come from?", read.get("loss")),
        Item(theme, "In which unit was it logged?", _stated(runs, "loss")),
        Item(theme, "Per token of which tokenizer?", _tokenizer(runs)),
        Item(theme, "On which evaluation set was it measured?", _stated(runs, "evaluation_set")),
        Item(
            theme,
            "How well is each loss itself known?",
            read.get("loss_se") and f"its standard error is {read['loss_se']}",
        ),
    ]


def _stated(runs: Runs | None, name: str) -> str | None:
    value = UNKNOWN if runs is None else getattr(runs.conventions, name)
    return None if value == UNKNOWN else in_words(name, value)


def _tokenizer(runs: Runs | None) -> str | None:
    name = _stated(runs, "tokenizer")
    per_byte = None if runs is None else runs.conventions.tokens_per_byte
    if per_byte is None:
        return name
    return f"{name or 'one not named'}, {per_byte:.4g} tokens a byte of the evaluation set"


def _data(runs: Runs | None) -> list[Item]:
    theme = "Data collection"
    dropped = None
    if runs is not None:
        dropped = "None was." if not runs.dropped else f"{len(runs.dropped)} were (see Provenance)."
    return [
        Item(theme, "Were runs left out when the log was read, and why?", dropped),
        Item(theme, "Were runs left out before that?", None),
        Item(theme, "Is each row the end of a run, or are intermediate checkpoints among them?",
             None),
        Item(theme, "Were losses smoothed or interpolated?", None),
        Item(theme, "Were runs repeated with other seeds?", None),
    ]  # fmt: skip


def _fitting(fit: Fit) -> list[Item]:
    theme = "Fitting"
    noise = {
        "StudentT": "Student-t with inferred scale and degrees of freedom",
        "Normal": "normal with inferred scale",
    }
    kinds = list(dict.fromkeys(noise[m.card.noise.dist] for m in fit.members))
    provenance, d = fit.record["provenance"], fit.diagnostics
    sampled = not d.get("point")
    algorithm = initial = None
    if sampled and "nutpie" in provenance:
        algorithm = (
            f"NUTS (nutpie {provenance['nutpie']}, PyMC {provenance['pymc']}), {d['n_draws']} "
            "draws kept in all"
        )
        initial = (
            f"Several chains from dispersed starts; R-hat at most {d['rhat_max']:.3f}, "
            f"{min(d['ess_bulk_min'], d['ess_tail_min']):.0f} effective draws or more, "
            f"{d['divergences']} divergences; attempts: {d.get('attempts', 'not recorded')}"
        )
    kept = fit.record.get("backtest")
    validated = None
    if kept is not None:
        validated = f"{kept['n']} held-out larger runs from {len(kept['cutoffs'])} cutoffs"
    cards = ", ".join(m.card.name for m in fit.members)
    without = [m.name for m in fit.members if m.record.get("without_outliers")]
    loo = any("leave_one_out" in m.tree.children for m in fit.members)
    return [
        Item(theme, "Which objective?",
             f"Posterior of the law given log loss; noise {'; '.join(kinds)}"),
        Item(theme, "Which algorithm?", algorithm),
        Item(theme, "From which starting points, and did it converge?", initial),
        Item(theme, "Which priors?",
             f"Those of card {cards}, each with its reason (see Coefficients)" if sampled
             else None),
        Item(theme, "How uncertain is the answer?",
             "Central 90% intervals throughout, of all draws" if sampled else None),
        Item(theme, "Was it validated on runs that were not fitted?", validated),
        Item(theme, "How does it depend on single runs and on the priors?",
             "Leave-one-out and prior sensitivity (see What the runs cannot tell)"
             + (f"; refitted without outliers: {', '.join(without)}" if without else "")
             if loo else None),
        Item(theme, "Can it be made again?",
             f"Seed {provenance['seed']}, digests and versions (see Provenance)" if sampled
             else None),
    ]  # fmt: skip
