"""What a run writes as it goes: it listens to the loop's ticks and changes nothing in it."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wnrl.config import OPERATIONAL, Config
from wnrl.envs.vector import Episode
from wnrl.train.log.board_layout import LAYOUT
from wnrl.train.log.progress import Progress, StepRate
from wnrl.train.log.tensorboard import EpisodeLog, RecentEpisodes, TensorBoard
from wnrl.train.loop import Tick


class Recorder:
    """episodes.csv, TensorBoard and the progress line of one run."""

    def __init__(
        self,
        run_dir: Path,
        config: Config,
        state: Mapping[str, Any] | None,
        done_steps: int,
        extra_scalars: Callable[[], dict[str, Tensor | float]],
        histograms: Callable[[], dict[str, Tensor]],
        reading: Callable[[], Mapping[str, Tensor | float]],
    ) -> None:
        """Open the files, or go on with them.

        Args:
            run_dir: the run's folder.
            config: the run's.
            state: from `state_dict`, to go on; None to begin.
            done_steps: agent steps done.
            extra_scalars: what else to log with the metrics, asked at the log interval.
            histograms: distributions by tag, asked at theirs.
            reading: the instruments' newest scalars by tag, asked after each step; each reading
                once, nothing between.
        """
        run = config.run
        self._run = run
        self.recent = RecentEpisodes()
        self._log = EpisodeLog(
            run_dir / "episodes.csv", resume=state is not None, wall_time=run.wall_time
        )
        self.episodes = 0
        self.evaluated_steps = 0  # when the last evaluation was
        if state is not None:
            self._log.load_state_dict(state["log"])
            self.recent.load_state_dict(state["recent"])
            self.episodes = state["episodes"]
            self.evaluated_steps = state["evaluated_steps"]
        self._board = TensorBoard(run_dir, None if state is None else done_steps + 1)
        if state is None:
            settings = {**dataclasses.asdict(run), **dataclasses.asdict(config.agent)}
            # One setting for all: TensorBoard wants the same names in every run.
            of_norm = dataclasses.asdict(config.norm).items()
            settings["norm_parameters"] = ", ".join(f"{name}={value}" for name, value in of_norm)
            self._board.arrange(LAYOUT)
            self._board.describe({k: v for k, v in settings.items() if k not in OPERATIONAL})
        self.progress = Progress(run.steps, step=done_steps, interval_s=run.progress_every_s)
        self._rate = StepRate(done_steps)
        self._begun_s = time.monotonic()
        self._extra_scalars = extra_scalars
        self._histograms = histograms
        self._reading = reading
        self._steps = done_steps
        self._metrics: dict[str, Tensor] = {}

    @property
    def elapsed_s(self) -> float:
        """Training time since the run's first start; of this part alone if it is not recorded."""
        return self._log.wall_time_s or time.monotonic() - self._begun_s

    def tick(self, tick: Tick) -> None:
        """Take in one step of the loop."""
        before, self._steps = self._steps, tick.agent_steps
        for episode in tick.episodes:
            self._log.write(tick.agent_steps, episode)
            self._board.episode(tick.agent_steps, episode)
            self.recent.add(episode)
            self.episodes += 1
        if tick.metrics is not None:
            self._metrics = tick.metrics
        if reading := self._reading():
            self._board.metrics(tick.agent_steps, reading)
        if crossed(before, tick.agent_steps, self._run.log_every_steps):
            self._write_scalars()
        if crossed(before, tick.agent_steps, self._run.histogram_every_steps):
            self._write_histograms()
        self.progress.update(tick.agent_steps, self.recent)

    def finish(self) -> None:
        """Log where the run ended, whatever the intervals."""
        self._write_scalars()
        if self._run.histogram_every_steps:
            self._write_histograms()
        self.progress.finish(self._steps, self.recent)

    def _write_scalars(self) -> None:
        self._board.rollout(self._steps, self.recent, self._rate.read(self._steps))
        self._board.metrics(self._steps, {**self._metrics, **self._extra_scalars()})

    def _write_histograms(self) -> None:
        self._board.histograms(self._steps, self._histograms())

    def evaluation(self, episodes: Sequence[Episode], scalars: Mapping[str, float]) -> None:
        """Log an evaluation's episodes, and what else it found by tag."""
        self.evaluated_steps = self._steps
        returns = [episode.raw_return for episode in episodes]
        self._board.evaluation(self._steps, returns, [e.length_steps for e in episodes])
        self._board.metrics(self._steps, scalars)
        mean = sum(returns) / len(returns)
        self.progress.say(
            f"evaluation at step {self._steps:,}: mean raw return {mean:.1f} of {len(returns)} "
            f"episodes ({min(returns):.1f} to {max(returns):.1f})"
        )

    def state_dict(self) -> dict[str, Any]:
        """What `__init__` goes on from. The newest metrics are not kept: updates bring more."""
        return {
            "log": self._log.state_dict(),
            "recent": self.recent.state_dict(),
            "episodes": self.episodes,
            "evaluated_steps": self.evaluated_steps,
        }

    def close(self) -> None:
        """Write what is pending. Harmless when repeated."""
        self._log.close()
        self._board.close()


def crossed(before_steps: int, after_steps: int, every_steps: int) -> bool:
    """Whether a multiple of `every_steps` lies in (before, after]; never for 0."""
    return every_steps > 0 and after_steps // every_steps > before_steps // every_steps


@torch.no_grad()
def gain_histograms(vectors: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """TensorBoard tags of weight norm's gains g and lengths ||v||, by layer.

    Apart from the scalars `norm/*`: of a tag with both, TensorBoard shows the kind that came first.
    """
    tags: dict[str, Tensor] = {}
    for layer, (gain, norm) in vectors.items():
        tags[f"norm_histograms/g/{layer}"] = gain
        tags[f"norm_histograms/v_norm/{layer}"] = norm
    return tags
