"""The results of finished and unfinished runs, read from their folders.

Dimension key: E episodes, K evaluations.
"""

import csv
import dataclasses
import functools
import math
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wnrl._settings import UsageError
from wnrl.config import MAX_STEPS, Config
from wnrl.envs.protocols import CUSTOM
from wnrl.report.number_format import counted
from wnrl.stats.learning_curves import area_under_curve, final_returns, final_window
from wnrl.train.storage import old_runs
from wnrl.train.storage.csv_log import CURVATURE, EPISODES, EVALUATIONS, TIMINGS, WRAPS
from wnrl.train.storage.run_folder import CONFIG, read_config, read_config_file
from wnrl.train.storage.run_status import RunState, read_status, saved_steps
from wnrl.train.untrusted.files import TABLE_BYTES, read_text

Array = npt.NDArray[np.float64]

COMPARISON = "compare.json"  # in the folder of a comparison: the runs that were planned there
TUNING = "tuning"  # folder in it: the runs that only chose the values of the others
_LARGEST = 1e150  # of a table's numbers, so that sums of their squares are finite
WINDOW_FRACTION = 0.1  # share of the agent steps, at their end
_SOFTWARE = ("wnrl", "python", "torch", "numpy", "ale-py", "gymnasium")
FIRST_EPISODES = 10  # whose mean stands for random play where no score of it is published


@dataclass(frozen=True, eq=False)
class Result:
    """A run, its episodes and its scores. Scores are raw training returns."""

    folder: Path
    config: Config
    agent_steps: int
    episode_steps: Array  # (E,) agent steps at which the training episodes ended, never falling
    returns: Array  # (E,) their raw returns
    evaluation_steps: Array  # (K,) agent steps after which it was evaluated, rising
    evaluations: Array  # (K,) mean raw return of each evaluation
    act_ms: float | None  # one act for all environments, median over log intervals, if recorded
    update_ms: float | None  # one step of the optimizer, likewise
    wall_s: float | None  # training time up to the last episode; None if it was not recorded
    machine: str  # the device and threads on which the times depend
    commits: tuple[str, ...]  # the commits that wrote it, in order
    versions: dict[str, str]
    days: tuple[str, ...] = ()  # on which parts of it started, `2026-11-29`, as far as recorded
    state: RunState = RunState.DONE  # as the run itself last wrote it
    rollbacks: tuple[str, ...] = ()  # why it went back to a checkpoint with half the learning rate
    wrapped_episodes: int = 0  # whose score went from 999,999 to 0, so that the return lacks it
    condition_steps: Array = dataclasses.field(default_factory=lambda: np.empty(0))  # (C,)
    conditions: Array = dataclasses.field(default_factory=lambda: np.empty(0))  # (C,) if measured

    @property
    def done(self) -> bool:
        """Return whether all agent steps are done."""
        return self.agent_steps >= self.config.run.steps

    @property
    def protocol(self) -> str:
        """Name of the protocol on Atari; `-` elsewhere."""
        played = self.config.protocol
        return played.name if played else "-"

    @property
    def custom(self) -> bool:
        """Whether nobody published scores of what was played: a custom protocol, or other rules."""
        return self.protocol == CUSTOM or bool(self.config.run.env_kwargs)

    @property
    def protocol_text(self) -> str:
        """The name of a published protocol; the description of a custom one; `-` outside Atari."""
        played = self.config.protocol
        return played.description if played and played.name == CUSTOM else self.protocol

    @property
    def software(self) -> str:
        """Versions of what trained it, as `wnrl 0.1.0 torch 2.13.0`."""
        return " ".join(f"{x} {self.versions[x]}" for x in _SOFTWARE if x in self.versions)

    @property
    def episodes(self) -> int:
        """Number of finished episodes."""
        return len(self.returns)

    @property
    def window_steps(self) -> float:
        """Width of the curve's trailing window, in agent steps."""
        return WINDOW_FRACTION * self.config.run.steps

    @functools.cached_property
    def final(self) -> float:
        """Mean return over the last tenth of the agent steps; NaN if no episode ended."""
        return final_window(
            self.episode_steps,
            self.returns,
            total_steps=self.config.run.steps,
            window_steps=self.window_steps,
        )

    @property
    def last_episode_share(self) -> float:
        """Share of the agent steps after which the last episode of the final score ended."""
        ends = self.episode_steps[self.episode_steps <= self.config.run.steps]
        return float(ends[-1]) / self.config.run.steps if len(ends) else math.nan

    @functools.cached_property
    def final_variance(self) -> float:
        """Square of the final score's standard error, from its episodes; NaN with fewer than 2."""
        ended = self.final_returns
        return float(ended.var(ddof=1)) / len(ended) if len(ended) > 1 else math.nan

    @property
    def final_returns(self) -> Array:
        """Returns of the episodes whose mean is the final score."""
        return final_returns(
            self.episode_steps,
            self.returns,
            total_steps=self.config.run.steps,
            window_steps=self.window_steps,
        )

    @functools.cached_property
    def untrained(self) -> float:
        """Mean return of the first episodes, at most a tenth of all; NaN if no episode ended."""
        first = self.returns[: max(1, min(FIRST_EPISODES, len(self.returns) // 10))]
        return float(first.mean()) if len(first) else math.nan

    @functools.cached_property
    def area(self) -> float:
        """Mean height of the learning curve; NaN if no episode ended."""
        return area_under_curve(
            self.episode_steps,
            self.returns,
            total_steps=self.config.run.steps,
            window_steps=self.window_steps,
        )

    @property
    def best_evaluation(self) -> float | None:
        """The highest evaluation; None without evaluations."""
        return float(self.evaluations.max()) if len(self.evaluations) else None

    @property
    def mean_evaluation(self) -> float | None:
        """The mean of all evaluations; None without evaluations."""
        return float(self.evaluations.mean()) if len(self.evaluations) else None

    @property
    def steps_per_s(self) -> float | None:
        """Agent steps per second of training, evaluations included; None if not recorded."""
        return float(self.episode_steps[-1]) / self.wall_s if self.wall_s else None


def find_runs(folder: Path) -> list[Path]:
    """Return the run folders in a folder, itself included, in order.

    Runs that only chose the values of a comparison in the folder are left out.
    """
    runs = []
    for path, folders, files in os.walk(folder):
        ignored = {"checkpoints", *([TUNING] if COMPARISON in files else [])}
        folders[:] = sorted(set(folders) - ignored)
        if CONFIG in files:
            runs.append(Path(path))
    return sorted(runs)


def read_result(folder: Path) -> Result:
    """Read a run's results so far.

    Raises:
        UsageError: there is no run, or it cannot be read.
    """
    config, record = read_config(folder), read_config_file(folder)
    condition_steps, conditions = read_conditions(folder / CURVATURE)
    steps, returns, wall_s, wrapped_episodes = read_episodes(folder / EPISODES)
    evaluation_steps, evaluations, act_ms, update_ms = _evaluations_and_times(folder)
    return Result(
        folder=folder,
        config=config,
        agent_steps=saved_steps(folder),
        episode_steps=steps,
        returns=returns,
        evaluation_steps=evaluation_steps,
        evaluations=evaluations,
        act_ms=_median(act_ms),
        update_ms=_median(update_ms),
        wall_s=wall_s or None,
        machine=_machine(config, record.device),
        commits=tuple(dict.fromkeys(part.commit or "unknown" for part in record.parts)),
        versions=record.versions,
        days=tuple(part.started[:10] for part in record.parts if part.started),
        state=read_status(folder).state,
        rollbacks=tuple(record.rollbacks),
        wrapped_episodes=wrapped_episodes,
        condition_steps=condition_steps,
        conditions=conditions,
    )


def read_episodes(path: Path) -> tuple[Array, Array, float, int]:
    """Read episodes.csv.

    Returns:
        Agent steps (E,) and raw returns (E,) of the whole rows, the wall time of the last one in s,
        and the number of rows whose score wrapped. A missing file has no rows.

    Raises:
        UsageError: the file cannot be read, or its numbers cannot be a run's.
    """
    table = read_columns(path, "agent_step", "raw_return", "wall_time_s", WRAPS, optional=WRAPS)
    wall_s = float(table[-1, 2]) if len(table) else 0.0
    return table[:, 0], table[:, 1], wall_s, int((table[:, 3] > 0).sum())


def read_conditions(path: Path) -> tuple[Array, Array]:
    """Read the condition of the Gauss-Newton matrix in w from curvature.csv.

    Returns:
        Agent steps (K,) and conditions (K,) of the readings; a missing file has none. Readings that
        are not finite and positive are left out.

    Raises:
        UsageError: the file cannot be read, or its numbers cannot be a run's.
    """
    try:
        rows = list(csv.reader(read_text(path, TABLE_BYTES).split("\n")[1:-1]))
        chosen = [row for row in rows if row[1:3] == ["gauss_newton_condition", "w"]]
        table = np.array([(float(row[0]), float(row[3])) for row in chosen]).reshape(-1, 2)
        if not np.isfinite(table[:, 0]).all() or (np.diff(table[:, 0]) < 0).any():
            raise ValueError("an agent step is not finite, or they fall")
    except FileNotFoundError:
        return np.empty(0), np.empty(0)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, IndexError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as a run's {path.stem}: {error}") from None
    table = table[np.isfinite(table[:, 1]) & (table[:, 1] > 0)]
    return table[:, 0], table[:, 1]


def _evaluations_and_times(folder: Path) -> tuple[Array, Array, Iterable[float], Iterable[float]]:
    """Read agent steps (K,) and mean returns (K,) of the evaluations, and the times in ms."""
    if (folder / EVALUATIONS).exists():
        evaluations = read_columns(folder / EVALUATIONS, "agent_step", "mean_raw_return")
        times = read_columns(folder / TIMINGS, "agent_step", "act_ms", "update_ms", gaps=True)
        return evaluations[:, 0], evaluations[:, 1], times[:, 1], times[:, 2]
    scalars = old_runs.read_scalars(folder)
    means = scalars.mean_return
    steps, returns = np.array(list(means), np.float64), np.array(list(means.values()), np.float64)
    return steps, returns, scalars.act_ms.values(), scalars.update_ms.values()


def read_columns(path: Path, *names: str, gaps: bool = False, optional: str = "") -> Array:
    """Read columns of a run's table.

    Args:
        path: a CSV file whose first column is the agent step; half a row at its end is left out.
        names: the columns, agent_step first.
        gaps: whether a cell may be empty, which reads as NaN.
        optional: the column that may be missing, which reads as 0.

    Returns:
        (rows, names). A missing file has no rows.

    Raises:
        UsageError: it cannot be read, a number is not finite, or the agent steps fall.
    """
    try:
        header, *lines = read_text(path, TABLE_BYTES).split("\n")[:-1] or [""]
        found = header.split(",")
        needed = [name for name in names if name in found or name != optional] if lines else []
        columns = [found.index(name) for name in needed]
        rows = [_numbers(row, columns, gaps) for row in csv.reader(lines)]
        table = np.array(rows, dtype=np.float64).reshape(-1, len(needed) or len(names))
        table = np.pad(table, ((0, 0), (0, len(names) - table.shape[1])))
        if not (gaps or np.isfinite(table).all()) or (np.diff(table[:, 0]) < 0).any():
            raise ValueError("a number is not finite, or the agent steps fall")
        if (np.abs(table) > _LARGEST).any():
            raise ValueError(f"a number is larger than {_LARGEST:g}")
        if not ((table[:, 0] >= 0) & (table[:, 0] <= MAX_STEPS)).all():
            raise ValueError(f"an agent step is not from 0 to {MAX_STEPS:_}")
    except FileNotFoundError:
        return np.empty((0, len(names)))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, IndexError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as a run's {path.stem}: {error}") from None
    return table


def _numbers(row: Sequence[str], columns: Sequence[int], gaps: bool) -> list[float]:
    return [math.nan if gaps and not row[k] else float(row[k]) for k in columns]


def _machine(config: Config, device: Mapping[str, str]) -> str:
    """Return the machine as text: `cpu x86_64, 1 thread`."""
    name = " ".join(filter(None, (device.get("type"), device.get("name")))) or config.run.device
    return f"{name}, {counted(config.run.threads, 'thread')}"


def _median(values: Iterable[float]) -> float | None:
    """Return the median time, which other work on the machine affects less than the mean."""
    finite = [value for value in values if math.isfinite(value)]
    return statistics.median(finite) if finite else None
