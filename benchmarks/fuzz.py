"""Fuzzing of all readers: no input may raise an exception other than the package's own.

Every reader in ``tests/support/hostile.py`` (run logs, cards, posterior files, trackers' files,
typed commands) gets inputs that Atheris changes so as to reach new branches of the package,
starting from the examples in the tests. A fault is an exception other than a ``BayescaleError``, a
warning, ten seconds of computing, a gigabyte more of memory, or the end of the process. Each
reader has a process of its own, which is started again if an input ends it.

Run: ``python benchmarks/fuzz.py --seconds 450``, or with names of readers. Writes
``benchmarks/results/fuzz.json`` and ``fuzz.md``; readers that were not tried stay as they were.
The shortest input of each fault, with its traceback, goes into ``benchmarks/faults``.
"""

import hashlib
import importlib
import json
import pkgutil
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

HERE = Path(__file__).parent
RESULTS, FAULTS = HERE / "results", HERE / "faults"
TESTS = HERE.parent / "tests"

SLOW_S, HANGS_S = 10, 60
LARGE_MB, MOST_MB = 1000, 4000
WORDS = 600
"""Most words that Atheris may write into an input: from the examples and from TRAPS."""
TRAPS = (
    b"nan", b"inf", b"-inf", b"-1", b"0", b"1e999", b"1e308", b"1e-320", b"9" * 60, b"null",
    b"true", b"[[[[[[[[", b"{}", b'""', b"\xff\xfe", b"\xef\xbb\xbf", b"\0", b"\r\n", b"1_000",
    b"0x10",
)  # fmt: skip


# in a process of its own: one reader


def fuzz_here(name: str, home: Path, seconds: int) -> None:
    """Fuzz one reader for some seconds; does not return."""
    import atheris

    sys.path.insert(0, str(TESTS))
    with atheris.instrument_imports(include=["bayescale"]):
        import bayescale

        for module in pkgutil.walk_packages(bayescale.__path__, "bayescale."):
            if not module.name.startswith("bayescale.explore.page"):  # which runs when imported
                importlib.import_module(module.name)
        from support import hostile

    door = hostile.DOORS[name]
    shutil.copy(hostile._fit_file(home.parent), home)
    examples, corpus = door.examples(home), home / "corpus"
    if not corpus.exists():
        corpus.mkdir()
        for i, example in enumerate(examples):
            (corpus / f"example_{i}").write_bytes(example)
    (home / "words.txt").write_text(dictionary(examples, hostile.OPTIONS))
    warnings.simplefilter("error")

    def one(data: bytes) -> None:
        started, peak = time.process_time(), peak_mb()
        try:
            hostile.refuses(door, data, home)
        except BaseException as error:  # a panic in Rust is not an Exception
            keep(name, where(error), data, traceback.format_exc())
        if (spent := time.process_time() - started) > SLOW_S:
            keep(name, "slow", data, f"{spent:.0f} s of computing")
        if (grown := peak_mb() - peak) > LARGE_MB:
            keep(name, "large", data, f"{grown:.0f} MB more")

    options = {
        "max_total_time": seconds,
        "timeout": HANGS_S,
        "rss_limit_mb": MOST_MB,
        "detect_leaks": 0,
        "dict": home / "words.txt",
        "artifact_prefix": f"{home}/ended_",
    }
    atheris.Setup(
        ["fuzz", *(f"-{key}={value}" for key, value in options.items()), str(corpus)], one
    )
    atheris.Fuzz()


def peak_mb() -> float:
    """Return the peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def dictionary(examples: list[bytes], options: frozenset[str]) -> str:
    """Write words in libFuzzer's notation."""
    found = dict.fromkeys((*TRAPS, *(option.encode() for option in sorted(options))))
    for example in examples:
        found |= dict.fromkeys(re.findall(rb"[A-Za-z_][\w.-]{2,30}", example[:100_000]))
    quoted = ("".join(f"\\x{byte:02x}" for byte in word) for word in list(found)[:WORDS])
    return "".join(f'"{word}"\n' for word in quoted)


def where(error: BaseException) -> str:
    """Identify a fault: its type, and the last line of the package in its traceback."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    ours = [frame for frame in frames if "/bayescale/" in frame.filename] or frames
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "nowhere"
    return f"{type(error).__name__} at {place}"


def keep(name: str, fault: str, data: bytes, details: str) -> None:
    """Keep a fault, unless it is known from an input that is as short."""
    mark = hashlib.sha256(fault.encode()).hexdigest()[:8]
    path = FAULTS / name.replace(" ", "_") / f"{mark}.input"
    if path.exists() and path.stat().st_size <= len(data):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.with_suffix(".txt").write_text(f"{fault}\n\n{details}")


# the process that starts the others


def fuzz_reader(name: str, home: Path, seconds: int, report: Any) -> dict[str, Any]:
    """Fuzz one reader for some seconds, in as many processes as needed."""
    home.mkdir()
    shutil.rmtree(FAULTS / name.replace(" ", "_"), ignore_errors=True)
    row = {"door": name, "seconds": 0, "inputs": 0, "edges_of_examples": 0, "edges": 0}
    end = time.monotonic() + seconds
    while (left := round(end - time.monotonic())) > 0:
        command = [sys.executable, __file__, name, "--seconds", str(left), "--inside", str(home)]
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, errors="replace"
        )
        assert process.stderr is not None
        before, last = row["inputs"], []
        for line in process.stderr:
            last = [*last[-40:], line]
            if found := re.match(r"#(\d+)\s+(\w+)\s+cov: (\d+)", line):
                row["inputs"] = before + int(found[1])
                row["edges"] = max(row["edges"], int(found[3]))
                if found[2] == "INITED":
                    row["edges_of_examples"] = row["edges_of_examples"] or int(found[3])
                report(row, seconds - end + time.monotonic())
        if process.wait():
            ended = list(home.glob("ended_*"))
            if not ended:  # it did not try any input
                raise RuntimeError("".join(last))
            for path in ended:
                keep(name, path.name.split("-")[0], path.read_bytes(), "".join(last))
                path.unlink()
    row["seconds"] = seconds
    texts = sorted((FAULTS / name.replace(" ", "_")).glob("*.txt"))
    row["faults"] = [
        {
            "fault": path.read_text().split("\n", 1)[0],
            "shortest_input_bytes": path.with_suffix(".input").stat().st_size,
            "kept_as": str(path.with_suffix(".input").relative_to(HERE)),
        }
        for path in texts
    ]
    return row


def table(results: dict[str, Any]) -> str:
    """Write the results as a page."""
    rows = results["doors"]
    faults = sum(len(row["faults"]) for row in rows)
    lines = [
        "# Fuzzing",
        "",
        f"{sum(row['inputs'] for row in rows):,} inputs in "
        f"{sum(row['seconds'] for row in rows) / 60:.0f} minutes, made by Atheris "
        f"{results['atheris']} to reach new branches of the package: {faults or 'no'} "
        f"fault{'' if faults == 1 else 's'}. Faults are exceptions that are not the package's "
        "own, warnings, ten seconds of computing, a gigabyte more of memory, or the end of the "
        "process.",
        "",
        "| reader | seconds | inputs | edges of the examples | edges reached | faults |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['door']} | {row['seconds']} | {row['inputs']:,} | {row['edges_of_examples']:,} | "
        f"{row['edges']:,} | {', '.join(f['fault'] for f in row['faults']) or 'none'} |"
        for row in rows
    ]
    return "\n".join([*lines, "", "Made by `python benchmarks/fuzz.py`.", ""])


def main(
    doors: Annotated[
        list[str] | None, typer.Argument(help="Names of readers; all by default.")
    ] = None,
    seconds: Annotated[int, typer.Option(min=1, help="Seconds for each reader.")] = 200,
    inside: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Fuzz the readers."""
    if inside is not None:
        assert doors
        fuzz_here(doors[0], inside, seconds)
    sys.path.insert(0, str(TESTS))
    from support.hostile import DOORS

    if unknown := set(doors or ()) - set(DOORS):
        raise typer.BadParameter(f"no reader {', '.join(unknown)}: there are {', '.join(DOORS)}")
    file = RESULTS / "fuzz.json"
    known = json.loads(file.read_text())["doors"] if file.exists() else []
    rows = {row["door"]: row for row in known if row["door"] in DOORS}
    chosen = doors or list(DOORS)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    with tempfile.TemporaryDirectory() as folder, progress:
        bar = progress.add_task("", total=seconds * len(chosen))
        for i, name in enumerate(chosen):

            def report(row: dict[str, Any], spent: float, i: int = i) -> None:
                words = f"{row['door']}: {row['inputs']:,} inputs, {row['edges']:,} edges"
                progress.update(bar, description=words, completed=i * seconds + spent)

            home = Path(folder) / name.replace(" ", "_")
            rows[name] = fuzz_reader(name, home, seconds, report)
            results = {
                "atheris": metadata.version("atheris"),
                "python": platform.python_version(),
                "doors": [rows[door] for door in DOORS if door in rows],
            }
            file.write_text(json.dumps(results, indent=1) + "\n")
            (RESULTS / "fuzz.md").write_text(table(results))


if __name__ == "__main__":
    typer.run(main)
