"""Fits of many run logs, given one by one as they end; failed fits do not stop the others."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bayescale.cards import ModelCard, runs_for
from bayescale.errors import PosteriorError, collected, shortened
from bayescale.files import require_folder
from bayescale.inference.fit import Source, cards_of, fit, made_with
from bayescale.laws import LAWS, Law
from bayescale.posterior import Fit, Posterior, open_posterior, save
from bayescale.progress import progress
from bayescale.runs import Runs, as_runs, require_runs_for
from bayescale.tasks import outcomes


@dataclass(frozen=True, eq=False)
class Fitted:
    """How the fit of one log ended.

    Attributes
    ----------
    name : str
        Name of the log.
    path : Path or None
        Its posterior file, if a folder was given.
    error : str
        Why there is no fit; empty if there is one.
    resumed : bool
        Whether the file existed before, so that nothing was fitted.
    laws : tuple of Law
        The fitted laws, with which the file is opened.
    """

    name: str
    path: Path | None = None
    error: str = ""
    resumed: bool = False
    laws: tuple[Law, ...] = ()
    _held: Fit | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        ended = f"failed: {self.error}" if self.error else "fitted"
        return f"<Fitted {shortened(f'{self.name}: {ended}')}>"

    @property
    def fit(self) -> Fit:
        """The posterior or model average; read from its file if there is one.

        Raises
        ------
        PosteriorError
            If the fit failed.
        """
        if self.error:
            raise PosteriorError(f"{self.name} has no fit: {self.error}")
        if self._held is not None:
            return self._held
        assert self.path is not None
        return open_posterior(self.path, law=[law for law in self.laws if law.name not in LAWS])


@dataclass(frozen=True, eq=False)
class Job:
    """A fit for a worker process, which saves it to a file or returns it."""

    runs: Runs
    laws: str | Law | Sequence[str | Law | ModelCard] | None
    card: str | Path | ModelCard | None
    settings: Mapping[str, Any]
    path: Path | None

    def __call__(self) -> Fit | None:
        """Fit on one core; return the fit unless it is saved to a file."""
        made = fit(self.runs, self.laws, card=self.card, cores=1, **self.settings)  # type: ignore[call-overload]
        if self.path is None:
            return made
        save(made, self.path)
        return None


def fit_many(
    logs: Mapping[str, Source],
    law: str | Law | Sequence[str | Law | ModelCard] | None = None,
    *,
    card: str | Path | ModelCard | None = None,
    folder: str | Path | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    show_progress: bool | None = None,
    **settings: Any,
) -> Iterator[Fitted]:
    """Fit laws to many run logs, several at once.

    Parameters
    ----------
    logs : mapping of str to Runs, pandas.DataFrame or path
        Run logs by name, which becomes the name of a file.
    law, card
        As for :func:`bayescale.fit`, the same for all logs.
    folder : path, optional
        Folder in which each fit is saved as ``NAME.nc`` as soon as it ends. A log whose file exists
        already, with the same runs, cards, settings and versions, is not fitted again.
    executor : concurrent.futures.Executor, optional
        Where fits run, as in :func:`bayescale.backtest`; by default processes of this computer.
        Workers on other computers must reach ``folder`` under the same path.
    workers : int, optional
        Processes where no executor is given; by default one for each core.
    show_progress : bool, optional
        Show progress on standard error, or below the cell in a notebook; by default only in
        notebooks.
    **settings
        ``seed``, ``draws``, ``tune``, ``chains``, ``families`` and ``weights`` of
        :func:`bayescale.fit`, the same for all logs.

    Returns
    -------
    iterator of Fitted
        In the order in which fits end, those found in ``folder`` first. If a fit failed or its
        worker died, its ``error`` says why. Each fit uses one core, and a process compiles each
        model once.

    Raises
    ------
    LawError, CardError, RunLogError
        If a law cannot be fitted to one of the logs. Nothing is fitted then.
    OutputError, PosteriorError
        If the folder cannot be written to, or holds another fit under one of the names.
    """
    if not logs:
        raise PosteriorError(
            "no run log is given: name at least one, such as fit_many({'pile': 'pile.csv'})"
        )
    jobs, kept, problems = {}, [], []
    for name, source in logs.items():
        runs = as_runs(source)
        cards, _ = cards_of(runs, law, card)
        for one in cards:
            runs = runs_for(one, runs)
            require_runs_for(one.law, runs)
        path = None if folder is None else require_folder(Path(folder) / f"{name}.nc").absolute()
        job = Job(runs, law, card, settings, path)
        if path is None or not path.exists():
            jobs[name] = job
        elif difference := _difference(path, runs, cards, settings):
            problems.append(f"{path.name} {difference}")
        else:
            kept.append(Fitted(name, path, resumed=True, laws=_laws(cards)))
    if problems:
        advice = "remove them, or name another folder"
        raise PosteriorError(collected(f"{folder} holds other fits; {advice}:", problems))
    return _fits(kept, jobs, executor, workers, show_progress)


def _fits(
    kept: Sequence[Fitted],
    jobs: Mapping[str, Job],
    executor: Executor | None,
    workers: int | None,
    show_progress: bool | None,
) -> Iterator[Fitted]:
    yield from kept
    names = list(jobs)
    with progress(show_progress) as stage:
        done = stage(f"{len(jobs)} fits", total=len(jobs))
        for count, outcome in enumerate(outcomes(list(jobs.values()), executor, workers), 1):
            name = names[outcome.index]
            job = jobs[name]
            done(count)
            if outcome.error is not None:
                yield Fitted(name, error=outcome.reason)
            else:
                laws = _laws(cards_of(job.runs, job.laws, job.card)[0])
                yield Fitted(name, job.path, laws=laws, _held=outcome.result)


def _laws(cards: Sequence[ModelCard]) -> tuple[Law, ...]:
    return tuple(card.law for card in cards)


def _difference(
    path: Path, runs: Runs, cards: Sequence[ModelCard], settings: Mapping[str, Any]
) -> str:
    """Return how a fit on disk differs from the one that is wanted; empty if they agree."""
    own = [card.law for card in cards if LAWS.get(card.law.name) is not card.law]
    try:
        found = open_posterior(path, law=own)
    except PosteriorError as error:
        return f"cannot be used: {error}"
    if found.runs is None or found.runs.digest != runs.digest:
        return "is of other runs"
    if [member.card.text for member in found.members] != [card.text for card in cards]:
        return f"is of other cards: {', '.join(member.card.name for member in found.members)}"
    return next(filter(None, map(partial(_made_otherwise, settings), found.members)), "")


def _made_otherwise(settings: Mapping[str, Any], member: Posterior) -> str:
    made = member.record["provenance"]
    wanted = made_with(**{name: settings[name] for name in settings if name != "weights"})
    for name, value in wanted.items():
        if made.get(name) != value:
            return f"was made with {name} {made.get(name)}, not {value}"
    return ""
