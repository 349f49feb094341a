"""What finished and unfinished runs scored, read from their folders; which may be compared."""

import csv
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wnrl.config import Config
from wnrl.envs.make import is_atari
from wnrl.errors import UsageError
from wnrl.grid import compared, describe_differences, differences
from wnrl.learning_curves import area_under_curve, final_window
from wnrl.run_status import saved_steps
from wnrl.rundir import CONFIG, read_config

WINDOW_FRACTION = 0.1  # of the agent steps, at their end


class Result(NamedTuple):
    """A run and its scores, which are raw training returns. NaN where no episode ended."""

    folder: Path
    config: Config
    agent_steps: int
    episodes: int
    final: float  # mean return of the last tenth of the agent steps
    area: float  # mean height of the curve of that trailing window
    best_evaluation: float | None  # None where none was logged
    wall_s: float | None  # of training up to the last episode; None where it was not recorded
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


def find_runs(folder: Path) -> list[Path]:
    """The run folders in a folder, itself included, in order."""
    found = []
    for path, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - {"checkpoints"})
        if CONFIG in files:
            found.append(Path(path))
    return sorted(found)


def check_comparable(runs: Sequence[tuple[Path, Config]], swept: Iterable[str]) -> None:
    """Refuse runs that differ in more than what is compared.

    Args:
        runs: folders and their configurations.
        swept: settings that are compared beside environment, normalization and seed.

    Raises:
        UsageError: two do, which it names with the difference; or two are one and the same.
    """
    swept = tuple(swept)
    for (a, first), (b, second) in itertools.combinations(runs, 2):
        found = differences(first, second, swept)
        if found and a == b:
            raise UsageError(
                f"{a} holds a run with other settings than asked for now: "
                f"{describe_differences(found)}; give another --out"
            )
        if found:
            names = "" if found.keys() & {"agent", "steps", "threads"} else " ".join(found)
            hint = f"; if that is what is compared, give --sweep {names}" if names else ""
            raise UsageError(
                f"{a} and {b} differ in more than environment, normalization"
                f"{''.join(f', {name}' for name in swept)} and seed: "
                f"{describe_differences(found)}{hint}; or keep them in folders of their own"
            )
        same_seed = first.run.seed == second.run.seed and a != b
        if same_seed and compared(first, swept) == compared(second, swept):
            raise UsageError(
                f"{a} and {b} are both {first.run.env} with norm {first.run.norm} and seed "
                f"{first.run.seed}, which would count twice: keep one of them"
            )


def read_result(folder: Path) -> Result:
    """A run's scores as far as it is.

    Raises:
        UsageError: there is no run, or one that cannot be read.
    """
    config = read_config(folder)
    record = json.loads((folder / CONFIG).read_text())
    steps, returns, wall_s = read_episodes(folder / "episodes.csv")
    total_steps = config.run.steps
    window_steps = WINDOW_FRACTION * total_steps
    parts: list[dict[str, Any]] = record.get("parts", [])
    return Result(
        folder=folder,
        config=config,
        agent_steps=saved_steps(folder),
        episodes=len(steps),
        final=final_window(steps, returns, total_steps=total_steps, window_steps=window_steps),
        area=area_under_curve(steps, returns, total_steps=total_steps, window_steps=window_steps),
        best_evaluation=max(_evaluations(folder), default=None),
        wall_s=wall_s or None,
        commits=tuple(dict.fromkeys(part["commit"] or "unknown" for part in parts)),
        versions=record.get("versions", {}),
    )


def read_episodes(path: Path) -> tuple[list[int], list[float], float]:
    """Agent steps and returns of whole lines, and the last one's wall time.

    Raises:
        UsageError: it is no such file, or cannot be read; one that is missing is empty.
    """
    try:
        lines = path.read_text().split("\n")[1:-1]
        rows = [(int(row[0]), float(row[2]), float(row[4])) for row in csv.reader(lines)]
    except FileNotFoundError:
        return [], [], 0.0
    except (OSError, ValueError, IndexError) as error:
        raise UsageError(f"{path} cannot be read as a run's episodes: {error}") from None
    return [row[0] for row in rows], [row[1] for row in rows], rows[-1][2] if rows else 0.0


def _evaluations(folder: Path) -> Iterator[float]:
    """Mean returns of the evaluations that the run logged."""
    if not any(folder.glob("events.out.tfevents.*")):
        return
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # slow

    # tensorboard declares no types.
    events: Any = EventAccumulator(  # type: ignore[no-untyped-call]
        str(folder), size_guidance={"scalars": 0, "histograms": 1}
    )
    events.Reload()
    if "eval/mean_reward" in events.Tags()["scalars"]:
        yield from (event.value for event in events.Scalars("eval/mean_reward"))
