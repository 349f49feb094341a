"""Mean learning curves over seeds for TensorBoard: a run `mean` next to the seeds of each variant.

A curve averages the same seeds at all of its points. These event files are write-only and rebuilt
from episodes.csv.

Dimension key: S seeds, K points.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from wnrl.compare.jobs.runner import Run, State
from wnrl.compare.mean_event_file import append_band, is_newest, start_file
from wnrl.config import Config
from wnrl.report.number_format import counted
from wnrl.report.run_differences import variant_settings
from wnrl.report.run_result import WINDOW_FRACTION, Result, read_episodes
from wnrl.report.sentences import evidence_sentence
from wnrl.stats.intervals import Interval, t_interval
from wnrl.stats.learning_curves import curve
from wnrl.train.foreign_text import markdown
from wnrl.train.storage.train_log import tail
from wnrl.train.storage.variant_folder import flat_name

Points = npt.NDArray[np.int64]  # (K,) agent steps, increasing

MEAN = "mean"  # name of the folder, and part of the run's name in TensorBoard
POINTS = 100
_EPISODES = "episodes.csv"


class _Seed(NamedTuple):
    """One run of a variant."""

    config: Config
    folder: Path
    done: bool
    excluded: bool  # from the mean


@dataclass
class _MeanFile:
    """An event file and what has been written to it."""

    path: Path
    seeds: tuple[Path, ...]
    points: int = 0


def write_means(out: Path, results: Sequence[Result], swept: Sequence[str]) -> None:
    """Write the mean curve of every variant in a folder, over the runs that are done.

    Args:
        out: folder of the comparison.
        results: all runs in it.
        swept: settings that vary besides environment, normalization and seed.

    Raises:
        UsageError: a run's episodes cannot be read.
        OSError: a file cannot be written.
    """
    seeds = [
        _Seed(run.config, run.folder, run.done, not run.done or math.isnan(run.final))
        for run in results
    ]
    envs = list(dict.fromkeys(seed.config.run.env for seed in seeds))
    for folder, variant in _variants(out, seeds, swept).items():
        _extend(folder, variant, envs, None)


class LiveMeans:
    """Mean curves of a grid, updated while it trains.

    A curve averages all seeds that have started, up to the point that all of them have passed. It
    is rewritten when another seed starts or one fails for good. A killed run repeats the episodes
    after its checkpoint (identically on the CPU), so their points remain valid; `write_means`
    rewrites every curve at the end.
    """

    def __init__(
        self,
        out: Path,
        swept: Sequence[str],
        *,
        interval_s: float = 10.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Write nothing yet.

        Args:
            out: folder of the comparison.
            swept: settings that vary besides environment, normalization and seed.
            interval_s: time between two updates, in s.
            now: monotonic clock, in s.
        """
        self._out = out
        self._swept = swept
        self._interval_s = interval_s
        self._now = now
        self._updated_s = -math.inf
        self._files: dict[Path, _MeanFile] = {}

    def update(self, runs: Sequence[Run]) -> None:
        """Write new points if an interval has passed; call it as often as you like.

        A file that cannot be read or written is tried again at the next update, so that it never
        stops training.

        Args:
            runs: all runs of the grid.
        """
        if self._now() - self._updated_s < self._interval_s:
            return
        self._updated_s = self._now()
        seeds = [
            _Seed(
                run.planned.config, run.folder, run.state is State.DONE, run.state is State.FAILED
            )
            for run in runs
        ]
        envs = list(dict.fromkeys(seed.config.run.env for seed in seeds))
        for folder, variant in _variants(self._out, seeds, self._swept).items():
            file = self._files.pop(folder, None)
            try:
                file = _extend(folder, variant, envs, file)
            except (OSError, ValueError):  # half a record may be written, so start over next time
                continue
            if file is not None:
                self._files[folder] = file


def _variants(out: Path, seeds: Iterable[_Seed], swept: Sequence[str]) -> dict[Path, list[_Seed]]:
    """Group the runs by variant; the keys are the folders of the mean curves, all inside `out`.

    A curve is next to its seeds if they have a folder to themselves, else in the folder `mean`.
    """
    groups: dict[tuple[Any, ...], list[_Seed]] = {}
    for seed in seeds:
        groups.setdefault(tuple(variant_settings(seed.config, swept).items()), []).append(seed)
    above = [{seed.folder.parent for seed in group} for group in groups.values()]
    shared = Counter(folder for folders in above for folder in folders)
    variants = {}
    for group, folders in zip(groups.values(), above, strict=True):
        parent, config = group[0].folder.parent, group[0].config
        folder = parent / MEAN
        if len(folders) > 1 or shared[parent] > 1 or not parent.is_relative_to(out):
            folder = out / MEAN / flat_name(config)
        variants[folder] = sorted(group, key=lambda seed: seed.config.run.seed)
    return variants


def _extend(
    folder: Path, seeds: Sequence[_Seed], envs: Sequence[str], file: _MeanFile | None
) -> _MeanFile | None:
    """Append the points that every started seed has passed.

    Args:
        folder: folder of the mean curve.
        seeds: all runs of the variant.
        envs: environments of the comparison; each gets a chart.
        file: the file to extend; None to start a new one.

    Returns:
        The file, or None if no seed has started.
    """
    run = seeds[0].config.run
    points = np.unique(run.steps * np.arange(1, POINTS + 1) // POINTS)  # (K,)
    passed = {s.folder: _passed(points, s, _last_step(s.folder)) for s in seeds if not s.excluded}
    started = [seed for seed in seeds if passed.get(seed.folder)]
    if not started:
        return None
    folders = tuple(seed.folder for seed in started)
    if file is None or file.seeds != folders or not is_newest(file.path):
        file = _MeanFile(start_file(folder, _describe(started, seeds), envs), folders)
    if min(passed[each] for each in folders) > file.points:
        steps, intervals = _mean_curve(started, points, file.points)
        append_band(file.path, run.env, steps, intervals)
        file.points += len(steps)
    return file


def _mean_curve(
    seeds: Sequence[_Seed], points: Points, first: int
) -> tuple[list[int], list[Interval | None]]:
    """Return the mean over seeds at the points from index `first` on that all seeds have passed.

    Returns:
        Agent steps, and at each the mean with its interval, or None if a seed has not finished an
        episode by then.
    """
    total_steps = seeds[0].config.run.steps
    episodes = [read_episodes(seed.folder / _EPISODES)[:2] for seed in seeds]
    # Based on what was just read, because a killed run truncates its file when it resumes.
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
    """Return how many points a run has passed, given the agent step of its last episode's end.

    A point at exactly that step does not count: other environments may finish an episode at the
    same step that is not written yet.
    """
    complete_steps = seed.config.run.steps if seed.done else last_step - 1
    return int(np.searchsorted(points, complete_steps, side="right"))


def _last_step(run_dir: Path) -> int:
    """Return the agent step at which a run's last episode ended; 0 before the first."""
    whole_lines = tail(run_dir / _EPISODES).rpartition("\n")[0]
    step = whole_lines.rpartition("\n")[2].partition(",")[0]
    return int(step) if step.isdigit() else 0


def _describe(included: Sequence[_Seed], seeds: Sequence[_Seed]) -> str:
    """Describe the curve in Markdown."""
    numbers = [str(seed.config.run.seed) for seed in included]
    others = [str(seed.config.run.seed) for seed in seeds if seed not in included]
    config = included[0].config
    window_steps = WINDOW_FRACTION * config.run.steps
    lines = [
        f"{markdown(config.run.env)}, {markdown(config.name)}: mean over "
        f"{counted(len(included), 'seed')}: {', '.join(numbers)}.",
        f"Seeds left out (not started, not done or failed): {', '.join(others)}." if others else "",
        f"Each seed's curve is the mean raw return of the training episodes that ended in the last "
        f"{window_steps:,.0f} agent steps ({WINDOW_FRACTION:.0%} of the run).",
        "Interval: 95%, Student's t over seeds." if len(included) > 1 else "One seed: no interval.",
        evidence_sentence(len(included)),
    ]
    return "\n\n".join(line for line in lines if line)
