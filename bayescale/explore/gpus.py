"""The controls of the GPUs on which budgets are spent.

This module does not use Streamlit.
"""

from collections.abc import Mapping
from typing import Any

from bayescale.command_lines import word
from bayescale.errors import BayescaleError, UnitError
from bayescale.explore.controls import Control, named, number
from bayescale.laws.optimum import splits
from bayescale.posterior import Fit
from bayescale.splits.hardware import GPUS, Cluster
from bayescale.units import parse_size

_GPUS, _GPU, _PRICE = "gpus", "gpu", "gpu_price"


def gpu_controls(fit: Fit, given: Cluster | None) -> tuple[Control, ...]:
    """Return the controls of the GPUs; none if the fit's laws split no budget.

    Parameters
    ----------
    fit : Posterior or ModelAverage
    given : Cluster or None
        The cluster of the command line. Its type is a choice even if it has no name, and its
        utilization holds for every type.
    """
    if not splits(fit.inputs):
        return ()
    own = () if given is None or _name(given) in GPUS else (_name(given),)
    return (
        Control(
            _GPUS, "Number of GPUs", "For example 512. The Budget tab then shows days, and models "
            "have to fit into the GPUs' memory. Empty: none.",
            named(_count, "Number of GPUs"),
        ),
        Control(
            _GPU, "Type of GPU", "Its peak FLOP/s and memory. Training reaches "
            + ("40% of the peak." if given is None else "the share that the command states."),
            str, choices=(*GPUS, *own), without="choose one",
        ),
        Control(
            _PRICE, "Dollars for a GPU-hour", "The Budget tab then shows dollars. Empty: none.",
            named(_dollars, "Dollars for a GPU-hour"),
        ),
    )  # fmt: skip


def gpu_texts(given: Cluster | None) -> dict[str, str]:
    """Return the texts of the controls that state the cluster of the command line."""
    if given is None:
        return dict.fromkeys((_GPUS, _GPU, _PRICE), "")
    price = "" if given.price is None else f"{given.price:.15g}"
    return {_GPUS: str(given.gpus), _GPU: _name(given), _PRICE: price}


def read_cluster(
    texts: Mapping[str, str], fit: Fit, given: Cluster | None
) -> tuple[Cluster | None, dict[str, str]]:
    """Return the cluster that texts state, or the problem of each text.

    Parameters
    ----------
    texts : mapping of str to str
        Texts by the name of the control. Without a number of GPUs there is no cluster.
    fit : Posterior or ModelAverage
    given : Cluster or None
        See :func:`gpu_controls`.
    """
    values, problems = {}, {}
    for control in gpu_controls(fit, given):
        if text := texts.get(control.name, "").strip():
            try:
                values[control.name] = control.read(text)
            except BayescaleError as error:
                problems[control.name] = str(error)
            if control.choices and text not in control.choices:
                known = ", ".join(control.choices)
                problems[control.name] = f"GPU {text!r} is unknown: choose one of {known}"
    if problems or _GPUS not in values:
        return None, problems
    if _GPU not in values:
        return None, {_GPU: f"the type of the {values[_GPUS]:,} GPUs is missing: choose one"}
    more: dict[str, Any] = {"price": values.get(_PRICE)}
    if given is not None:
        more["utilization"] = given.utilization
    try:
        if values[_GPU] in GPUS:
            return Cluster.of(values[_GPU], values[_GPUS], **more), {}
        assert given is not None
        return Cluster(values[_GPUS], given.peak, memory=given.memory, **more), {}
    except BayescaleError as error:
        return None, {_GPUS: str(error)}


def _name(cluster: Cluster) -> str:
    """Return the name of a cluster's GPUs, or their peak FLOP/s if they have none."""
    known = [name for name, gpu in GPUS.items() if gpu == (cluster.peak, cluster.memory)]
    return known[0] if known else f"{word(cluster.peak)} FLOP/s"


def _count(text: str, what: str) -> int:
    count = parse_size(text, what)
    if not count.is_integer():
        raise UnitError(f"{what} is {text!r}, which is not a whole number: write 512")
    return int(count)


def _dollars(text: str, what: str) -> float:
    return number(text.removeprefix("$"), what, "dollars such as 2.5")
