"""What finished and unfinished runs scored, read from their folders.

Dimension key: E episodes, K evaluations.
"""

import csv
import functools
import json
import math
import os
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wnrl._settings import UsageError
from wnrl.config import Config
from wnrl.envs.make import is_atari
from wnrl.report.event_files import read_scalars
from wnrl.report.number_format import counted
from wnrl.stats.learning_curves import area_under_curve, final_window
from wnrl.train.storage.run_folder import CONFIG, read_config
from wnrl.train.storage.run_status import saved_steps

Array = npt.NDArray[np.float64]

WINDOW_FRACTION = 0.1  # of the agent steps, at their end
_EVALUATION, _ACT_MS, _UPDATE_MS = "eval/mean_reward", "time/act_ms", "time/update_ms"


@dataclass(frozen=True, eq=False)
class Result:
    """A run, its episodes and what follows from them. Scores are raw training returns."""

    folder: Path
    config: Config
    agent_steps: int
    episode_steps: Array  # (E,) agent steps at which the training episodes ended, never falling
    returns: Array  # (E,) their raw returns
    evaluation_steps: Array  # (K,) agent steps after which it was evaluated, rising
    evaluations: Array  # (K,) mean raw return of each evaluation
    act_ms: float | None  # one act of all environments, the median over the log intervals
    update_ms: float | None  # one step of the optimizer, likewise; both None where not recorded
    wall_s: float | None  # of training up to the last episode; None where it was not recorded
    machine: str  # what it ran on, which its times go by
    commits: tuple[str, ...]  # that wrote it, in order
    versions: dict[str, str]

    @property
    def done(self) -> bool:
        """Whether it has done all of its agent steps."""
        return self.agent_steps >= self.config.run.steps

    @property
    def protocol(self) -> str:
        """Of Atari; elsewhere there is none."""
        return self.config.run.protocol if is_atari(self.config.run.env) else "-"

    @property
    def episodes(self) -> int:
        """How many have ended."""
        return len(self.returns)

    @property
    def window_steps(self) -> float:
        """Width of the curve's trailing window, in agent steps."""
        return WINDOW_FRACTION * self.config.run.steps

    @functools.cached_property
    def final(self) -> float:
        """Mean return of the last tenth of the agent steps; NaN where no episode ended."""
        return final_window(
            self.episode_steps,
            self.returns,
            total_steps=self.config.run.steps,
            window_steps=self.window_steps,
        )

    @functools.cached_property
    def area(self) -> float:
        """Mean height of the curve of that trailing window; NaN where no episode ended."""
        return area_under_curve(
            self.episode_steps,
            self.returns,
            total_steps=self.config.run.steps,
            window_steps=self.window_steps,
        )

    @property
    def best_evaluation(self) -> float | None:
        """The highest of the evaluations; None where there was none."""
        return float(self.evaluations.max()) if len(self.evaluations) else None

    @property
    def mean_evaluation(self) -> float | None:
        """The mean of the evaluations; None where there was none."""
        return float(self.evaluations.mean()) if len(self.evaluations) else None

    @property
    def steps_per_s(self) -> float | None:
        """Agent steps per second of training, evaluations included; None where not recorded."""
        return float(self.episode_steps[-1]) / self.wall_s if self.wall_s else None


def find_runs(folder: Path) -> list[Path]:
    """The run folders in a folder, itself included, in order."""
    found = []
    for path, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - {"checkpoints"})
        if CONFIG in files:
            found.append(Path(path))
    return sorted(found)


def read_result(folder: Path) -> Result:
    """A run's scores as far as it is.

    Raises:
        UsageError: there is no run, or one that cannot be read.
    """
    config = read_config(folder)
    record = json.loads((folder / CONFIG).read_text())
    steps, returns, wall_s = read_episodes(folder / "episodes.csv")
    try:
        scalars = read_scalars(folder, (_EVALUATION, _ACT_MS, _UPDATE_MS))
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read: {error.strerror}") from None
    evaluations = sorted(scalars[_EVALUATION].items())
    parts: list[dict[str, Any]] = record.get("parts", [])
    return Result(
        folder=folder,
        config=config,
        agent_steps=saved_steps(folder),
        episode_steps=steps,
        returns=returns,
        evaluation_steps=np.array([step for step, _ in evaluations], dtype=np.float64),
        evaluations=np.array([mean for _, mean in evaluations], dtype=np.float64),
        act_ms=_median(scalars[_ACT_MS].values()),
        update_ms=_median(scalars[_UPDATE_MS].values()),
        wall_s=wall_s or None,
        machine=_machine(config, record.get("device", {})),
        commits=tuple(dict.fromkeys(part["commit"] or "unknown" for part in parts)),
        versions=record.get("versions", {}),
    )


def read_episodes(path: Path) -> tuple[Array, Array, float]:
    """Agent steps (E,) and returns (E,) of whole lines, and the last one's wall time.

    Raises:
        UsageError: it is no such file, or cannot be read; one that is missing is empty.
    """
    try:
        lines = path.read_text().split("\n")[1:-1]
        rows = [(int(row[0]), float(row[2]), float(row[4])) for row in csv.reader(lines)]
        table = np.array(rows, dtype=np.float64).reshape(-1, 3)
        if not np.isfinite(table).all() or (np.diff(table[:, 0]) < 0).any():
            raise ValueError("a number is not finite, or the agent steps fall")
    except FileNotFoundError:
        return np.empty(0), np.empty(0), 0.0
    except (OSError, ValueError, IndexError) as error:
        raise UsageError(f"{path} cannot be read as a run's episodes: {error}") from None
    return table[:, 0], table[:, 1], rows[-1][2] if rows else 0.0


def _machine(config: Config, device: Mapping[str, str]) -> str:
    """`cpu x86_64, 1 thread`."""
    what = " ".join(filter(None, (device.get("type"), device.get("name")))) or config.run.device
    return f"{what}, {counted(config.run.threads, 'thread')}"


def _median(values: Iterable[float]) -> float | None:
    """Of times, which a machine's other work only ever lengthens for a while."""
    finite = [value for value in values if math.isfinite(value)]
    return statistics.median(finite) if finite else None
