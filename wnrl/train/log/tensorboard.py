"""TensorBoard's event files of a run. They are write-only; their x axis is agent steps."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wnrl.envs.vector import Episode
from wnrl.train.log.board_layout import Layout
from wnrl.train.log.episodes import RecentEpisodes
from wnrl.train.log.event_file import EventFile, histogram_edges
from wnrl.train.video.clip import TAG, Clip

_HISTOGRAM_EDGES = histogram_edges()
_RESULTS = ("rollout/ep_rew_mean", "eval/mean_reward")  # columns of TensorBoard's hparams table


def _nowhere(agent_step: int, values: Mapping[str, float]) -> None:
    pass


class TensorBoard:
    """Event files of one run, with the tag names of Stable-Baselines3 and CleanRL."""

    def __init__(
        self,
        run_dir: Path,
        purge_step: int | None = None,
        also: Callable[[int, Mapping[str, float]], None] = _nowhere,
    ) -> None:
        """Start an event file in the run's folder.

        Args:
            run_dir: the run's folder.
            purge_step: on resume, the checkpoint's agent step + 1. TensorBoard then hides what an
                earlier part of the run wrote from there on.
            also: called with the agent step and the values by tag of every scalar.

        Raises:
            OSError: the file cannot be written.
        """
        self.events = EventFile(run_dir, purge_step)
        self._also = also

    def describe(self, config: Mapping[str, object], name: str, first: Collection[str]) -> None:
        """Write the run's configuration: hyperparameters to compare by, and a table as text.

        They go to the run's event file; `SummaryWriter.add_hparams` would make a second run
        (pytorch/pytorch#32651).

        Args:
            config: every setting, with the same names in all runs; anything but numbers and
                strings is shown as text.
            name: of the trial; TensorBoard merges trials of the same name.
            first: settings whose columns come first. TensorBoard sorts the others by name and
                shows only some.
        """
        from tensorboard.plugins.hparams import plugin_data_pb2
        from torch.utils.tensorboard import summary  # slow to import

        plain = {
            name: value if type(value) in (int, float, str) else str(value)
            for name, value in config.items()
        }
        kind: Any = vars(plugin_data_pb2)["HParamsPluginData"]  # declares no types
        for part in summary.hparams(plain, dict.fromkeys(_RESULTS)):
            plugin = part.value[0].metadata.plugin_data
            data = kind.FromString(plugin.content)
            for info in data.experiment.hparam_infos:
                info.differs = info.name in first
            if data.HasField("session_start_info"):
                data.session_start_info.group_name = name
            plugin.content = data.SerializeToString()
            self.events.add(summary=part)
        rows = [f"| {name} | {value} |" for name, value in plain.items()]
        text = "\n".join(["| setting | value |", "|---|---|", *rows])
        self.events.add(summary=summary.text("config", text))

    def arrange(self, layout: Layout) -> None:
        """Write the order of the Custom Scalars page; once per run."""
        from torch.utils.tensorboard import summary  # slow to import

        charts = {
            category: {title: ["Multiline", tags] for title, tags in titles.items()}
            for category, titles in layout.items()
        }
        self.events.add(summary=summary.custom_scalars(charts))

    def episode(self, agent_step: int, episode: Episode) -> None:
        """Write a finished episode, under CleanRL's names."""
        self._scalars(
            agent_step,
            {
                "charts/episodic_return": episode.raw_return,
                "charts/episodic_length": episode.length_steps,
            },
        )

    def rollout(self, agent_step: int, recent: RecentEpisodes, steps_per_s: float) -> None:
        """Write the means over the newest episodes and the speed, under SB3's names.

        Args:
            agent_step: agent steps done.
            recent: the newest episodes; without any, no means are written.
            steps_per_s: agent steps per second, not emulator frames.
        """
        if recent.mean_return is not None and recent.mean_length_steps is not None:
            means = {
                "rollout/ep_rew_mean": recent.mean_return,
                "rollout/ep_len_mean": recent.mean_length_steps,
            }
            self._scalars(agent_step, means)
        self._scalars(agent_step, {"time/fps": steps_per_s})

    def metrics(self, agent_step: int, metrics: Mapping[str, Tensor | float]) -> None:
        """Write an update's metrics: `loss` becomes `train/loss`, a name with a slash is a tag.

        Call it at the log interval only: it waits for the device. It also writes what has gathered,
        so that a kill loses at most one interval.

        Args:
            agent_step: agent steps done.
            metrics: scalars by name.

        Raises:
            ValueError: a tensor of more than one element.
        """
        floats = to_floats(metrics).items()
        tagged = {name if "/" in name else f"train/{name}": value for name, value in floats}
        self._scalars(agent_step, tagged)
        self.events.file.flush()

    def histograms(self, agent_step: int, tensors: Mapping[str, Tensor]) -> None:
        """Write distributions by tag, such as the gains and the vector norms of each layer.

        Values that are not finite are left out.

        Args:
            agent_step: agent steps done.
            tensors: values of any shape, by tag.
        """
        from torch.utils.tensorboard import summary  # slow to import

        for tag, tensor in tensors.items():
            values = tensor.detach().to("cpu", torch.float32)
            finite = values[values.isfinite()]
            if finite.numel():
                part = summary.histogram(tag, finite.numpy(), _HISTOGRAM_EDGES)
                self.events.add(step=agent_step, summary=part)

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
        means = {"eval/mean_reward": mean_return, "eval/mean_ep_length": mean_length}
        self._scalars(agent_step, means)
        self.events.file.flush()

    def clip(self, agent_step: int, clip: Clip) -> None:
        """Write a GIF as an image, which is how `SummaryWriter.add_video` writes a video."""
        from tensorboard.compat.proto.summary_pb2 import Summary  # slow to import

        image = Summary.Image(
            height=clip.height, width=clip.width, colorspace=3, encoded_image_string=clip.data
        )
        part = Summary(value=[Summary.Value(tag=TAG, image=image)])
        self.events.add(step=agent_step, summary=part)
        self.events.file.flush()

    def _scalars(self, agent_step: int, values: Mapping[str, float]) -> None:
        self.events.scalars(agent_step, values)
        self._also(agent_step, values)

    def close(self) -> None:
        """Write what has gathered. The file is open only while it is written."""
        self.events.file.flush()


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
