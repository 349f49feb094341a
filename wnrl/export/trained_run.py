"""A run as its checkpoint left it: configuration, network and facts, without an agent."""

import contextlib
import copy
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from wnrl import __version__
from wnrl._settings import UsageError
from wnrl.config import Config, replace
from wnrl.envs.vector import ObservationSpec
from wnrl.nn import export_gv, fold_
from wnrl.nn.networks.recurrent import Recurrent
from wnrl.nn.networks.spec import NetworkSpec
from wnrl.train.build import RunParts, build_env, build_network, resolve
from wnrl.train.storage.checkpoint import Checkpoints, Saved
from wnrl.train.storage.checkpoint_manifest import BrokenCheckpoint
from wnrl.train.storage.run_folder import (
    Part,
    loading,
    naming_modules,
    read_config,
    read_config_file,
)


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A checkpoint of a run. Its network is in evaluation mode, on the CPU."""

    folder: Path
    parts: RunParts
    saved: Saved
    network: nn.Module  # as it was trained; `folded` is the plain one
    spec: NetworkSpec
    space: spaces.Box  # observations as Gymnasium and Stable-Baselines3 describe them

    @property
    def config(self) -> Config:
        """Settings of the run."""
        return self.parts.config

    @property
    def agent_steps(self) -> int:
        """Agent steps done at the checkpoint."""
        return self.saved.step

    @property
    def recurrent(self) -> bool:
        """Return whether the network has an LSTM."""
        return isinstance(self.network, Recurrent)

    @functools.cached_property
    def software(self) -> list[Part]:
        """Parts of the run up to the checkpoint, with the versions and commits that did them."""
        parts = read_config_file(self.folder).parts
        return [part for part in parts if part.from_agent_step < self.agent_steps] or parts[:1]

    def folded(self) -> nn.Module:
        """Return a copy of the network with torch's layers in place of normalized ones.

        Layers that normalize activations stay, in evaluation mode.
        """
        return fold_(copy.deepcopy(self.network)).requires_grad_(False)

    def gains_and_vectors(self) -> dict[str, Tensor]:
        """Return the state with each weight-normalized weight as g and v; empty without any.

        Raises:
            UsageError: the checkpoint's state cannot be read.
        """
        if not self.parts.norm.weight_vectors:
            return {}
        optimizer: Any = self.parts.norm.optimizer(self.network, self.parts.optimizer)
        with loading(self.folder, self.agent_steps), _broken(self.saved):
            optimizer.load_state_dict(self.saved.state()["agent"]["optimizer"])
        while not isinstance(optimizer, torch.optim.Optimizer):
            optimizer = optimizer.optimizer  # inside one that clips or follows a schedule
        return dict(export_gv(self.network, optimizer))

    @functools.cached_property
    def facts(self) -> dict[str, str]:
        """Return what a file says about its origin, by name, as texts."""
        run, newest = self.config.run, self.software[-1:]
        known = {
            "env": run.env,
            "env_kwargs": run.env_kwargs,
            "protocol": self.config.protocol.description if self.config.protocol else "",
            "agent": run.agent,
            "norm": run.norm,
            "seed": str(run.seed),
            "agent_steps": str(self.agent_steps),
            "observation": f"{self.spec.dtype} {list(self.spec.shape)}",
            "actions": str(self.spec.num_actions),
            "trained_with": "".join(part.versions.get("wnrl", "") for part in newest),
            "commit": "".join(part.commit or "" for part in newest),
            "exported_with": __version__,
        }
        return {name: text for name, text in known.items() if text}


def load_run(run_dir: Path, checkpoint: int | None = None) -> TrainedRun:
    """Load a checkpoint of a run. Nothing in the folder is executed, followed or changed.

    Args:
        run_dir: the run's folder.
        checkpoint: agent steps of the checkpoint; None for the newest.

    Raises:
        UsageError: no run, no usable checkpoint, or one that this version cannot read.
    """
    config = read_config(run_dir)
    checkpoints = Checkpoints(run_dir)
    saved = (
        checkpoints.latest(weights_only=True)
        if checkpoint is None
        else checkpoints.at(checkpoint, weights_only=True)
    )
    if saved is None:
        raise UsageError(f"{run_dir} has no checkpoint yet; train it longer first")
    parts = resolve(config)
    with naming_modules(run_dir):
        env = build_env(parts, num_envs=1)
    with contextlib.closing(env):
        # The checkpoint's weights replace an initialization from data.
        network, _ = build_network(resolve(replace(config, init="default")), env)
        with loading(run_dir, saved.step):
            network.load_state_dict(saved.network())
        return TrainedRun(
            run_dir,
            parts,
            saved,
            network.eval(),
            parts.network(env),
            _space(env.observation, getattr(env, "space", None)),
        )


def _space(observation: ObservationSpec, given: spaces.Space[Any] | None) -> spaces.Box:
    """Return the environment's own space if the network reads its numbers as they are."""
    if isinstance(given, spaces.Box) and given.shape == observation.shape and len(given.shape) == 1:
        return given
    if observation.dtype == "uint8":
        return spaces.Box(0, 255, observation.shape, dtype=np.uint8)
    return spaces.Box(-float("inf"), float("inf"), observation.shape)


@contextlib.contextmanager
def _broken(saved: Saved) -> Iterator[None]:
    """Report a checkpoint whose state cannot be read in one line."""
    try:
        yield
    except BrokenCheckpoint as error:
        raise UsageError(f"checkpoint {saved.path} is broken ({error})") from None
