"""A Weights & Biases project, read through the service's own client."""

from collections.abc import Iterator, Sequence
from typing import Any

from bayescale.errors import TrackerError
from bayescale.trackers.tracked import (
    History,
    Tracked,
    TrackedRun,
    as_number,
    flattened,
    require_package,
)
from bayescale.trackers.wandb_offline import KEEPS, SERIES

SECONDS = 60
ROWS = 10_000  # of history per request


def project_runs(project: str, metrics: Sequence[str]) -> Tracked:
    """Return the runs of a Weights & Biases project, oldest first.

    Credentials are found as wandb finds them: after ``wandb login``, or in its environment
    variables.
    """
    require_package("wandb", "wandb", "the Weights & Biases service")
    return Tracked(f"Weights & Biases {project}", _runs(project, metrics), KEEPS, SERIES)


def _runs(project: str, metrics: Sequence[str]) -> Iterator[TrackedRun]:
    import wandb

    try:
        for run in wandb.Api(timeout=SECONDS).runs(project, order="+created_at"):
            summary = run.summary_metrics
            yield TrackedRun(
                id=run.id,
                name=run.name,
                state=run.state,
                finished=run.state == "finished",
                places=flattened(run.config, "config.") | flattened(summary, "summary."),
                metrics=tuple(sorted(key for key in summary if not key.startswith("_"))),
                histories={metric: History.of(_points(run, metric)) for metric in metrics},
            )
    except TrackerError:
        raise
    except Exception as error:  # the client raises many kinds, with the same remedies
        raise TrackerError(
            f"Weights & Biases project {project!r} cannot be read "
            f"({type(error).__name__}: {error}): see that it is written ENTITY/PROJECT, that you "
            "are logged in (wandb login), and that the network is there"
        ) from error


def _points(run: Any, metric: str) -> Iterator[tuple[int, float]]:
    for row in run.scan_history(keys=["_step", metric], page_size=ROWS):
        if (number := as_number(row[metric])) is not None:
            yield row["_step"], number
