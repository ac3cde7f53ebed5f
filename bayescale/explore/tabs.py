"""The tabs of the page: the figure, the answer as the command prints it, and the table of each.

A tab requests its answer when it is opened. Nothing is computed here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from bayescale import drawings
from bayescale.command_lines import command_line
from bayescale.errors import BayescaleError, as_options
from bayescale.explore.answers import (
    Answers,
    coefficients,
    commands,
    needs,
    purchase,
)
from bayescale.explore.controls import scale_of
from bayescale.explore.figure import offer_table, show_figure
from bayescale.explore.text import plain, show_number
from bayescale.formatting import FORMATS, SIZE
from bayescale.posterior import Fit, ModelAverageSummary, Summary
from bayescale.results import Result
from bayescale.splits.hardware import Cluster
from bayescale.units import format_size


@dataclass(frozen=True)
class Opened:
    """The fit and the answers that the tabs show, and their names on the command line.

    Attributes
    ----------
    file : str
        The fit's file.
    laws : tuple of str
        The caller's own laws, each as ``file.py:NAME``.
    allow : bool
        Whether a fit that failed its convergence checks is shown.
    """

    fit: Fit
    answers: Answers
    file: str
    laws: tuple[str, ...]
    allow: bool

    def command(self, name: str, **options: Any) -> str:
        """Return the command line of a question."""
        words = [word for law in self.laws for word in ("--law", law)]
        options |= {"allow_unconverged": self.allow}
        return command_line(name, self.file, options, *words)


def titles(fit: Fit, answers: Answers) -> list[str]:
    """Return the titles of the tabs that suit a fit."""
    split = answers.choice is not None
    return [
        title
        for title in TABS
        if (split or title not in ("Budget", "Data"))
        and (split or scale_of(fit) == "flops" or title != "Next run")
    ]


def show_tab(title: str, page: Opened) -> None:
    """Show a tab, or the reason why it has no answer."""
    try:
        TABS[title](page)
    except BayescaleError as error:
        st.warning(plain(as_options(str(error))))


def _forecast(page: Opened) -> None:
    fit, answers = page.fit, page.answers
    curve, scale = answers.curve.forecast, scale_of(fit)
    show_figure(
        "forecast", lambda: answers.curve.table, drawings.loss_along, curve, scale,
        runs=fit.runs, horizon=answers.trust, run=answers.forecast,
    )  # fmt: skip
    _laws(answers)
    _commands(commands(fit, answers, page.file, page.laws, page.allow))


def _laws(answers: Answers) -> None:
    """Show each law's own answer, if several are averaged."""
    run, allocation = answers.forecast, answers.allocation
    if not run.by_law:
        return
    rows = []
    for i, law in enumerate(run.by_law):
        own = law.to_frame().iloc[0]
        row = {"Law": plain(law.law), "Weight": f"{run.weights[i]:.0%}"}
        for kind, label in (("loss", run.meaning), ("loss_new", run.meaning_new)):
            if f"{kind}_median" in own:
                row[label.capitalize()] = (
                    f"{own[f'{kind}_median']:.3f} ({own[f'{kind}_lower']:.3f} to "
                    f"{own[f'{kind}_upper']:.3f})"
                )
        if allocation is not None:
            choice = allocation.by_law[i].choice.split(0)
            params, tokens = format_size(choice["params"]), format_size(choice["tokens"])
            row["Its own choice"] = f"{params} params on {tokens} tokens"
        rows.append(row)
    st.subheader("Each law alone")
    st.table(pd.DataFrame(rows).set_index("Law"))
    st.markdown(plain(f"Intervals of {run.ci_prob:.0%}; losses at the run above."))


def _budget(page: Opened) -> None:
    allocation = page.answers.allocation
    assert allocation is not None
    row, mass = allocation.to_frame().iloc[0], f"{allocation.ci_prob:.0%} interval"
    params, tokens = row["choice_params"], row["choice_tokens"]
    columns = st.columns(3)
    for column, name, value in (
        (columns[0], "params", params),
        (columns[1], "tokens", tokens),
        (columns[2], "tokens_per_param", tokens / params),
    ):
        form = format_size if name != "tokens_per_param" else FORMATS["three_digits"]
        ends = f"{form(row[f'{name}_lower'])} to {form(row[f'{name}_upper'])}"
        show_number(column, name.replace("_", " ").capitalize(), form(value), ends)
    notes = [f"Small: the best of each draw, {mass}."]
    if allocation.cluster is not None:
        notes.append(_spent(allocation.cluster, row))
    notes += [f"The choice gives up {allocation.choice.regret_text(0, allocation.ci_prob)}."]
    unique = allocation.limits.unique_tokens
    if unique is not None:
        notes.append(
            f"Epochs: {max(tokens / unique, 1.0):.3g} over {format_size(unique)} unique "
            f"tokens; each draw's best {row['epochs_lower']:.3g} to {row['epochs_upper']:.3g}."
        )
    unspent = 1 - row["choice_flops"] / row["flops"]
    if unspent > 0.01:
        notes.append(f"The limits leave {unspent:.0%} of the budget unspent.")
    if allocation.across is not None:
        for item in allocation.across.to_dict(orient="records"):
            wasted = f"{item['wasted']:.2g} FLOP, {item['wasted'] / item['flops']:.1%}"
            notes.append(f"If {item['holds']} holds, {item['follow']}'s choice wastes {wasted}.")
    for note in notes:
        st.markdown(plain(note))
    options = allocation.options
    assert options is not None

    def table() -> pd.DataFrame:
        return options.to_frame(allocation.ci_prob).sort_values("params")

    show_figure("splits", table, drawings.options, page.answers.splits)
    _commands(commands(page.fit, page.answers, page.file, page.laws, page.allow)[:1])


def _spent(cluster: Cluster, row: pd.Series) -> str:
    """Return the budget in days and dollars, and the largest model, as far as these are known."""
    text = f"The budget takes {cluster.time_text(row['flops'], row['choice_params'])}"
    if "dollars" in row:
        text += f", ${row['dollars']:,.0f}"
    if cluster.max_params is not None:
        text += f". Their memory holds at most {format_size(cluster.max_params)} params"
    return f"{text}."


def _trust(page: Opened) -> None:
    result = page.answers.trust
    if result is None:
        st.info("A point estimate has no runs, so nothing can be tested.")
        return
    show_figure("precision", result.to_frame, drawings.precision, result)
    if result.bins:
        show_figure("coverage", lambda: pd.DataFrame(result.bins), drawings.coverage, result)
    _answer(result)
    _commands([page.command("trust", tolerance=page.answers.view.tolerance)])


def _next_run(page: Opened) -> None:
    result = purchase(page.fit, page.answers.view.size)
    if result.answered:
        show_figure("candidates", result.to_frame, drawings.candidates, result)
    _answer(result)
    options = {"target_flops": page.answers.view.size, "budget": result.budget}
    _commands([page.command("next-run", **options)])


def _data(page: Opened) -> None:
    assert page.answers.choice is not None
    params = float(round(page.answers.choice[0]))
    result = needs(page.fit, params, page.answers.view.family)
    if result.answered:
        show_figure("tokens_needed", result.to_frame, drawings.data_need, result)
    _answer(result)
    _commands([page.command("data", params=params, family=page.answers.view.family)])


def _coefficients(page: Opened) -> None:
    result = coefficients(page.fit)
    laws = result.laws if isinstance(result, ModelAverageSummary) else (result,)
    for law in laws:
        if len(laws) > 1:
            st.subheader(plain(law.law))
        if law.frame["prior_lower"].notna().any():
            show_figure(
                f"coefficients_{law.law}", partial(_named_rows, law), drawings.coefficients, law
            )
    _answer(result)
    if page.fit.runs is not None:
        st.subheader("The runs")
        frame = page.fit.runs.frame
        sizes = {name: frame[name].map(form) for name, form in SIZE.items() if name in frame}
        st.dataframe(frame.assign(**sizes), hide_index=True, height=300)
        offer_table("runs", lambda: frame)
    _commands([page.command("summary")])


def _named_rows(law: Summary) -> pd.DataFrame:
    return law.to_frame().reset_index()


def _answer(result: Result) -> None:
    """Show an answer as its command prints it."""
    st.html(f'<div class="answer">{as_options(result.content_html())}</div>')


def _commands(lines: list[str]) -> None:
    with st.expander("On the command line"):
        st.code("\n".join(lines), language=None, wrap_lines=True)


BUDGET = "Budget"
"""The tab that shows other splits of the budget as well."""

TABS: dict[str, Callable[[Opened], None]] = {
    "Forecast": _forecast,
    BUDGET: _budget,
    "Trust": _trust,
    "Next run": _next_run,
    "Data": _data,
    "Coefficients": _coefficients,
}
"""The function that shows each tab, by the tab's title."""

FIRST = next(iter(TABS))
"""The title of the tab that is open at first."""
