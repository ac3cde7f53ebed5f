"""Run logs read from experiment trackers."""

from bayescale.trackers.choice import Choice
from bayescale.trackers.read import (
    import_runs,
    read_huggingface,
    read_mlflow,
    read_tensorboard,
    read_wandb,
)
from bayescale.trackers.table import TrackerLog

__all__ = [
    "Choice",
    "TrackerLog",
    "import_runs",
    "read_huggingface",
    "read_mlflow",
    "read_tensorboard",
    "read_wandb",
]
