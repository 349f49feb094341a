"""From a configuration to what runs: environments, network, optimizer, agent."""

import contextlib
import dataclasses
import math
from typing import Any

import numpy as np
import torch

from wnrl import losses, memory
from wnrl.agents import dqn
from wnrl.agents.base import Agent
from wnrl.agents.dqn import DQN
from wnrl.config import Config, replace
from wnrl.envs.make import is_atari, make_env
from wnrl.envs.protocols import protocol_named
from wnrl.envs.vector import Observations, VectorEnv
from wnrl.errors import UsageError
from wnrl.nn.initialization import InitReport, init_from_data_
from wnrl.nn.networks import QNetwork, assemble_q_network, build_q_network
from wnrl.nn.norm import Norm
from wnrl.nn.norms import get_norm
from wnrl.nn.weight_norm import set_vector_norms_
from wnrl.replay import Replay
from wnrl.schedules import linear
from wnrl.seeding import integer_seed, numpy_generator, torch_generator
from wnrl.stepping import OptimizerSpec

MAX_EVAL_ENVS = 8
# Beside the replay: networks, optimizer, activations and emulators. Measured on Atari: 0.2 GiB.
RESERVE_BYTES = 512 * 1024**2


def build_env(config: Config, *, num_envs: int = 0, seed: int | None = None) -> VectorEnv:
    """The run's environments, not yet reset; others with another number or seed."""
    return make_env(
        config.run.env,
        num_envs or config.agent.num_envs,
        config.run.seed if seed is None else seed,
        config.run.protocol,
        config.run.threads,
    )


def evaluation_env(config: Config, episodes: int, purpose: str, *index: int) -> VectorEnv:
    """Environments apart from the training ones, seeded by what they are for."""
    seed = integer_seed(config.run.seed, purpose, *index)
    return build_env(config, num_envs=min(episodes, MAX_EVAL_ENVS), seed=seed)


def evaluation_epsilon(config: Config) -> float:
    """The protocol's share of random actions; 0 outside Atari."""
    if is_atari(config.run.env):
        return protocol_named(config.run.protocol).evaluation_epsilon
    return 0.0


def fit_buffer(
    config: Config, env: VectorEnv, available_bytes: int, *, fixed: bool
) -> tuple[Config, str | None]:
    """Decide the replay's capacity before anything is allocated.

    Args:
        config: the run's.
        env: its environments.
        available_bytes: what this process can still take.
        fixed: the capacity is a resumed run's, which nothing may change.

    Returns:
        The configuration with a capacity that fits, and one line if it had to shrink.

    Raises:
        UsageError: a capacity that a person asked for does not fit.
    """
    shape, dtype = env.observation.frame_shape, env.observation.dtype
    # So many rows always hold a transition to sample, wherever episodes end.
    minimum = (env.observation.stack + config.agent.n_step + 1) * env.num_envs
    if config.agent.buffer_size < minimum:
        raise UsageError(
            f"--buffer-size {config.agent.buffer_size} is too small; {env.num_envs} environments, "
            f"stacks of {env.observation.stack} and {config.agent.n_step}-step returns need at "
            f"least {minimum} transitions"
        )
    capacity, note = memory.check_buffer(
        config.agent.buffer_size,
        explicit=fixed or "buffer_size" in config.explicit,
        bytes_needed=lambda n: Replay.bytes_needed(n, env.num_envs, shape, dtype),
        available=available_bytes,
        reserve_bytes=RESERVE_BYTES,
        minimum=max(minimum, config.agent.batch_size),
    )
    return replace(config, buffer_size=capacity), note


def build_norm(config: Config) -> Norm:
    """The run's normalization with its parameters, its weight vectors in the storage asked for."""
    norm = get_norm(config.run.norm).with_settings(dataclasses.asdict(config.norm))
    return norm.in_storage(config.run.weight_storage)


def check_norm(config: Config, env: VectorEnv) -> None:
    """Refuse a normalization that cannot be, before anything is computed or kept.

    Draws from no generator and touches no device: the network is assembled from shapes alone.

    Raises:
        UsageError: a place that the network does not have, layers that the normalization does not
            fit, a batch too small for it, or a schedule of its own without a single update.
    """
    norm, settings = build_norm(config), config.agent
    if settings.batch_size < norm.smallest_batch:
        raise UsageError(
            f"--batch-size {settings.batch_size} is too small for --norm {norm.name}, which needs "
            f"at least {norm.smallest_batch}"
        )
    if norm.scheduled and _updates_of_the_schedule(config) < 1:
        raise UsageError(
            f"--norm {norm.name} goes by --schedule-steps (by default the first --steps), and "
            f"{config.run.schedule_steps:_} leave it no update after --warmup-steps "
            f"{settings.warmup_steps:_}: all learning would be at the schedule's end; raise "
            "--schedule-steps or lower --warmup-steps"
        )
    # A normalization of one's own may ask for numbers, which there are none of: it is told later.
    with contextlib.suppress(NotImplementedError, RuntimeError), torch.device("meta"):
        assemble_q_network(**_network_settings(config, env, norm))


def _network_settings(config: Config, env: VectorEnv, norm: Norm) -> dict[str, Any]:
    return {
        "shape": env.observation.shape,
        "dtype": env.observation.dtype,
        "num_actions": env.num_actions,
        "norm": norm,
        "where": config.run.norm_where,
        "hidden": (config.agent.hidden,) * 2,
        "dueling": config.agent.dueling,
    }


def build_network(config: Config, env: VectorEnv) -> tuple[QNetwork, InitReport | None]:
    """The run's network as it starts, on the CPU: the same whatever device follows.

    With `--init data` the initialization is data-dependent (Salimans & Kingma 2016, section 3), on
    random play in environments that are seeded apart from the training ones.

    Returns:
        The network, and what the data said if they were asked.
    """
    network = build_q_network(
        **_network_settings(config, env, build_norm(config)),
        generator=torch_generator(config.run.seed, "network"),
    )
    if config.run.init != "data":
        return network, None
    return network, init_from_data_(network, torch.from_numpy(random_play(config)))


def build_agent(config: Config, env: VectorEnv, network: QNetwork, device: torch.device) -> Agent:
    """The run's agent as it starts, with a network from `build_network`, which it moves."""
    settings = config.agent
    set_vector_norms_(network, config.run.v_norm)
    network = network.to(device)
    norm = build_norm(config)
    optimizer = norm.optimizer(
        network,
        OptimizerSpec(
            name=settings.optimizer,
            learning_rate=settings.learning_rate,
            eps=settings.optimizer_eps,
            betas=(settings.beta1, 0.999),
            alpha=0.95,
            centered=True,
            max_grad_norm=settings.max_grad_norm or math.inf,
            v_norm=config.run.v_norm,
            total_updates=total_updates(config),
        ),
    )
    replay = Replay(
        settings.buffer_size,
        env.num_envs,
        env.observation.frame_shape,
        env.observation.dtype,
        env.observation.stack,
        settings.n_step,
        numpy_generator(config.run.seed, "replay"),
    )
    duration_steps = settings.epsilon_steps or config.run.schedule_steps // 10
    return DQN(
        network,
        optimizer,
        replay,
        settings,
        num_actions=env.num_actions,
        td_errors=dqn.double_q_learning if settings.double else dqn.q_learning,
        values=norm.values,
        loss=losses.huber if settings.loss == "huber" else losses.squared,
        epsilon=lambda step: linear(
            step, settings.epsilon_start, settings.epsilon_end, duration_steps
        ),
        after_step=norm.after_step,
        generator=numpy_generator(config.run.seed, "exploration"),
        device=device,
    )


def total_updates(config: Config) -> int:
    """Updates until the end of `--schedule-steps`, at least 1."""
    return max(1, _updates_of_the_schedule(config))


def _updates_of_the_schedule(config: Config) -> int:
    learning_steps = config.run.schedule_steps - config.agent.warmup_steps
    return learning_steps // config.agent.update_period_steps


def random_play(config: Config) -> Observations:
    """`init_observations` observations (B, ...) of uniformly random play."""
    env = build_env(config, seed=integer_seed(config.run.seed, "initialization"))
    generator = numpy_generator(config.run.seed, "initialization actions")
    wanted = config.run.init_observations
    try:
        env.reset()
        seen = [env.obs.copy()]
        while len(seen) * env.num_envs < wanted:
            env.send(generator.integers(env.num_actions, size=env.num_envs))
            seen.append(env.recv().obs.copy())
    finally:
        env.close()
    observations: Observations = np.concatenate(seen)[:wanted]  # type: ignore[assignment]  # one type
    return observations
