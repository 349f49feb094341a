"""TensorBoard's event files of a run. They are write-only; their x axis is agent steps."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from wnrl.envs.vector import Episode
from wnrl.train.log.board_layout import Layout
from wnrl.train.log.episodes import RecentEpisodes

_RESULTS = ("rollout/ep_rew_mean", "eval/mean_reward")  # columns of TensorBoard's hparams table


class TensorBoard:
    """Event files of one run, with the tag names of Stable-Baselines3 and CleanRL."""

    def __init__(self, run_dir: Path, purge_step: int | None = None) -> None:
        """Start an event file in the run's folder.

        Args:
            run_dir: the run's folder.
            purge_step: on resume, the checkpoint's agent step + 1. TensorBoard then hides what an
                earlier part of the run wrote from there on.
        """
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        self._writer = SummaryWriter(str(run_dir), purge_step=purge_step)

    def describe(self, config: Mapping[str, object]) -> None:
        """Write the run's configuration: hyperparameters to compare by, and a table as text.

        They go to the run's event file; `SummaryWriter.add_hparams` would make a second run
        (pytorch/pytorch#32651).

        Args:
            config: every setting, with the same names in all runs; anything but numbers and
                strings is shown as text.
        """
        from torch.utils.tensorboard.summary import hparams

        plain = {
            name: value if type(value) in (int, float, str) else str(value)
            for name, value in config.items()
        }
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
        """Write a finished episode, under CleanRL's names."""
        self._writer.add_scalar("charts/episodic_return", episode.raw_return, agent_step)
        self._writer.add_scalar("charts/episodic_length", episode.length_steps, agent_step)

    def rollout(self, agent_step: int, recent: RecentEpisodes, steps_per_s: float) -> None:
        """Write the means over the newest episodes and the speed, under SB3's names.

        Args:
            agent_step: agent steps done.
            recent: the newest episodes; without any, no means are written.
            steps_per_s: agent steps per second, not emulator frames.
        """
        if recent.mean_return is not None and recent.mean_length_steps is not None:
            self._writer.add_scalar("rollout/ep_rew_mean", recent.mean_return, agent_step)
            self._writer.add_scalar("rollout/ep_len_mean", recent.mean_length_steps, agent_step)
        self._writer.add_scalar("time/fps", steps_per_s, agent_step)

    def metrics(self, agent_step: int, metrics: Mapping[str, Tensor | float]) -> None:
        """Write an update's metrics: `loss` becomes `train/loss`, a name with a slash is a tag.

        Call it at the log interval only: it waits for the device. It also flushes the file, so that
        a kill loses at most one interval.

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
        """Write distributions by tag, such as the gains and the vector norms of each layer.

        Values that are not finite are left out.

        Args:
            agent_step: agent steps done.
            tensors: values of any shape, by tag.
        """
        for tag, tensor in tensors.items():
            values = tensor.detach().to("cpu", torch.float32)
            finite = values[values.isfinite()]
            if finite.numel():
                self._writer.add_histogram(tag, finite.numpy(), agent_step)

    def evaluation(
        self, agent_step: int, returns: Sequence[float], lengths_steps: Sequence[int]
    ) -> None:
        """Write the means over an evaluation's episodes, under SB3's names.

        Raises:
            ValueError: no episodes, or another number of lengths than of returns.
        """
        if not returns or len(returns) != len(lengths_steps):
            raise ValueError(
                "an evaluation needs at least one episode and a length for each return, "
                f"came {len(returns)} returns and {len(lengths_steps)} lengths"
            )
        mean_return = math.fsum(returns) / len(returns)
        mean_length = sum(lengths_steps) / len(lengths_steps)
        self._writer.add_scalar("eval/mean_reward", mean_return, agent_step)
        self._writer.add_scalar("eval/mean_ep_length", mean_length, agent_step)
        self._writer.flush()

    def close(self) -> None:
        """Flush and close the file."""
        self._writer.close()


def to_floats(metrics: Mapping[str, Tensor | float]) -> dict[str, float]:
    """Convert to plain numbers, with one transfer for all tensors of a device.

    Args:
        metrics: numbers and tensors of one element, by name.

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
