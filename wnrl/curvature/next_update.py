"""The learning problem of a checkpoint: what the next update of its run would minimize.

The agent's own update is begun and stopped before its step. An agent with a replay learns from the
checkpoint's replay. The others collect a rollout first, with the checkpoint's policy, in
environments that are seeded apart from those of training.
"""

import contextlib
import copy
import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.agents.base import Agent
from wnrl.agents.learner import Unobserved
from wnrl.config import Config, replace
from wnrl.envs.seeding import integer_seed
from wnrl.envs.vector import VectorEnv
from wnrl.instruments.curvature import Problem
from wnrl.instruments.weight_rows import weight_vectors
from wnrl.train.build import build_agent, build_env, build_network, resolve
from wnrl.train.storage.checkpoint import Checkpoints, Saved
from wnrl.train.storage.run_folder import loading, naming_modules, read_config


class NextUpdate(NamedTuple):
    """A checkpoint's network and what it would learn next."""

    config: Config
    agent_steps: int  # at the checkpoint
    network: nn.Module  # with the checkpoint's weights and statistics
    problem: Problem
    vectors: dict[str, tuple[Tensor, Tensor]]  # from `weight_vectors`
    data: str  # where the batch comes from, in words


def next_update(run_dir: Path, rows: int, *, checkpoint: int | None, seed: int) -> NextUpdate:
    """Return the learning problem of a run's checkpoint, on the CPU.

    Args:
        run_dir: the run's folder.
        rows: transitions in the batch.
        checkpoint: its agent steps; None for the newest.
        seed: of the environments in which a rollout is collected, and of the rows chosen from it.

    Raises:
        UsageError: no run, no usable checkpoint of that step, a recurrent network, or a checkpoint
            from before the first update.
    """
    config = read_config(run_dir)
    if config.agent.recurrent:
        raise UsageError(
            f"{run_dir} has a recurrent network, whose curvature cannot be measured yet; "
            "give a run without recurrence"
        )
    settings = config.agent
    longer = max(getattr(settings, "rollout_steps", 1), math.ceil(rows / settings.num_envs))
    config = replace(
        config,
        init="default",  # the checkpoint's weights replace it
        graphs=False,
        batch_size=rows,
        rollout_steps=longer,
        minibatches=1,
        epochs=1,
    )
    checkpoints = Checkpoints(run_dir)
    saved = checkpoints.latest() if checkpoint is None else checkpoints.at(checkpoint)
    if saved is None:
        raise UsageError(f"{run_dir} has no checkpoint yet; train it longer first")
    parts = resolve(config)
    with naming_modules(run_dir):
        env = build_env(parts, seed=integer_seed(seed, "curvature"))
    with contextlib.closing(env):
        network, _ = build_network(parts, env)
        agent = build_agent(parts, env, network, torch.device("cpu"))
        with loading(run_dir, saved.step):
            _restore(agent, saved, checkpoints)
        network = copy.deepcopy(agent.network)  # beginning an update moves running statistics
        problem = _begin_update(agent, env)
    if problem is None:
        raise UsageError(
            f"{run_dir} has learnt nothing yet at agent step {saved.step}; choose a later "
            "checkpoint"
        )
    chosen = torch.randperm(problem.rows, generator=torch.Generator().manual_seed(seed))[:rows]
    return NextUpdate(
        config,
        saved.step,
        network,
        problem.take(chosen.sort().values),
        weight_vectors(agent.network, agent.learner.optimizer),
        "drawn from the run's replay"
        if agent.rows is not None
        else f"collected with the checkpoint's policy, seed {seed}",
    )


def _restore(agent: Agent, saved: Saved, checkpoints: Checkpoints) -> None:
    """Bring back the agent; a rollout begins empty, because it may have another length now."""
    state: dict[str, Any] = dict(saved.state()["agent"])
    if "collector" in state:
        empty = agent.state_dict()["collector"]
        state["collector"] = {**empty, "agent_steps": state["collector"]["agent_steps"]}
    agent.load_state_dict(state)
    if agent.rows is not None:
        checkpoints.resume(saved, agent.rows)


def _begin_update(agent: Agent, env: VectorEnv) -> Problem | None:
    """Return the problem of the agent's next update, which is not done; None if none is due."""
    learner = agent.learner
    if agent.rows is not None and learner.updates == 0:
        return None
    learner.observer = _Stop()
    try:
        if agent.rows is not None:
            learner.updates -= 1  # one is due
            agent.update()
            return None
        env.reset()
        while True:
            env.send(agent.act(env.obs, env.first))
            agent.observe(env.recv())
            agent.update()
    except _Begun:
        return learner.problem


class _Begun(Exception):
    """An update has its loss and gradients, and has not stepped."""


class _Stop(Unobserved):
    """Observer that stops the first update."""

    def before_step(self, obs: Tensor, learning_batch: Tensor) -> None:
        """Raise `_Begun`."""
        raise _Begun
