"""Mean learning curves over seeds in TensorBoard: for each variant a run `mean` beside its seeds.

A mean is of the same seeds from its first point to its last. The event files are for the eye alone:
nothing reads them back, and who writes them begins anew with what the runs' episodes.csv say.

Dimension key: S seeds, K points.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from wnrl.compare.jobs.runner import Run, State
from wnrl.compare.margin_charts import append_band, begin, is_newest
from wnrl.config import Config
from wnrl.report.number_format import counted
from wnrl.report.run_differences import variant_settings
from wnrl.report.run_result import WINDOW_FRACTION, Result, read_episodes
from wnrl.report.sentences import evidence_sentence
from wnrl.stats.intervals import Interval, t_interval
from wnrl.stats.learning_curves import curve
from wnrl.train.storage.run_folder import variant_folder
from wnrl.train.storage.train_log import tail

Points = npt.NDArray[np.int64]  # (K,) agent steps, rising

MEAN = "mean"  # name of the folder, and so the end of the run's name in TensorBoard
POINTS = 100
_EPISODES = "episodes.csv"


class _Seed(NamedTuple):
    """A run of a variant."""

    config: Config
    folder: Path
    done: bool
    left_out: bool  # of the mean


@dataclass
class _Written:
    """An aggregate run's event file, and what is in it."""

    path: Path
    seeds: tuple[Path, ...]
    points: int = 0


def write_aggregates(out: Path, results: Sequence[Result], swept: Sequence[str]) -> None:
    """Write the aggregate runs of a folder, over the runs that are done.

    Args:
        out: the folder.
        results: all runs in it.
        swept: settings that were varied beside environment, normalization and seed.

    Raises:
        UsageError: a run's episodes cannot be read.
        OSError: a file cannot be written.
    """
    seeds = [
        _Seed(run.config, run.folder, run.done, not run.done or math.isnan(run.final))
        for run in results
    ]
    envs = list(dict.fromkeys(seed.config.run.env for seed in seeds))
    for folder, of_variant in _variants(out, seeds, swept).items():
        _extend(folder, of_variant, envs, None)


class AggregateBoard:
    """The aggregate runs of a grid while it is trained.

    A mean is of all seeds that have begun, up to where each of them has come. When another begins,
    or one fails for good, it is written anew. A killed run plays the episodes after its checkpoint
    again, on the CPU the same ones, so what was written of them stands; `write_aggregates` does it
    anew in the end.
    """

    def __init__(
        self,
        out: Path,
        swept: Sequence[str],
        *,
        interval_s: float = 10.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is written yet.

        Args:
            out: folder of the grid.
            swept: settings that it varies beside environment, normalization and seed.
            interval_s: between two looks at the runs.
            now: a clock that never runs backwards, in s.
        """
        self._out = out
        self._swept = swept
        self._interval_s = interval_s
        self._now = now
        self._looked_s = -math.inf
        self._written: dict[Path, _Written] = {}

    def update(self, runs: Sequence[Run]) -> None:
        """Write what is new if an interval has passed; call it as often as you like.

        A file that cannot be read or written is tried again the next time: training goes on.

        Args:
            runs: all of the grid.
        """
        if self._now() - self._looked_s < self._interval_s:
            return
        self._looked_s = self._now()
        seeds = [
            _Seed(
                run.planned.config, run.folder, run.state is State.DONE, run.state is State.FAILED
            )
            for run in runs
        ]
        envs = list(dict.fromkeys(seed.config.run.env for seed in seeds))
        for folder, of_variant in _variants(self._out, seeds, self._swept).items():
            before = self._written.pop(folder, None)
            try:
                after = _extend(folder, of_variant, envs, before)
            except (OSError, ValueError):  # half of a record may be written: begin anew
                continue
            if after is not None:
                self._written[folder] = after


def _variants(out: Path, seeds: Iterable[_Seed], swept: Sequence[str]) -> dict[Path, list[_Seed]]:
    """The runs of each variant, by the folder of its aggregate run, never outside `out`."""
    groups: dict[tuple[Any, ...], list[_Seed]] = {}
    for seed in seeds:
        groups.setdefault(tuple(variant_settings(seed.config, swept).items()), []).append(seed)
    found = {}
    for group in groups.values():
        config, above = group[0].config, group[0].folder.parent
        own = above.name == config.name and above.is_relative_to(out)
        found[(above if own else variant_folder(out, config)) / MEAN] = sorted(
            group, key=lambda seed: seed.config.run.seed
        )
    return found


def _extend(
    folder: Path, seeds: Sequence[_Seed], envs: Sequence[str], written: _Written | None
) -> _Written | None:
    """Append the points that every seed has passed; None while there are none.

    Args:
        folder: of the aggregate run.
        seeds: all of the variant.
        envs: environments to lay out charts for.
        written: what stands there; None to begin anew.
    """
    run = seeds[0].config.run
    points = np.unique(run.steps * np.arange(1, POINTS + 1) // POINTS)  # (K,)
    passed = {s.folder: _passed(points, s, _last_step(s.folder)) for s in seeds if not s.left_out}
    begun = [seed for seed in seeds if passed.get(seed.folder)]
    if not begun:
        return None
    folders = tuple(seed.folder for seed in begun)
    if written is None or written.seeds != folders or not is_newest(written.path):
        written = _Written(begin(folder, _describe(begun, seeds), envs), folders)
    if min(passed[each] for each in folders) > written.points:
        new, intervals = _mean_curve(begun, points, written.points)
        append_band(written.path, run.env, new, intervals)
        written.points += len(new)
    return written


def _mean_curve(
    seeds: Sequence[_Seed], points: Points, first: int
) -> tuple[list[int], list[Interval | None]]:
    """The mean over seeds at the points from index `first` on that all have passed.

    Returns:
        Agent steps, and the mean with its interval; None where a seed has ended no episode yet.
    """
    total_steps = seeds[0].config.run.steps
    episodes = [read_episodes(seed.folder / _EPISODES)[:2] for seed in seeds]
    # Asked of what has been read: a run that is killed cuts its file back.
    passed = [
        _passed(points, seed, int(steps[-1]) if len(steps) else 0)
        for seed, (steps, _) in zip(seeds, episodes, strict=True)
    ]
    new = points[first : min(passed)]
    window_steps = WINDOW_FRACTION * total_steps
    curves = [curve(steps, returns, new, window_steps=window_steps) for steps, returns in episodes]
    heights = np.stack(curves, axis=1)  # (K, S)
    return new.tolist(), [t_interval(row) if np.isfinite(row).all() else None for row in heights]


def _passed(points: Points, seed: _Seed, last_step: int) -> int:
    """How many points a run has passed, by the agent steps at the end of its last episode.

    Not one at that very step: other environments may end an episode there, not written yet.
    """
    complete_steps = seed.config.run.steps if seed.done else last_step - 1
    return int(np.searchsorted(points, complete_steps, side="right"))


def _last_step(run_dir: Path) -> int:
    """Agent steps at the end of a run's last episode; 0 before the first."""
    whole_lines = tail(run_dir / _EPISODES).rpartition("\n")[0]
    step = whole_lines.rpartition("\n")[2].partition(",")[0]
    return int(step) if step.isdigit() else 0


def _describe(begun: Sequence[_Seed], seeds: Sequence[_Seed]) -> str:
    """What the curve is, as Markdown."""
    numbers = [str(seed.config.run.seed) for seed in begun]
    others = [str(seed.config.run.seed) for seed in seeds if seed not in begun]
    config = begun[0].config
    window_steps = WINDOW_FRACTION * config.run.steps
    lines = [
        f"{config.run.env}, {config.name}: mean over {counted(len(begun), 'seed')}: "
        f"{', '.join(numbers)}.",
        f"Not in it, since not begun, not done or failed: {', '.join(others)}." if others else "",
        f"Each seed's curve is the mean raw return of the training episodes that ended in the last "
        f"{window_steps:,.0f} agent steps ({WINDOW_FRACTION:.0%} of the run).",
        "Interval: 95%, Student's t over seeds." if len(begun) > 1 else "One seed has no interval.",
        evidence_sentence(len(begun)),
    ]
    return "\n\n".join(line for line in lines if line)
