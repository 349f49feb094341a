"""What a run writes about itself: episodes.csv and TensorBoard's event files.

The x axis is agent steps. Not for the line on the screen: that is `wnrl.train.log.progress`.
"""

import math
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wnrl._settings import UsageError
from wnrl.envs.vector import Episode
from wnrl.train.log.board_layout import Layout

EPISODES_HEADER = "agent_step,env,raw_return,length,wall_time_s\n"
_RESULTS = ("rollout/ep_rew_mean", "eval/mean_reward")  # columns of TensorBoard's hparams table


class RecentEpisodes:
    """The last episodes of a run, whose means are SB3's `rollout/ep_rew_mean` and its kin."""

    def __init__(self, size: int = 100) -> None:
        """Args:
        size: over how many episodes the means go (SB3's stats_window_size: 100).
        """
        self._returns: deque[float] = deque(maxlen=size)
        self._lengths: deque[int] = deque(maxlen=size)

    def __len__(self) -> int:
        """How many episodes the means go over."""
        return len(self._returns)

    def add(self, episode: Episode) -> None:
        """Count an episode; the oldest beyond `size` is forgotten."""
        self._returns.append(episode.raw_return)
        self._lengths.append(episode.length_steps)

    @property
    def mean_return(self) -> float | None:
        """Mean raw return; None before the first episode."""
        return math.fsum(self._returns) / len(self) if self._returns else None

    @property
    def mean_length_steps(self) -> float | None:
        """Mean length in agent steps; None before the first episode."""
        return sum(self._lengths) / len(self) if self._lengths else None

    def state_dict(self) -> dict[str, Any]:
        """Returns and lengths, oldest first."""
        return {"returns": list(self._returns), "lengths": list(self._lengths)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with another's episodes."""
        self._returns = deque(state["returns"], self._returns.maxlen)
        self._lengths = deque(state["lengths"], self._lengths.maxlen)


class EpisodeLog:
    """episodes.csv: a line per finished episode, on disk as soon as it is written.

    A state remembers how long the file was; to load it cuts the file back to that, since a killed
    run may have written more. So a resumed run's file is, wall times apart, byte for byte that of
    a run that was never stopped.
    """

    def __init__(
        self,
        path: Path,
        *,
        resume: bool = False,
        wall_time: bool = True,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the file, or open it to go on once `load_state_dict` has been called.

        Args:
            path: the file, in a folder that exists.
            resume: the file is a resumed run's.
            wall_time: False writes 0 in place of the time, so that files can be compared.
            now: a clock that never runs backwards, in s.

        Raises:
            UsageError: the file is another run's (`resume` False), or missing (True).
        """
        self._path = Path(path)
        self._wall_time = wall_time
        self._now = now
        self._begun_s = now()
        self._earlier_s = 0.0  # training time of the parts before this one
        try:
            self._file = self._path.open("r+b" if resume else "xb", buffering=0)
        except FileExistsError:
            raise UsageError(
                f"{self._path} holds an earlier run's episodes: resume that run, "
                "or choose another folder"
            ) from None
        except FileNotFoundError:
            if not resume:
                raise
            raise UsageError(
                f"{self._path} is missing, the checkpoint needs it to go on: "
                "restore it from a copy, or start anew in another folder"
            ) from None
        self._ready = not resume
        if not resume:
            self._file.write(EPISODES_HEADER.encode())

    @property
    def wall_time_s(self) -> float:
        """Training time since the run's first start, summed over its resumed parts."""
        return self._earlier_s + self._now() - self._begun_s if self._wall_time else 0.0

    def write(self, agent_step: int, episode: Episode) -> None:
        """Append an episode.

        Args:
            agent_step: agent steps done when it ended.
            episode: what ended.
        """
        self._check_ready()
        wall_time = f"{self.wall_time_s:.3f}" if self._wall_time else "0"
        line = (
            f"{agent_step},{episode.env},{episode.raw_return},{episode.length_steps},{wall_time}\n"
        )
        self._file.write(line.encode())

    def state_dict(self) -> dict[str, Any]:
        """Length of the file, which is on disk from here on, and the training time."""
        self._check_ready()
        os.fsync(self._file.fileno())
        return {"size_bytes": self._file.tell(), "wall_time_s": self.wall_time_s}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Cut the file back to where the state was taken.

        Raises:
            UsageError: the file is shorter than that.
        """
        size_bytes = self._path.stat().st_size
        if size_bytes < state["size_bytes"]:
            raise UsageError(
                f"{self._path} has {size_bytes} bytes, and had {state['size_bytes']} at the "
                "checkpoint: restore it from a copy, or start anew in another folder"
            )
        self._file.truncate(state["size_bytes"])
        self._file.seek(state["size_bytes"])
        self._earlier_s = state["wall_time_s"]
        self._begun_s = self._now()
        self._ready = True

    def close(self) -> None:
        """Close the file. Harmless when repeated."""
        self._file.close()

    def _check_ready(self) -> None:
        if not self._ready:
            raise RuntimeError(f"{self._path} was opened to resume: call load_state_dict first")


class TensorBoard:
    """Event files of one run, with the tag names of Stable-Baselines3 and CleanRL."""

    def __init__(self, run_dir: Path, purge_step: int | None = None) -> None:
        """Start an event file in the run's folder.

        Args:
            run_dir: the run's folder.
            purge_step: on resume, the checkpoint's agent step + 1: what a killed run wrote from
                there on is hidden, so that no curve doubles.
        """
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        self._writer = SummaryWriter(str(run_dir), purge_step=purge_step)

    def describe(self, config: Mapping[str, object]) -> None:
        """Write the run's configuration: hyperparameters to compare by, and a table as text.

        They go to the run's own event file. `SummaryWriter.add_hparams` would make a run beside
        it (pytorch/pytorch#32651).

        Args:
            config: every setting, the same names in all runs; anything but numbers and strings
                is shown as text.
        """
        from torch.utils.tensorboard.summary import hparams

        plain = {
            name: value if type(value) in (int, float, str) else str(value)
            for name, value in config.items()
        }
        # torch declares no types for these two.
        writer = self._writer._get_file_writer()
        for summary in hparams(plain, dict.fromkeys(_RESULTS)):
            writer.add_summary(summary)
        rows = [f"| {name} | {value} |" for name, value in plain.items()]
        self._writer.add_text("config", "\n".join(["| setting | value |", "|---|---|", *rows]))

    def arrange(self, layout: Layout) -> None:
        """Write the order of the Custom Scalars page; once per run."""
        charts = {
            category: {title: ["Multiline", tags] for title, tags in titles.items()}
            for category, titles in layout.items()
        }
        self._writer.add_custom_scalars(charts)

    def episode(self, agent_step: int, episode: Episode) -> None:
        """A finished episode, under CleanRL's names."""
        self._writer.add_scalar("charts/episodic_return", episode.raw_return, agent_step)
        self._writer.add_scalar("charts/episodic_length", episode.length_steps, agent_step)

    def rollout(self, agent_step: int, recent: RecentEpisodes, steps_per_s: float) -> None:
        """SB3's means over the last episodes, and the speed under its name `time/fps`.

        Args:
            agent_step: agent steps done.
            recent: the last episodes; means of none are not written.
            steps_per_s: agent steps per second, not emulator frames.
        """
        if recent.mean_return is not None and recent.mean_length_steps is not None:
            self._writer.add_scalar("rollout/ep_rew_mean", recent.mean_return, agent_step)
            self._writer.add_scalar("rollout/ep_len_mean", recent.mean_length_steps, agent_step)
        self._writer.add_scalar("time/fps", steps_per_s, agent_step)

    def metrics(self, agent_step: int, metrics: Mapping[str, Tensor | float]) -> None:
        """An update's metrics: `loss` becomes `train/loss`, a name with a slash stays as it is.

        Call it at the log interval only: this is where a device is waited for. All that was written
        so far is in the file then, so that a kill loses one interval at most.

        Args:
            agent_step: agent steps done.
            metrics: scalars by name.

        Raises:
            ValueError: a tensor of more than one element.
        """
        for name, value in to_floats(metrics).items():
            tag = name if "/" in name else f"train/{name}"
            self._writer.add_scalar(tag, value, agent_step)
        self._writer.flush()

    def histograms(self, agent_step: int, tensors: Mapping[str, Tensor]) -> None:
        """Distributions by tag, such as the gains and the vector norms of each layer.

        What is not finite has no place in a histogram and is left out.

        Args:
            agent_step: agent steps done.
            tensors: of any shape.
        """
        for tag, tensor in tensors.items():
            values = tensor.detach().to("cpu", torch.float32)
            finite = values[values.isfinite()]
            if finite.numel():
                self._writer.add_histogram(tag, finite.numpy(), agent_step)

    def evaluation(
        self, agent_step: int, returns: Sequence[float], lengths_steps: Sequence[int]
    ) -> None:
        """SB3's means over an evaluation's episodes. ValueError if there are none."""
        if not returns or len(returns) != len(lengths_steps):
            raise ValueError(
                f"an evaluation has as many lengths as returns and at least one, "
                f"came {len(returns)} returns and {len(lengths_steps)} lengths"
            )
        mean_return = math.fsum(returns) / len(returns)
        mean_length = sum(lengths_steps) / len(lengths_steps)
        self._writer.add_scalar("eval/mean_reward", mean_return, agent_step)
        self._writer.add_scalar("eval/mean_ep_length", mean_length, agent_step)
        self._writer.flush()

    def close(self) -> None:
        """Write what is pending and close the file."""
        self._writer.close()


def to_floats(metrics: Mapping[str, Tensor | float]) -> dict[str, float]:
    """Plain numbers, with one transfer for all tensors of a device.

    Args:
        metrics: numbers, and tensors of one element, by name.

    Raises:
        ValueError: a tensor of more than one element.
    """
    by_device: dict[torch.device, dict[str, Tensor]] = {}
    for name, value in metrics.items():
        if isinstance(value, Tensor):
            if value.numel() != 1:
                raise ValueError(f"metric {name!r} must be a scalar, came {tuple(value.shape)}")
            by_device.setdefault(value.device, {})[name] = value
    floats = {
        name: float(value) for name, value in metrics.items() if not isinstance(value, Tensor)
    }
    for tensors in by_device.values():
        stacked = torch.stack([tensor.detach().reshape(()).double() for tensor in tensors.values()])
        floats.update(zip(tensors, stacked.tolist(), strict=True))
    return {name: floats[name] for name in metrics}
