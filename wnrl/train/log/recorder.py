"""The recorder of a run: it listens to the loop's ticks and changes nothing in it."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wnrl.config import NO_TRACKER, OPERATIONAL, UNNAMED, Config
from wnrl.train.evaluation import AgentEvaluation
from wnrl.train.foreign_text import joined
from wnrl.train.log.board_layout import LAYOUT
from wnrl.train.log.episodes import EpisodeLog, RecentEpisodes
from wnrl.train.log.outage import Outage, reason, require_written
from wnrl.train.log.progress import Progress, StepRate
from wnrl.train.log.tensorboard import TensorBoard
from wnrl.train.log.time_left import TimeLeft
from wnrl.train.loop import Tick, crossed
from wnrl.train.speed import Speed
from wnrl.train.storage.append_file import AppendFile
from wnrl.train.storage.atomic_files import storage_errors
from wnrl.train.storage.csv_log import CURVATURE, EPISODES, EVALUATIONS, HEADERS, TIMINGS, CsvLog
from wnrl.train.storage.run_status import RunState, RunStatus, StatusFile
from wnrl.train.tracking.sink import Tracking
from wnrl.train.untrusted.typed_json import typed

_STATUS_INTERVAL_S = 5.0  # at most; a shorter interval of the progress line holds for both
_TRACK_INTERVAL_S = 5.0  # of handing points to a tracker


@dataclasses.dataclass(frozen=True)
class Sources:
    """Functions that the recorder calls for what else it logs."""

    scalars: Callable[[], Mapping[str, Tensor | float]]  # by tag, at the log interval
    times: Callable[[], Mapping[str, float]]  # `Stopwatch.pop_times`, at the log interval
    histograms: Callable[[], dict[str, Tensor]]  # by tag, at the histogram interval
    instruments: Callable[[], Mapping[str, Tensor | float]]  # by tag, after each step; each once
    curvature: Callable[[], Mapping[str, float]]  # by tag, after each step; each once


class _Recent(NamedTuple):
    returns: list[float]
    lengths: list[int]


class _Table(NamedTuple):
    size_bytes: int
    wall_time_s: float | None = None  # of the episodes


class _State(NamedTuple):
    """Types of a recorder's state, which a checkpoint of a stranger may not have."""

    recent: _Recent
    episodes: int
    evaluated_steps: int
    log: _Table
    evaluations: _Table
    timings: _Table


class Recorder:
    """Writes the tables, status.json, the event file and the progress line of one run."""

    def __init__(
        self, config: Config, status: StatusFile, done_steps: int, speed: Speed | None = None
    ) -> None:
        """Nothing is written before `open`.

        Args:
            config: the run's configuration.
            status: the run's status.json.
            done_steps: agent steps done.
            speed: from the calibration, for the time left; None without one.
        """
        self._speed = speed
        self._config = config
        self._run = config.run
        self._status = status
        self._done_steps = self._steps = done_steps
        self._resumed_logs: Mapping[str, Any] | None = None  # states of the tables, on resume
        self._curvature_log: CsvLog | None = None
        self.recent = RecentEpisodes()
        self.episodes = 0
        self.evaluated_steps = 0  # agent steps at the last evaluation
        self._status_interval_s = min(self._run.progress_every_s, _STATUS_INTERVAL_S)
        self.metrics: dict[str, Tensor] = {}  # of the newest update
        self._tracking: Tracking | None = None
        self._finished = False

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint; `open` then cuts the tables back to it."""
        typed(dict(state), _State)
        self.recent.load_state_dict(state["recent"])
        self.episodes = state["episodes"]
        self.evaluated_steps = state["evaluated_steps"]
        names = (
            "log",
            "evaluations",
            "timings",
            "curvature",
        )  # the last only where it was measured
        self._resumed_logs = {name: state[name] for name in names if name in state}
        typed(dict(state.get("curvature", {"size_bytes": 0})), _Table)
        self.metrics = dict(state.get("metrics", {}))  # checkpoints of before have none

    def state_dict(self) -> dict[str, Any]:
        """Return everything that moves; `sync` waits until the disk has the tables as they are."""
        self._try_again()
        if self._tracking is not None:
            self._tracking.flush()
        return {
            **{name: log.state_dict() for name, log in self._logs().items()},
            "recent": self.recent.state_dict(),
            "episodes": self.episodes,
            "evaluated_steps": self.evaluated_steps,
            "metrics": dict(self.metrics),
        }

    def sync(self, state: Mapping[str, Any]) -> None:
        """Wait until the disk has the tables of a state. Another thread may record meanwhile.

        Raises:
            OSError: rows of them are not written, or cannot be synced.
        """
        for name, table in self._tables().items():
            table.sync(state[name])

    def _logs(self) -> dict[str, EpisodeLog | CsvLog]:
        """Return the tables by their names in the state."""
        return {"log": self._episode_log, **self._plain_tables()}

    def _tables(self) -> dict[str, CsvLog]:
        return {"log": self._episode_log.table, **self._plain_tables()}

    def _plain_tables(self) -> dict[str, CsvLog]:
        tables = {"evaluations": self._evaluation_log, "timings": self._timing_log}
        return (
            tables if self._curvature_log is None else {**tables, "curvature": self._curvature_log}
        )

    def open(self, run_dir: Path, sources: Sources) -> None:
        """Start the files, or continue them.

        Args:
            run_dir: the run's folder.
            sources: what else to log.

        Raises:
            UsageError: a table exists already, or does not fit to the checkpoint.
            StorageError: a file cannot be written.
        """
        run, steps, resume = self._run, self._steps, self._resumed_logs is not None
        self._sources = sources
        self._run_dir = run_dir
        if run.track != NO_TRACKER:  # first, because it takes seconds, which are not the run's
            self._tracking = Tracking(
                run_dir,
                run.track,
                name=f"{run.env} {self._config.name} seed{run.seed}",
                group=run.track_group,
                config=self._config.values,
            )
        with storage_errors(run_dir):
            self._episode_log = EpisodeLog(
                run_dir / EPISODES, resume=resume, wall_time=run.wall_time
            )
            self._evaluation_log = CsvLog(
                run_dir / EVALUATIONS, HEADERS[EVALUATIONS], resume=resume
            )
            self._timing_log = CsvLog(run_dir / TIMINGS, HEADERS[TIMINGS], resume=resume)
            self._curvature_log = self._open_curvature(run_dir / CURVATURE)
            for name, state in (self._resumed_logs or {}).items():
                self._logs()[name].load_state_dict(state)
            self._board = TensorBoard(run_dir, steps + 1 if resume else None, self._track)
        tables = [table.file for table in self._tables().values()]
        self._files: list[AppendFile] = [*tables, self._board.events.file]
        self._outage = Outage(
            run_dir, [*self._files, self._status], lambda line: self.progress.say(line)
        )
        if not resume:
            self._board.arrange(LAYOUT)
            self._board.describe(
                _described(self._config),
                name=f"{run.norm} seed{run.seed} {run.env}: {run_dir}",
                first=_varied(self._config),
            )
        left = TimeLeft(run.steps, self._config.agent.warmup_steps, self._speed)
        self.progress = Progress(run.steps, step=steps, left=left, interval_s=run.progress_every_s)
        self._log_rate, self._status_rate = StepRate(steps), StepRate(steps)
        self._tracked_s = time.monotonic()
        if self._tracking is not None:
            self._tracking.start(self.progress.say)
        self._start_s = time.monotonic()
        self._write_status(RunState.RUNNING, None)

    def _track(self, agent_step: int, values: Mapping[str, float]) -> None:
        if self._tracking is not None:
            self._tracking.scalars(agent_step, values)

    def _open_curvature(self, path: Path) -> CsvLog | None:
        """Start or continue the table, if this run measures the curvature or has measured it."""
        resume = "curvature" in (self._resumed_logs or {})
        if not resume and not self._run.curvature_every_updates:
            return None
        if self._resumed_logs is not None and not resume:
            path.unlink(missing_ok=True)  # from after the checkpoint
        return CsvLog(path, HEADERS[CURVATURE], resume=resume)

    @property
    def agent_steps(self) -> int:
        """Agent steps done."""
        return self._steps

    @property
    def elapsed_s(self) -> float:
        """Training time since the run's first start; of this part alone if it is not recorded."""
        return self._episode_log.wall_time_s or time.monotonic() - self._start_s

    def tick(self, tick: Tick) -> None:
        """Record one step of the loop."""
        if self._tracking is not None and time.monotonic() - self._tracked_s >= _TRACK_INTERVAL_S:
            self._tracking.flush()
            self._tracked_s = time.monotonic()
        before, self._steps = self._steps, tick.agent_steps
        for episode in tick.episodes:
            self._episode_log.write(tick.agent_steps, episode)
            self._board.episode(tick.agent_steps, episode)
            self.recent.add(episode)
            self.episodes += 1
        if tick.metrics is not None:
            self.metrics = tick.metrics
        if reading := self._sources.instruments():
            self._board.metrics(tick.agent_steps, reading)
        if curvature := self._sources.curvature():
            self._board.metrics(tick.agent_steps, curvature)
            for tag, value in curvature.items():
                assert self._curvature_log is not None, "only runs that measure have readings"
                self._curvature_log.write(tick.agent_steps, *tag.split("/")[-2:], f"{value:.6g}")
        if crossed(before, tick.agent_steps, self._run.log_every_steps):
            self._write_scalars()
        if crossed(before, tick.agent_steps, self._run.histogram_every_steps):
            self._write_histograms()
        if self._status_rate.elapsed_s >= self._status_interval_s:
            self._try_again()
            self._write_status(RunState.RUNNING, self._status_rate.read(self._steps))
        self._outage.watch()
        self.progress.update(tick.agent_steps, self.recent)

    def finish(self, state: RunState) -> None:
        """Log the end of the run regardless of the intervals.

        Raises:
            StorageError: rows of a table are missing on the disk.
        """
        self._write_scalars()
        if self._run.histogram_every_steps:
            self._write_histograms()
        self._try_again()
        require_written(self._run_dir, [table.file for table in self._tables().values()])
        elapsed_s = time.monotonic() - self._start_s
        self._write_status(state, (self._steps - self._done_steps) / max(elapsed_s, 1e-9))
        self._track(self._steps, _results(self.recent, self.episodes))
        self._finished = True
        self.progress.finish(self._steps, self.recent)

    def evaluation(self, evaluated: AgentEvaluation) -> None:
        """Log an evaluation of at least one episode."""
        self.evaluated_steps = self._steps
        returns = [episode.raw_return for episode in evaluated.episodes]
        lengths_steps = [episode.length_steps for episode in evaluated.episodes]
        mean = math.fsum(returns) / len(returns)
        mean_length_steps = sum(lengths_steps) / len(lengths_steps)
        self._evaluation_log.write(self._steps, len(returns), mean, mean_length_steps)
        self._board.evaluation(self._steps, returns, lengths_steps)
        self._board.metrics(self._steps, evaluated.scalars)
        if evaluated.clip is not None:
            self._board.clip(self._steps, evaluated.clip)
            if self._tracking is not None:
                self._tracking.clip(self._steps, evaluated.clip.data)
        self.progress.say(
            f"evaluation at step {self._steps:,}: mean raw return {mean:.1f} of {len(returns)} "
            f"episodes ({min(returns):.1f} to {max(returns):.1f})"
        )
        if evaluated.no_clip:
            self.progress.say(f"wnrl: no clip of this evaluation: {joined(evaluated.no_clip)}")

    def close(self) -> None:
        """Write what is left, and say what could not be. Harmless when repeated."""
        self._try_again()
        if self._tracking is not None:
            self._tracking.close(failed=not self._finished)
        events = self._board.events
        if events.file.pending_bytes or events.lost_points:
            self.progress.say(
                f"wnrl: {events.file.path.name} lacks points: {reason(events.file.error)}; "
                "the tables are complete unless another line says otherwise"
            )

    def _try_again(self) -> None:
        for file in self._files:
            file.flush()

    def _write_scalars(self) -> None:
        times = self._sources.times()
        if times:
            cells = [times.get(tag) for tag in ("time/act_ms", "time/update_ms")]
            shown = [None if cell is None else f"{cell:.6g}" for cell in cells]
            self._timing_log.write(self._steps, *shown)
        self._board.rollout(self._steps, self.recent, self._log_rate.read(self._steps))
        self._board.metrics(self._steps, {**self.metrics, **self._sources.scalars(), **times})

    def _write_histograms(self) -> None:
        self._board.histograms(self._steps, self._sources.histograms())

    def _write_status(self, state: RunState, steps_per_s: float | None) -> None:
        self._status.write(
            RunStatus(
                agent_steps=self._steps,
                mean_return=self.recent.mean_return,
                steps_per_s=steps_per_s,
                state=state,
                total_steps=self._run.steps,
                episodes=self.episodes,
            )
        )


def _results(recent: RecentEpisodes, episodes: int) -> dict[str, float]:
    """Return what a run came to, by the tags that only trackers have."""
    means = {} if recent.mean_return is None else {"final/mean_return": recent.mean_return}
    return {**means, "final/episodes": episodes}


def _varied(config: Config) -> set[str]:
    """Return the settings that runs are told apart by; a sweep gives its values explicitly."""
    return set(config.explicit) - set(UNNAMED) | {"env", "norm", "seed"}


def _described(config: Config) -> dict[str, Any]:
    """Return the settings that TensorBoard shows and compares runs by."""
    settings = {**dataclasses.asdict(config.run), **dataclasses.asdict(config.agent)}
    # One setting for all parameters: TensorBoard wants the same names in every run.
    parameters = dataclasses.asdict(config.norm).items()
    settings["norm_parameters"] = ", ".join(f"{name}={value}" for name, value in parameters)
    return {name: value for name, value in settings.items() if name not in OPERATIONAL}


@torch.no_grad()
def gain_histograms(vectors: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Return weight norm's gains g and lengths ||v|| by TensorBoard tag.

    The tags differ from those of the scalars `norm/*`, because TensorBoard shows only the first of
    two kinds under one tag.

    Args:
        vectors: gains (O,) and lengths (O,) of each layer.
    """
    tags: dict[str, Tensor] = {}
    for layer, (gain, norm) in vectors.items():
        tags[f"norm_histograms/g/{layer}"] = gain
        tags[f"norm_histograms/v_norm/{layer}"] = norm
    return tags
