"""An MLflow tracking server, read page by page through MLflow's own client."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from bayescale.errors import TrackerError
from bayescale.trackers.mlflow_store import KEEPS, SERIES, chosen_experiment, unbounded
from bayescale.trackers.tracked import History, Tracked, TrackedRun, require_package

PAGE = 1000  # runs per request
POINTS = 25_000  # per request, the most that a server returns
_SECONDS = 10.0


def served_runs(address: str, experiment: str | None, metrics: Sequence[str]) -> Tracked:
    """Return the runs of one experiment on an MLflow tracking server.

    Credentials are found as MLflow's client finds them, in its environment variables.
    """
    require_package("mlflow", "mlflow", "an MLflow tracking server")
    _require_reached(address)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=address)
    try:
        found = [
            (
                one.experiment_id,
                one.name,
                len(client.search_runs([one.experiment_id], max_results=1)),
            )
            for one in _pages(client.search_experiments)
        ]
    except MlflowException as error:
        raise _refused(address, error) from error
    chosen, name = chosen_experiment(
        f"MLflow {address}", sorted(found, key=lambda f: f[1]), experiment
    )
    source = f"MLflow {address}, experiment {name!r}"
    return Tracked(source, _runs(client, address, str(chosen), metrics), KEEPS, SERIES)


def _require_reached(address: str) -> None:
    import requests

    try:  # the client would retry for minutes
        requests.get(f"{address.rstrip('/')}/health", timeout=_SECONDS)
    except requests.RequestException as error:
        raise TrackerError(
            f"MLflow server {address} cannot be reached ({type(error).__name__}): see that it "
            "runs, and that the address is right"
        ) from error


def _refused(address: str, error: Exception) -> TrackerError:
    return TrackerError(f"MLflow server {address} answers with an error: {error}")


def _pages(search: Any, *args: Any, max_results: int = PAGE, **options: Any) -> Iterator[Any]:
    token = None
    while True:
        page = search(*args, max_results=max_results, page_token=token, **options)
        yield from page
        token = page.token
        if not token:
            return


def _runs(
    client: Any, address: str, experiment: str, metrics: Sequence[str]
) -> Iterator[TrackedRun]:
    from mlflow.exceptions import MlflowException
    from mlflow.store.tracking.rest_store import RestStore
    from mlflow.utils.credentials import get_default_host_creds

    # the client's get_metric_history holds all points as objects, some hundred bytes each
    store = RestStore(partial(get_default_host_creds, address))
    search = _pages(
        client.search_runs, experiment_ids=[experiment], order_by=["attributes.start_time ASC"]
    )
    try:
        for run in search:
            yield TrackedRun(
                id=run.info.run_id,
                name=run.info.run_name or run.info.run_id,
                state=run.info.status,
                finished=run.info.status == "FINISHED",
                places={f"params.{k}": v for k, v in run.data.params.items()}
                | {f"tags.{k}": v for k, v in run.data.tags.items()},
                metrics=tuple(sorted(run.data.metrics)),
                histories={
                    metric: History.of(_points(store, run.info.run_id, metric))
                    for metric in metrics
                },
            )
    except MlflowException as error:
        raise _refused(address, error) from error


def _points(store: Any, run: str, metric: str) -> Iterator[tuple[int, float]]:
    for point in _pages(store.get_metric_history, run, metric, max_results=POINTS):
        yield point.step, unbounded(point.value)
