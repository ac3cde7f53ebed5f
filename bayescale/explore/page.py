"""The page that Streamlit runs: controls and their answers. It computes nothing.

Started by :func:`bayescale.explore.explore`. Whatever comes from a run log, a card or a message
is shown as text: :func:`plain` escapes what Markdown would interpret.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bayescale.errors import BayescaleError
from bayescale.explore.answers import (
    Answers,
    answer,
    commands,
    controls,
    first_texts,
    read_view,
)
from bayescale.explore.charts import loss_chart, loss_text, splits_chart, splits_text
from bayescale.posterior import Fit
from bayescale.units import format_size

NEW_FAMILY = "a new family"
FOLDED = (
    "Change a control at the left, and every answer follows. Where they are folded, "
    "\N{RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK} at the top opens them."
)
_KIND = {"inside": "success", "trusted": "success", "failed": "error"}
_LINKS = re.compile(r":(?=\S)|www(?=\.)|@", re.IGNORECASE)
_MARKUP = re.compile(r"([!-/:-@\[-`{-~])")


def main(arguments: Sequence[str]) -> None:
    """Show the page for these arguments."""
    import streamlit as st

    options = _arguments().parse_args(arguments)
    path = Path(options.file)
    st.set_page_config(page_title=f"{path.name}: bayescale", layout="wide")
    try:
        fit = _opened()(str(path), path.stat().st_mtime_ns, tuple(options.law))
        fit.require_converged(options.allow_unconverged)
    except (BayescaleError, OSError) as error:
        st.error(plain(str(error)))
        return
    st.title(plain(fit.name))
    source = "a point estimate" if fit.runs is None else f"{len(fit.runs)} runs"
    st.markdown(plain(f"{path.name}: {source}. {FOLDED}"))
    if not fit.diagnostics["passed"]:
        reasons = "; ".join(fit.diagnostics["reasons"])
        st.error(
            plain(f"Not to be trusted: the sampler failed its convergence checks. {reasons}"),
            icon=":material/warning:",
        )
    texts, places, unknown = _controls(fit)
    if unknown:
        names = ", ".join(unknown)
        st.warning(plain(f"The address also names {names}, which this fit does not have."))
    view, problems = read_view(texts, fit)
    for name, message in problems.items():
        places[name].error(plain(message))
    if view is None:
        labels = [control.label for control in controls(fit) if control.name in problems]
        st.info(plain(f"Nothing is shown until this is corrected: {', '.join(labels)}."))
        return
    try:
        answers = answer(fit, view, allow_unconverged=options.allow_unconverged)
    except BayescaleError as error:
        st.error(plain(str(error)))
        return
    _forecast(fit, answers)
    _allocation(answers)
    _charts(fit, answers)
    _laws(answers)
    with st.expander("The same on the command line"):
        lines = commands(fit, answers, options.file, tuple(options.law), options.allow_unconverged)
        st.code("\n".join(lines), language=None, wrap_lines=True)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="page")
    parser.add_argument("file")
    parser.add_argument("--law", action="append", default=[])
    parser.add_argument("--allow-unconverged", action="store_true")
    return parser


def plain(text: str) -> str:
    """Escape text so that Markdown shows it as it is."""
    # Markdown also makes links and icons of bare text, unless a zero-width character breaks them.
    text = _LINKS.sub("\\g<0>\N{WORD JOINER}", text)
    return _MARKUP.sub(r"\\\1", text).replace("\n", "  \n")


def _opened() -> Any:
    """Return a function that opens a fit once, and again where the file has changed."""
    import streamlit as st

    from bayescale.laws import find_law
    from bayescale.posterior import open_posterior

    @st.cache_resource(max_entries=2, show_spinner="Opening the fit")
    def opened(path: str, changed: int, laws: tuple[str, ...]) -> Fit:
        return open_posterior(path, law=[find_law(name) for name in laws])

    return opened


def _controls(fit: Fit) -> tuple[dict[str, str], dict[str, Any], list[str]]:
    """Show the controls; return their texts, places for messages, and unknown names."""
    import streamlit as st

    state, given = st.session_state, st.query_params.to_dict()
    names = [control.name for control in controls(fit)]
    shown = {name: state.get(name, "") for name in names}
    # The address lags behind the controls until the browser receives the new one.
    changed = "shown" in state and shown != state["shown"]
    if "address" not in state or (given != state["address"] and not changed):
        shown = first_texts(fit) | {name: given[name] for name in names if name in given}
        state.update(shown)
        state["unknown"] = [name for name in given if name not in names]
    places = {}
    with st.sidebar:
        st.header("Ask")
        for control in controls(fit):
            if control.choices:
                other = (
                    [shown[control.name]]
                    if shown[control.name] not in ("", *control.choices)
                    else []
                )
                st.selectbox(
                    control.label, ["", *control.choices, *other],
                    key=control.name, help=control.help,
                    format_func=lambda name: name or NEW_FAMILY,
                )  # fmt: skip
            else:
                st.text_input(control.label, key=control.name, help=control.help)
            places[control.name] = st.empty()
    shown = {name: state[name] for name in names}
    address = {name: text.strip() for name, text in shown.items() if text.strip()}
    if address != given:
        st.query_params.from_dict(address)
    state["shown"], state["address"] = shown, address
    return shown, places, state["unknown"]


def _forecast(fit: Fit, answers: Answers) -> None:
    import streamlit as st

    run, row = answers.forecast, answers.run
    mass = f"{run.ci_prob:.0%} interval"
    st.header("Forecast")
    where = [f"{format_size(row[name])} {name}" for name in ("params", "tokens") if row[name] > 0]
    where += [f"{row['flops']:.3g} FLOP"] if row["flops"] > 0 else []
    where += [f"language model's loss {row['lm_loss']:.4g}"] if "lm_loss" in row else []
    if answers.allocation is not None:
        where.append("the split of least expected loss")
    if run.family is not None:
        where.append(f"for {run.family}")
    st.markdown(plain(", ".join(where)))
    columns = st.columns(3)
    for column, kind, label in (
        (columns[0], "loss", run.meaning), (columns[1], "loss_new", run.meaning_new)
    ):  # fmt: skip
        if f"{kind}_median" in row:
            column.metric(f"{label.capitalize()} ({run.unit})", f"{row[f'{kind}_median']:.4f}")
            ends = f"{row[f'{kind}_lower']:.4f} to {row[f'{kind}_upper']:.4f}"
            column.markdown(plain(f"{mass}: {ends}"))
    if run.target is not None:
        what = run.meaning_new if run.loss_new is not None else f"the {run.meaning}"
        columns[2].metric(f"Probability below {run.target:g}", f"{row['p_below_target']:.0%}")
        columns[2].markdown(f"of {what}; {row['p_mean_below_target']:.0%} of the {run.meaning}")
    else:
        columns[2].metric("Probability below target", "\N{EM DASH}")
        columns[2].markdown("name a target loss")
    state = row["verdict"].replace("_", " ")
    box = getattr(st, _KIND.get(row["verdict"], "warning"))
    box(f"**{state.capitalize()}.** {plain(row['why'])}")
    for line in run.cautions:
        st.warning(plain(line))


def _allocation(answers: Answers) -> None:
    import streamlit as st

    allocation = answers.allocation
    if allocation is None:
        return
    row, mass = allocation.to_frame().iloc[0], f"{allocation.ci_prob:.0%} interval"
    params, tokens = row["choice_params"], row["choice_tokens"]
    st.header("Allocation")
    columns = st.columns(3)
    for column, name, value in (
        (columns[0], "params", params),
        (columns[1], "tokens", tokens),
        (columns[2], "tokens_per_param", tokens / params),
    ):
        form = format_size if name != "tokens_per_param" else "{:.3g}".format
        column.metric(name.replace("_", " ").capitalize(), form(value))
        ends = f"{form(row[f'{name}_lower'])} to {form(row[f'{name}_upper'])}"
        column.markdown(plain(f"each draw's best, {mass}: {ends}"))
    notes = [f"The choice gives up {allocation.choice.regret_text(0, allocation.ci_prob, None)}."]
    unique = allocation.limits.unique_tokens
    if unique is not None:
        notes.append(
            f"Epochs: {max(tokens / unique, 1.0):.3g} over {format_size(unique)} unique "
            f"tokens; each draw's best {row['epochs_lower']:.3g} to {row['epochs_upper']:.3g}."
        )
    unspent = 1 - row["choice_flops"] / row["flops"]
    if unspent > 0.01:
        notes.append(f"The limits leave {unspent:.0%} of the budget unspent.")
    for note in notes:
        st.markdown(plain(note))


def _charts(fit: Fit, answers: Answers) -> None:
    import streamlit as st

    st.header("Figures")
    columns = st.columns(2) if answers.allocation is not None else [st.container()]
    if answers.allocation is not None:
        with columns[0]:
            st.subheader("What other splits give up")
            st.vega_lite_chart(_inked(splits_chart(answers)), width="stretch")
            st.markdown(plain(splits_text(answers)))
    with columns[-1]:
        st.subheader("How far it reaches")
        st.vega_lite_chart(_inked(loss_chart(fit, answers)), width="stretch")
        st.markdown(plain(loss_text(fit, answers)))


def _inked(chart: dict[str, Any]) -> dict[str, Any]:
    """Give the figure the page's text color: Streamlit's own labels are too pale."""
    import streamlit as st

    ink = "#e6eaf1" if st.context.theme.type == "dark" else "#31333f"
    letters = {"labelColor": ink, "titleColor": ink}
    return chart | {"config": {"axis": letters, "legend": letters}}


def _laws(answers: Answers) -> None:
    """Show each law's own answer, where several are averaged."""
    import pandas as pd
    import streamlit as st

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
                    f"{own[f'{kind}_median']:.4f} ({own[f'{kind}_lower']:.4f} to "
                    f"{own[f'{kind}_upper']:.4f})"
                )
        if allocation is not None:
            choice = allocation.by_law[i].choice.split(0)
            params, tokens = format_size(choice["params"]), format_size(choice["tokens"])
            row["Its own choice"] = f"{params} params on {tokens} tokens"
        rows.append(row)
    st.header("Each law alone")
    st.table(pd.DataFrame(rows).set_index("Law"))
    st.markdown(plain(f"Intervals of {run.ci_prob:.0%}; losses at the run above."))
    if allocation is not None and allocation.across is not None:
        for row in allocation.across.to_dict(orient="records"):
            wasted = f"{row['wasted']:.2g} FLOP, {row['wasted'] / row['flops']:.1%}"
            text = f"If {row['holds']} holds, {row['follow']}'s choice wastes {wasted}."
            st.markdown(plain(text))


if __name__ == "__main__":
    main(sys.argv[1:])
