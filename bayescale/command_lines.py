"""Questions as people type them: the command line that gives an answer."""

import shlex
from collections.abc import Mapping
from typing import Any

from bayescale.splits.hardware import GPUS, Cluster
from bayescale.splits.utilization import Utilization
from bayescale.units import format_size, parse_size


def command_line(command: str, file: str, options: Mapping[str, Any], *words: str) -> str:
    """Return the command line of a question.

    Parameters
    ----------
    command, file : str
    options : mapping of str to object
        Values by argument name; those that are None are left out, True stands for a flag, and a
        list for an option that is repeated.
    words : str
        Further words, unchanged.
    """
    typed = ["bayescale", command, file]
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            typed.append(option)
        elif value is not None and value is not False:
            for one in value if isinstance(value, list) else [value]:
                typed += [option, word(one)]
    return shlex.join([*typed, *words])


def word(value: Any) -> str:
    """Return a value as a word of a command line, exact to the last bit."""
    if isinstance(value, tuple):
        return ",".join(map(word, value))
    if not isinstance(value, float):
        return str(value)
    text = format_size(value)
    if value >= 1000 and parse_size(text) == value:
        return text.replace("e+", "e")
    whole = value.is_integer() and value < 1e15
    return str(int(value)) if whole else repr(value).replace("e+", "e")


def cluster_options(cluster: Cluster | None) -> dict[str, Any]:
    """Return the options that state a cluster, by argument name; none without one."""
    if cluster is None:
        return {}
    known = [name for name, gpu in GPUS.items() if gpu == (cluster.peak, cluster.memory)]
    gpu: dict[str, Any] = {"gpu_flops": cluster.peak, "gpu_memory": cluster.memory}
    shares = cluster.utilization
    return {
        "gpus": cluster.gpus,
        **({"gpu": known[0]} if known else gpu),
        "gpu_price": cluster.price,
        "utilization": [f"{word(size)}={word(share)}" for size, share in shares.pairs]
        if isinstance(shares, Utilization)
        else shares,
    }
