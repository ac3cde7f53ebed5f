"""Speed of the posterior of the Chinchilla law, compared with the usual ways to compute it.

The 240 Chinchilla runs that Besiroglu et al. 2024 (arXiv 2404.10102) kept, the law and the priors
of the card ``chinchilla``, and Student-t noise on log loss. Each engine samples this same
posterior, in a process of its own, on the same cores. The published pipeline (a grid of starting
points, then a bootstrap of the Huber estimate) is timed on a part and scaled.

A new process does not mean empty caches: those that the engines keep on disk stay as they are. The
first run on a computer therefore shows longer compile times than the second.

Run: ``python benchmarks/speed.py --json speed.json --markdown speed.md``
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module, metadata
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from huber import differentiated, objective
from rich.console import Console
from rich.table import Table

from bayescale.errors import DataUnavailableError

COEFFICIENTS = ("E", "A", "B", "alpha", "beta")
NAMES = (*COEFFICIENTS, "sigma", "nu")
VERSIONS_OF = ("bayescale", "pymc", "nutpie", "pytensor", "numba", "numpyro", "jax", "scipy")
GET_PEERS = "install with: uv sync --group peers"

GRID = (
    # log E, log A, log B, alpha, beta: 4,500 points
    np.arange(-1, 1.1, 0.5),
    np.arange(0, 26, 5.0),
    np.arange(0, 26, 5.0),
    np.arange(0, 2.1, 0.5),
    np.arange(0, 2.1, 0.5),
)
BOOTSTRAPS = 4000


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of all engines, and the part of the Huber pipeline that is run."""

    draws: int
    tune: int
    chains: int
    cores: int
    seed: int
    starts: int
    bootstraps: int


@dataclass(frozen=True)
class Engine:
    """A way to compute the posterior: its description, its imports, and what it does."""

    title: str
    modules: tuple[str, ...]
    run: Callable[[Any, Any, Settings], dict[str, Any]]


# the engines: each takes runs, card and settings, and returns its measurements


def with_bayescale(runs: Any, card: Any, settings: Settings) -> dict[str, Any]:
    """Sample with this package, by the functions that ``bayescale.fit`` calls."""
    from bayescale.cards import card_for
    from bayescale.inference.compile import compiled_model
    from bayescale.inference.schedule import sample

    card = card_for(runs, card).without_drift()  # which the other engines do not have either
    compiled, compile_seconds = compiled_model(runs, card)
    started = time.perf_counter()
    tree = sample(
        compiled, runs, card, draws=settings.draws, tune=settings.tune, chains=settings.chains,
        cores=settings.cores, seed=settings.seed,
    )  # fmt: skip
    return _tree_record(tree, compile_seconds, time.perf_counter() - started)


def with_pymc(runs: Any, card: Any, settings: Settings, nuts_sampler: str | None) -> dict[str, Any]:
    """Sample the model written directly in PyMC, with PyMC's defaults."""
    import pymc as pm

    started = time.perf_counter()
    prior = _log_normal_priors(card)
    with pm.Model():
        E, alpha, beta, sigma, nu = (
            pm.LogNormal(name, prior[name].mu, prior[name].sigma)
            for name in ("E", "alpha", "beta", "sigma", "nu")
        )
        A = pm.LogNormal("A", prior["A"].mu + alpha * prior["A"].log_at, prior["A"].sigma)
        B = pm.LogNormal("B", prior["B"].mu + beta * prior["B"].log_at, prior["B"].sigma)
        loss = E + A / runs["params"] ** alpha + B / runs["tokens"] ** beta
        pm.StudentT(
            "log_loss", nu=nu, mu=pm.math.log(loss), sigma=sigma, observed=np.log(runs["loss"])
        )
        tree = pm.sample(
            settings.draws, tune=settings.tune, chains=settings.chains, cores=settings.cores,
            random_seed=settings.seed, nuts_sampler=nuts_sampler, progressbar=False,
            compute_convergence_checks=False,  # other engines make none
        )  # fmt: skip
    elapsed = time.perf_counter() - started
    sample_seconds = float(tree["posterior"].attrs["sampling_time"])
    return _tree_record(tree, elapsed - sample_seconds, sample_seconds)


def with_numpyro(runs: Any, card: Any, settings: Settings, dense: bool) -> dict[str, Any]:
    """Sample the model written directly in NumPyro, in double precision, one device per chain."""
    import jax
    import jax.numpy as jnp
    import numpyro
    from numpyro import distributions as dist
    from numpyro.infer import MCMC, NUTS

    numpyro.enable_x64()
    numpyro.set_host_device_count(settings.chains)
    started = time.perf_counter()
    prior = _log_normal_priors(card)
    params, tokens, log_loss = (
        jnp.asarray(x) for x in (runs["params"], runs["tokens"], np.log(runs["loss"]))
    )

    def model() -> None:
        E, alpha, beta, sigma, nu = (
            numpyro.sample(name, dist.LogNormal(prior[name].mu, prior[name].sigma))
            for name in ("E", "alpha", "beta", "sigma", "nu")
        )
        mu_A = prior["A"].mu + alpha * prior["A"].log_at
        mu_B = prior["B"].mu + beta * prior["B"].log_at
        A = numpyro.sample("A", dist.LogNormal(mu_A, prior["A"].sigma))
        B = numpyro.sample("B", dist.LogNormal(mu_B, prior["B"].sigma))
        loss = E + A / params**alpha + B / tokens**beta
        numpyro.sample("log_loss", dist.StudentT(nu, jnp.log(loss), sigma), obs=log_loss)

    seconds: dict[str, float] = {}

    def parallel(chain: Any) -> Any:
        # as chain_method="parallel", but compiled ahead, to be timed separately
        def run(keys: Any) -> Any:
            compiled = jax.pmap(chain).lower(keys).compile()
            compiled_at = time.perf_counter()
            states = jax.block_until_ready(compiled(keys))
            seconds["compile"] = compiled_at - started
            seconds["sample"] = time.perf_counter() - compiled_at
            return states

        return run

    mcmc = MCMC(
        NUTS(model, dense_mass=dense), num_warmup=settings.tune, num_samples=settings.draws,
        num_chains=settings.chains, chain_method=parallel, progress_bar=False,
    )  # fmt: skip
    mcmc.run(jax.random.PRNGKey(settings.seed), extra_fields=("num_steps", "diverging"))
    draws = {name: np.asarray(x) for name, x in mcmc.get_samples(group_by_chain=True).items()}
    extra = mcmc.get_extra_fields()
    return _sampled_record(
        draws, seconds["compile"], seconds["sample"],
        gradients=int(extra["num_steps"].sum()), divergences=int(extra["diverging"].sum()),
    )  # fmt: skip


def with_huber(runs: Any, card: Any, settings: Settings, manual_gradients: bool) -> dict[str, Any]:
    """Run a part of the published pipeline, scaled to the whole as if spread over cores."""
    from scipy.optimize import minimize

    fall = objective if manual_gradients else differentiated()
    rng = np.random.default_rng(settings.seed)
    columns = np.log([runs["params"], runs["tokens"], runs["loss"]])
    grid = np.array(list(product(*GRID)))
    starts = rng.choice(grid, min(settings.starts, len(grid)), replace=False)

    def estimate(start: np.ndarray, columns: np.ndarray) -> Any:
        return minimize(fall, start, args=tuple(columns), jac=True, method="BFGS")

    with np.errstate(all="ignore"):  # far starting points overflow, and lose
        began = time.perf_counter()
        fits = [estimate(start, columns) for start in starts]
        best = min(fits, key=lambda fit: fit.fun if np.isfinite(fit.fun) else np.inf)
        turn = time.perf_counter()
        again = [
            estimate(best.x, columns[:, rng.integers(0, len(runs), len(runs))])
            for _ in range(settings.bootstraps)
        ]
        ended = time.perf_counter()
    parts = (fits, turn - began, len(grid)), (again, ended - turn, BOOTSTRAPS)
    whole_seconds = sum(seconds * total / len(part) for part, seconds, total in parts)
    gradients = sum(sum(f.njev for f in part) * total / len(part) for part, _, total in parts)
    values = (*np.exp(best.x[:3]), *best.x[3:])
    return {
        "compile_seconds": 0.0,
        "sample_seconds": whole_seconds / settings.cores,
        "gradients": round(gradients),
        "coefficients": {n: float(v) for n, v in zip(COEFFICIENTS, values, strict=True)},
        "scaled_from": {
            "starts": f"{len(fits)} of {len(grid)}",
            "starts_at_best": sum(bool(f.fun < 1.01 * best.fun) for f in fits),
            "bootstraps": f"{len(again)} of {BOOTSTRAPS}",
            "seconds": ended - began,
        },
    }


ENGINES = {
    "bayescale": Engine(
        "this package: centered terms, low-rank mass matrix, target acceptance 0.9",
        ("bayescale.inference.fit", "bayescale.inference.model.build", "nutpie"),
        with_bayescale,
    ),
    "pymc": Engine(
        "model written in PyMC, its own NUTS", ("pymc",), partial(with_pymc, nuts_sampler="pymc")
    ),
    "pymc_default": Engine(
        "model written in PyMC, its choice of sampler (nutpie)",
        ("pymc", "nutpie"),
        partial(with_pymc, nuts_sampler=None),
    ),
    "numpyro_diag": Engine(
        "model written in NumPyro, diagonal mass matrix",
        ("numpyro",),
        partial(with_numpyro, dense=False),
    ),
    "numpyro_dense": Engine(
        "model written in NumPyro, dense mass matrix",
        ("numpyro",),
        partial(with_numpyro, dense=True),
    ),
    "huber": Engine(
        "Huber grid and bootstrap, scaled, with manual gradients",
        ("scipy.optimize",),
        partial(with_huber, manual_gradients=True),
    ),
    "huber_autograd": Engine(
        "Huber grid and bootstrap, scaled, with automatic differentiation as published",
        ("scipy.optimize", "autograd"),
        partial(with_huber, manual_gradients=False),
    ),
}


class LogNormal(NamedTuple):
    """Mean and deviation of a log, and the log of the scale at which they are stated.

    A log-normal prior on A / N^alpha at one N is, given alpha, log-normal in A: the mean of log A
    is shifted by alpha times the log of that N.
    """

    mu: float
    sigma: float
    log_at: float


def _log_normal_priors(card: Any) -> dict[str, LogNormal]:
    stated = {**card.coefficients, **card.noise.parameters}
    priors = {name: stated[name].prior for name in NAMES}
    return {
        name: LogNormal(*prior.log_normal, float(np.log(prior.at or 1.0)))
        for name, prior in priors.items()
    }


def _tree_record(tree: Any, compile_seconds: float, sample_seconds: float) -> dict[str, Any]:
    """Measure an engine that returns posterior and sample_stats."""
    stats = tree["sample_stats"]
    return _sampled_record(
        {name: tree["posterior"][name].values for name in NAMES}, compile_seconds, sample_seconds,
        gradients=int(stats["n_steps"].sum()), divergences=int(stats["diverging"].sum()),
    )  # fmt: skip


def _sampled_record(
    draws: dict[str, np.ndarray],
    compile_seconds: float,
    sample_seconds: float,
    gradients: int,
    divergences: int,
) -> dict[str, Any]:
    """Summarize draws of shape (chain, draw); gradients are those after tuning."""
    import arviz as az

    ess = min(float(az.ess(draws[name], method="bulk")) for name in NAMES)
    return {
        "compile_seconds": compile_seconds,
        "sample_seconds": sample_seconds,
        "ess_min": ess,
        "ess_per_second": ess / sample_seconds,
        "rhat_max": max(float(az.rhat(draws[name])) for name in NAMES),
        "divergences": divergences,
        "gradients": gradients,
        "gradients_per_draw": gradients / draws["E"].size,
        "gradients_per_effective_draw": gradients / ess,
        "coefficients": {name: float(np.median(draws[name])) for name in COEFFICIENTS},
    }


# one engine per process


def problem() -> tuple[Any, Any]:
    """Return runs and card, without the five highest losses, as Besiroglu et al. fitted them."""
    from bayescale.cards import load_card
    from bayescale.datasets import load

    runs = load("chinchilla").take(lambda frame: frame["loss"].rank(ascending=False) > 5)
    return runs, load_card("chinchilla")


def measure_here(name: str, settings: Settings) -> dict[str, Any]:
    """Import, compile and sample with one engine in this process."""
    if hasattr(os, "sched_setaffinity"):  # a larger computer would favor some engines
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: settings.cores])
    started = time.perf_counter()
    for module in ENGINES[name].modules:
        import_module(module)
    import_seconds = time.perf_counter() - started

    record = ENGINES[name].run(*problem(), settings)
    parts = import_seconds, record["compile_seconds"], record["sample_seconds"]
    return {
        "import_seconds": import_seconds,
        **record,
        "total_seconds": sum(parts),
        # of this process and its workers: hardly depends on other load
        "cpu_seconds": sum(os.times()[:4]),
    }


def measure(name: str, settings: Settings) -> dict[str, Any]:
    """Measure an engine in a new process, or say why it was skipped."""
    roots = {module.partition(".")[0] for module in ENGINES[name].modules}
    if missing := sorted(root for root in roots if find_spec(root) is None):
        return {"skipped": f"{', '.join(missing)} missing; {GET_PEERS}"}
    options = [f"--{option}={value}" for option, value in asdict(settings).items()]
    environment = {"OMP_NUM_THREADS": "1"} | os.environ
    child = subprocess.run(
        [sys.executable, __file__, f"--engine={name}", *options],
        stdout=subprocess.PIPE, text=True, check=False, env=environment,
    )  # fmt: skip
    if child.returncode:
        return {"skipped": f"failed with exit status {child.returncode}"}
    return json.loads(child.stdout.splitlines()[-1])


# the report


def compared(records: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Compute ratios to the other engines; above one, bayescale is better."""
    own = records.get("bayescale", {"skipped": "not asked for"})
    peers = {name: r for name, r in records.items() if name != "bayescale" and "skipped" not in r}
    if "skipped" in own:
        return {}
    ratios = {}
    for name, record in peers.items():
        ratios[name] = {"total_seconds": record["total_seconds"] / own["total_seconds"]}
        if "ess_min" in record:
            key = "gradients_per_effective_draw"
            ratios[name] |= {
                "ess_per_second": own["ess_per_second"] / record["ess_per_second"],
                key: record[key] / own[key],
            }
    return ratios


def lines(results: dict[str, Any]) -> list[list[str]]:
    """Make the table: a line per measure, a column per engine, the header first."""
    measured = {name: r for name, r in results["engines"].items() if "skipped" not in r}
    ratios = {name: results["ratios"].get(name, {}) for name in measured}
    coefficients = {name: record["coefficients"] for name, record in measured.items()}
    table = (
        ("ESS/s, bayescale / this", ratios, "ess_per_second", ".1f"),
        ("gradients per ESS, this / bayescale", ratios, "gradients_per_effective_draw", ".1f"),
        ("total seconds, this / bayescale", ratios, "total_seconds", ".1f"),
        ("import s", measured, "import_seconds", ".1f"),
        ("compile s", measured, "compile_seconds", ".1f"),
        ("sample s", measured, "sample_seconds", ".1f"),
        ("total s", measured, "total_seconds", ".1f"),
        ("CPU s of the process", measured, "cpu_seconds", ".1f"),
        ("smallest ESS", measured, "ess_min", ",.0f"),
        ("ESS/s of sampling", measured, "ess_per_second", ",.0f"),
        ("gradients per draw", measured, "gradients_per_draw", ".1f"),
        ("gradients per ESS", measured, "gradients_per_effective_draw", ".1f"),
        ("largest R-hat", measured, "rhat_max", ".3f"),
        ("divergent draws", measured, "divergences", "d"),
        *((name, coefficients, name, ".4g") for name in COEFFICIENTS),
    )  # fmt: skip
    return [["", *(name.replace("_", " ") for name in measured)]] + [
        [label, *(format(r[key], spec) if key in r else "" for r in source.values())]
        for label, source, key, spec in table
    ]


def notes(results: dict[str, Any]) -> list[str]:
    """Write the notes on the table."""
    s, machine, records = results["settings"], results["machine"], results["engines"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    texts = [
        "Seconds depend on the computer and its other load. Compare the ratios: they are all "
        "within this one run. The shorter the sampling, the noisier its seconds and ESS/s; "
        "gradients per ESS do not depend on time.",
        f"240 Chinchilla runs, card chinchilla, {s['chains']} chains of {s['tune']} tuning steps "
        f"and {s['draws']} draws on {s['cores']} cores: the same for all samplers. Models written "
        "directly sample A and B, with their sampler's defaults (target acceptance 0.8).",
        "Sampling seconds include tuning; gradients are those after tuning. ESS is the smallest "
        f"bulk effective sample size of {', '.join(NAMES)}. Coefficients are posterior medians.",
        f"{machine['system']}, {machine['cpu_count']} CPUs, load {machine['load_at_start']} before "
        f"the start; Python {machine['python']}; {versions}.",
        *(f"{name.replace('_', ' ')}: {ENGINES[name].title}." for name in records),
    ]
    scaled = {name: r["scaled_from"] for name, r in records.items() if "scaled_from" in r}
    texts += [
        f"{name.replace('_', ' ')} was NOT run whole: {part['starts']} starting points (drawn at "
        f"random) and {part['bootstraps']} bootstraps took {part['seconds']:.1f} s on one core, "
        f"which is scaled to the whole and divided by {s['cores']} as if spread perfectly over the "
        "cores (CPU seconds are those of the part). It gives an estimate and a bootstrap of it, "
        "not a posterior, so there is no ESS; its coefficients are the best estimate, which "
        f"{part['starts_at_best']} of these starting points reached."
        for name, part in scaled.items()
    ]
    skipped = {name: r["skipped"] for name, r in records.items() if "skipped" in r}
    return [*texts, *(f"SKIPPED {name}: {reason}" for name, reason in skipped.items())]


def markdown(results: dict[str, Any]) -> str:
    """Write the report as a page."""
    header, *body = lines(results)
    rule = ["---", *["---:"] * (len(header) - 1)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *body))
    text = "\n".join(f"- {note}" for note in notes(results))
    return f"# Speed\n\nMade by `{results['command']}`.\n\n{table}\n\n{text}\n"


def show(results: dict[str, Any]) -> None:
    """Print the report."""
    header, *body = lines(results)
    table = Table(*header)
    for column in table.columns[1:]:
        column.justify = "right"
    for line in body:
        table.add_row(*line)
    console = Console()
    console.print(table)
    for note in notes(results):
        console.print(f"- {note}", highlight=False, markup=False)


def chosen_engines(text: str) -> Sequence[str]:
    """Parse names of engines, separated by commas."""
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in ENGINES]:
        raise typer.BadParameter(f"{', '.join(unknown)}: use some of {', '.join(ENGINES)}")
    return names


def version_of(package: str) -> str:
    """Return the installed version of a package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def main(
    draws: Annotated[int, typer.Option(help="Draws per chain.")] = 1000,
    tune: Annotated[int, typer.Option(help="Tuning steps per chain.")] = 500,
    chains: int = 4,
    cores: Annotated[int, typer.Option(help="Cores that every engine may use.")] = 2,
    seed: int = 0,
    starts: Annotated[int, typer.Option(help="Starting points of the Huber pipeline run.")] = 450,
    bootstraps: Annotated[int, typer.Option(help="Bootstraps of the Huber pipeline run.")] = 400,
    engines: Annotated[str, typer.Option(help="Names, separated by commas.")] = ",".join(ENGINES),
    json_file: Annotated[Path | None, typer.Option("--json", help="Write results here.")] = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", help="Write the report here as a page.")
    ] = None,
    engine: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Time ways to compute the posterior of the Chinchilla law, each in its own process."""
    settings = Settings(
        draws=draws, tune=tune, chains=chains, cores=cores, seed=seed, starts=starts,
        bootstraps=bootstraps,
    )  # fmt: skip
    if engine is not None:
        print(json.dumps(measure_here(engine, settings)))
        return
    names = chosen_engines(engines)
    try:
        problem()  # otherwise every engine would fail without data
    except DataUnavailableError as error:
        sys.exit(str(error))
    results: dict[str, Any] = {
        "command": " ".join(["python", "benchmarks/speed.py", *sys.argv[1:]]),
        "settings": asdict(settings),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cpu_count": os.cpu_count(),
            "load_at_start": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
            "python": platform.python_version(),
        },
        "versions": {name: version_of(name) for name in VERSIONS_OF},
        "engines": {},
    }
    for name in names:
        print(f"{ENGINES[name].title} ...", file=sys.stderr)
        results["engines"][name] = measure(name, settings)
    results["ratios"] = compared(results["engines"])
    show(results)
    for path, text in (
        (json_file, json.dumps(results, indent=2) + "\n"),
        (markdown_file, markdown(results)),
    ):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
