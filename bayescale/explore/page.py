"""The page that Streamlit runs, with controls, the answer, and tabs; it computes nothing.

It is started by :func:`bayescale.explore.explore`. Strings from run logs, cards and messages are
shown as text: :func:`bayescale.explore.text.plain` escapes what Markdown would interpret.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from bayescale.errors import BayescaleError, as_options
from bayescale.explore.answers import Answers, answer
from bayescale.explore.controls import Control, controls, first_texts, read_view
from bayescale.explore.gpus import gpu_controls, gpu_texts, read_cluster
from bayescale.explore.opening import FITS, LOGS, MOST_FIT, Upload, take
from bayescale.explore.tabs import BUDGET, FIRST, Opened, show_tab, titles
from bayescale.explore.text import plain, show_number
from bayescale.laws import find_law
from bayescale.posterior import Fit, open_posterior
from bayescale.splits.hardware import Cluster
from bayescale.units import format_size

FOLDED = (
    "Controls are at the left; if they are folded, "
    "\N{RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK} at the top opens them."
)
STYLE = """<style>
.answer div, .answer table { overflow-x: auto; max-width: 100%; }
.answer table { display: block; border-collapse: collapse; font-size: 0.9rem; margin: 0.5rem 0; }
.answer th, .answer td { padding: 0.25rem 0.7rem; text-align: right; white-space: nowrap; }
.answer th { font-weight: 600; }
.answer td:first-child, .answer th:first-child { text-align: left; }
.stMainBlockContainer { padding: 3.25rem 2.5rem 3rem; max-width: 72rem; }
.stMainBlockContainer h1 { font-size: 1.7rem; padding: 0; }
.stMain [data-testid="stMetricValue"] { font-size: 1.7rem; }
.stMain [data-testid="stMetric"] * { white-space: normal; overflow: visible; }
.stMain [data-testid="stMetricDelta"] { background: none; padding: 0; }
@media (max-width: 40rem) { .stMainBlockContainer { padding: 4.25rem 1.25rem 3rem; } }
[data-testid="stSidebarHeader"] { height: 2.5rem; }
.answer { font-size: 0.95rem; overflow-wrap: anywhere; }
</style>"""
_KIND = {"inside": "success", "trusted": "success", "failed": "error"}
_UPLOAD, _TAKEN, _TAB = "upload", "taken", "tab"


def main(arguments: Sequence[str]) -> None:
    """Show the page for these arguments."""
    options = _arguments().parse_args(arguments)
    upload: Upload | None = st.session_state.get(_UPLOAD)
    path = Path(options.file) if upload is None else upload.path
    name = path.name if upload is None else upload.name
    st.set_page_config(
        page_title=f"{name}: bayescale", layout="wide", initial_sidebar_state=_SIDEBAR
    )
    st.html(STYLE)
    try:
        fit = _opened(str(path), path.stat().st_mtime_ns, tuple(options.law))
        fit.require_converged(options.allow_unconverged)
    except (BayescaleError, OSError) as error:
        st.error(plain(as_options(str(error).replace(str(path), name))))
        _other(upload)
        return
    st.title(plain(fit.name))
    source = "a point estimate" if fit.runs is None else f"{len(fit.runs):,} runs"
    st.caption(plain(f"{name}: {source}. {FOLDED}"))
    if not fit.diagnostics["passed"]:
        reasons = "; ".join(fit.diagnostics["reasons"])
        st.error(
            plain(f"Not to be trusted: the sampler failed its convergence checks. {reasons}"),
            icon=":material/warning:",
        )
    texts, places, unknown = _controls(fit, options.cluster)
    _other(upload)
    if unknown:
        names = ", ".join(unknown)
        st.warning(plain(f"The address also names {names}, which this fit does not have."))
    view, problems = read_view(texts, fit)
    cluster, unclear = read_cluster(texts, fit, options.cluster)
    problems |= unclear
    for control, message in problems.items():
        places[control].error(plain(message))
    if view is None or problems:
        # Streamlit forgets the value of an element that is not shown.
        st.session_state[_TAB] = st.session_state[_TAB]
        each = [*controls(fit), *gpu_controls(fit, options.cluster)]
        labels = [control.label for control in each if control.name in problems]
        st.info(plain(f"Nothing is shown until this is corrected: {', '.join(labels)}."))
        return
    try:
        budget = st.session_state.get(_TAB) == BUDGET
        answers = answer(
            fit, view, budget=budget, cluster=cluster,
            allow_unconverged=options.allow_unconverged,
        )  # fmt: skip
    except BayescaleError as error:
        st.session_state[_TAB] = st.session_state[_TAB]
        st.error(plain(as_options(str(error))))
        return
    _answer(answers)
    file = options.file if upload is None else upload.name
    shown = Opened(fit, answers, file, tuple(options.law), options.allow_unconverged)
    for tab, title in zip(_tabs(fit, answers), titles(fit, answers), strict=True):
        if tab.open:
            with tab:
                show_tab(title, shown)


_SIDEBAR: Any = 340  # pixels, if there is room


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="page")
    parser.add_argument("file")
    parser.add_argument("--law", action="append", default=[])
    parser.add_argument("--cluster", type=lambda text: Cluster.from_json(json.loads(text)))
    parser.add_argument("--allow-unconverged", action="store_true")
    return parser


@st.cache_resource(max_entries=2, show_spinner="Opening the fit")
def _opened(path: str, changed: int, laws: tuple[str, ...]) -> Fit:
    """Return a fit, which is opened again only if its file has changed."""
    return open_posterior(path, law=[find_law(name) for name in laws])


def _controls(
    fit: Fit, cluster: Cluster | None
) -> tuple[dict[str, str], dict[str, Any], list[str]]:
    """Show the controls; return their texts, places for messages, and unknown names."""
    state, given = st.session_state, st.query_params.to_dict()
    gpus = gpu_controls(fit, cluster)
    kept = [*(control.name for control in (*controls(fit), *gpus)), _TAB]

    def stated() -> dict[str, str]:
        texts = {name: (state.get(name) or "").strip() for name in kept}
        return texts | ({_TAB: ""} if texts[_TAB] == FIRST else {})

    shown = stated()
    # The address lags behind the controls until the browser receives the new one.
    changed = "shown" in state and shown != state["shown"]
    first = first_texts(fit) | (gpu_texts(cluster) if gpus else {})
    if "address" not in state or (given != state["address"] and not changed):
        shown = first | {_TAB: FIRST} | {name: given[name] for name in kept if name in given}
        state.update(shown)
        state["unknown"] = [name for name in given if name not in kept]
    places = {}

    def show(control: Control) -> None:
        _control(control)
        places[control.name] = st.empty()

    with st.sidebar:
        for control in controls(fit):
            show(control)
        if gpus:
            with st.expander("GPUs", expanded=False):
                for control in gpus:
                    show(control)
    shown = stated()
    # An empty text is part of the address if the page would otherwise open with another.
    address = {name: text for name, text in shown.items() if text or first.get(name)}
    if address != given:
        st.query_params.from_dict(address)
    state["shown"], state["address"] = shown, address
    return shown, places, state["unknown"]


def _control(control: Control) -> None:
    """Show a list of choices, or a text field with a slider, if any, that states its value."""
    state, name = st.session_state, control.name
    if control.choices:
        unknown = [state[name]] if state[name] not in ("", *control.choices) else []
        st.selectbox(
            control.label, ["", *control.choices, *unknown], key=name, help=control.help,
            format_func=lambda choice: choice or control.without,
        )  # fmt: skip
        return
    if not control.steps:
        st.text_input(control.label, key=name, help=control.help, placeholder=control.without)
        return
    slider = f"{name}_slider"
    nearest = control.nearest(state[name])
    if nearest is not None:
        state[slider] = nearest
    slide, write = st.columns([5, 3], vertical_alignment="bottom")
    slide.select_slider(
        control.label, control.steps, key=slider, help=control.help,
        format_func=lambda step: step or control.without,
        on_change=lambda: state.update({name: state[slider]}),
    )  # fmt: skip
    write.text_input(
        f"{control.label}, typed",
        key=name,
        label_visibility="collapsed",
        placeholder=control.without,
    )


def _other(upload: Upload | None) -> None:
    """Show a field that opens another fit, or fits and opens a run log."""
    state = st.session_state
    with st.sidebar, st.expander("Open another", expanded=False):
        given = st.file_uploader(
            "A run log, which is fitted, or a fit",
            [kind.removeprefix(".") for kind in (*LOGS, *FITS)],
            max_upload_size=MOST_FIT,
        )
        if given is not None and given.file_id != state.get(_TAKEN):
            bar = st.progress(0.0, plain(f"Reading {given.name}"))
            try:
                taken = take(
                    given.name, given.getvalue(), lambda done, text: bar.progress(done, plain(text))
                )
            except BayescaleError as error:
                bar.empty()
                st.error(plain(as_options(str(error))))
                return
            state[_TAKEN] = given.file_id
            _go_to(taken)
        if upload is None:
            return
        st.download_button(
            "Download this fit", upload.path.read_bytes, f"{Path(upload.name).stem}.nc",
            on_click="ignore",
        )  # fmt: skip
        if st.button("Go back to the first fit"):
            _go_to(None)


def _go_to(upload: Upload | None) -> None:
    """Start again with another fit, without the controls' values for the previous one."""
    taken = st.session_state.get(_TAKEN)
    st.session_state.clear()
    st.query_params.clear()
    st.session_state.update({_UPLOAD: upload, _TAKEN: taken})
    st.rerun()


def _answer(answers: Answers) -> None:
    """Show the answer and how far to trust it, above all tabs."""
    run, row = answers.forecast, answers.run
    mass = f"{run.ci_prob:.0%} interval"
    where = [f"{format_size(row[name])} {name}" for name in ("params", "tokens") if row[name] > 0]
    where += [f"{row['flops']:.3g} FLOP".replace("e+", "e")] if row["flops"] > 0 else []
    where += [f"language model's loss {row['lm_loss']:.4g}"] if "lm_loss" in row else []
    if answers.choice is not None:
        where.append("the split of least expected loss")
    if run.family is not None:
        where.append(f"for {run.family}")
    st.markdown(plain(", ".join(where)))
    columns = st.columns(3)
    for column, kind, label in (
        (columns[0], "loss", run.meaning), (columns[1], "loss_new", run.meaning_new)
    ):  # fmt: skip
        if f"{kind}_median" in row:
            ends = f"{mass}: {row[f'{kind}_lower']:.4f} to {row[f'{kind}_upper']:.4f}"
            value = f"{row[f'{kind}_median']:.4f}"
            show_number(column, f"{label.capitalize()} ({run.unit})", value, ends)
    if run.target is not None:
        what = run.meaning_new if run.loss_new is not None else f"the {run.meaning}"
        below = f"of {what}; {row['p_mean_below_target']:.0%} of the {run.meaning}"
        label = f"Probability below {run.target:g}"
        show_number(columns[2], label, f"{row['p_below_target']:.0%}", below)
    else:
        show_number(columns[2], "Probability below target", "\N{EM DASH}", "name a target loss")
    state = row["verdict"].replace("_", " ")
    box = getattr(st, _KIND.get(row["verdict"], "warning"))
    box(f"**{state.capitalize()}.** {plain(as_options(row['why']))}")
    for line in run.cautions:
        st.warning(plain(as_options(line)))


def _tabs(fit: Fit, answers: Answers) -> Any:
    """Return the tabs; only the open one is filled, and its title is part of the address."""
    found = titles(fit, answers)
    if st.session_state.get(_TAB) not in found:
        st.session_state[_TAB] = FIRST
    return st.tabs(found, key=_TAB, on_change="rerun")


if __name__ == "__main__":
    main(sys.argv[1:])
