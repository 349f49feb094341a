"""Run folders with one checkpoint, made in a moment, and what their policies do."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from agent_runs import built, configured, ticks

from wnrl.envs.seeding import numpy_generator
from wnrl.envs.vector import Actions, Observations, VectorEnv
from wnrl.train.storage.checkpoint import Checkpoints
from wnrl.train.storage.run_folder import RunDirectory

SMALL: dict[str, dict[str, Any]] = {
    "dqn": {"warmup_steps": 64, "buffer_size": 400, "num_envs": 1},
    "pqn": {"num_envs": 4, "rollout_steps": 16, "minibatches": 2},
    "a2c": {"num_envs": 4},
    "ppo": {"num_envs": 4, "rollout_steps": 16, "minibatches": 2},
}
STEPS = 160  # agent steps, in which each agent learns a few times


class SavedRun(NamedTuple):
    """A run, its agent, and observations that it may meet."""

    folder: Path
    agent: Any
    observations: Observations  # (B, *shape)

    @property
    def output(self) -> Any:
        """What the network of the policy, frozen for evaluation, says of the observations."""
        with torch.no_grad():
            network = self.agent.learner.frozen_network().eval()
            return network(torch.from_numpy(self.observations))

    @property
    def actions(self) -> Actions:
        """Actions (B,) of the policy, of highest value or probability."""
        output = self.output
        logits = output.logits if hasattr(output, "logits") else output
        best: Actions = logits.argmax(1).numpy()
        return best


def saved_run(
    folder: Path, agent: str, env: str, norm: str, *, batch: int = 1_000, **changes: Any
) -> SavedRun:
    """Let an agent learn a little and save it as a run saves it."""
    config = configured(agent, env=env, norm=norm, steps=STEPS, **{**SMALL[agent], **changes})
    envs, learner = built(config)
    envs.reset()
    assert any(tick.metrics for tick in ticks(envs, learner, 0, STEPS))
    seen = _observations(envs, batch)
    envs.close()
    _balance_(learner.network, seen)
    with RunDirectory(folder) as run:
        run.write_config(config, {}, 0)
        state = {"agent": learner.state_dict()}
        Checkpoints(folder).save(STEPS, state, learner.network.state_dict(), learner.rows)
    return SavedRun(folder, learner, seen)


def _observations(envs: VectorEnv, batch: int) -> Observations:
    """Return observations (B, *shape) of random play."""
    generator = numpy_generator(0, "observations")
    seen = []
    while sum(map(len, seen)) < batch:
        seen.append(envs.obs.copy())
        envs.send(generator.integers(envs.num_actions, size=envs.num_envs))
        envs.recv()
    together: Any = np.concatenate(seen)[:batch]
    return together


@torch.no_grad()
def _balance_(network: Any, observations: Observations) -> None:
    """Make the outputs' means equal, so that not one action is the best everywhere."""
    output = network.eval()(torch.from_numpy(observations))
    logits = output.logits if hasattr(output, "logits") else output
    head = network.policy if hasattr(network, "policy") else network.head
    if hasattr(head, "bias"):  # one layer
        head.bias.sub_(logits.mean(0))
