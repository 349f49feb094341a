"""The trackers that `--track` may name. Their packages are imported when a run opens one."""

import importlib.util
from typing import TYPE_CHECKING

from wnrl._settings import SettingError
from wnrl._settings.later import Later
from wnrl.config import NO_TRACKER
from wnrl.train.tracking.record import TrackerRecord

if TYPE_CHECKING:
    from wnrl.train.tracking import mlflow_run, trackio_run, wandb_run
else:
    mlflow_run = Later("wnrl.train.tracking.mlflow_run")
    trackio_run = Later("wnrl.train.tracking.trackio_run")
    wandb_run = Later("wnrl.train.tracking.wandb_run")

TRACKERS = {
    record.name: record
    for record in (
        TrackerRecord(
            "wandb",
            "wandb",
            wandb_run.open_run,
            {"WANDB_ERROR_REPORTING": "false"},  # offline runs would send it too
        ),
        TrackerRecord(
            "mlflow",
            "mlflow",
            mlflow_run.open_run,
            {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"},
        ),
        TrackerRecord(
            "trackio",
            "trackio",
            trackio_run.open_run,
            {"HF_HUB_OFFLINE": "1"},  # it would ask the Hugging Face Hub for the user's name
            servers=("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"),
        ),
    )
}


def check_tracker(name: str) -> None:
    """Refuse a tracker that is not installed; nothing is imported.

    Args:
        name: value of `--track`.

    Raises:
        SettingError: its package is missing; the message names the extra.
    """
    if name == NO_TRACKER:
        return
    record = TRACKERS[name]
    if importlib.util.find_spec(record.package) is None:
        raise SettingError(
            "track",
            f"{name} needs the package {record.package}; pip install 'wnrl[{name}]', or leave it "
            "out",
        )
