"""From a configuration to what runs: environments, memory, normalization, network."""

import contextlib
import dataclasses
import functools
import math

import numpy as np
import torch
from torch import nn

from wnrl._settings import UsageError
from wnrl.agents.a2c_config import A2CConfig
from wnrl.agents.dqn import DQNConfig
from wnrl.agents.ppo_config import PPOConfig
from wnrl.agents.pqn_config import PQNConfig
from wnrl.config import AnyAgentConfig, Config, replace
from wnrl.doctor import memory
from wnrl.envs.make import is_atari, make_env
from wnrl.envs.protocols import AtariProtocol, protocol_named
from wnrl.envs.seeding import integer_seed, numpy_generator, torch_generator
from wnrl.envs.vector import Observations, VectorEnv
from wnrl.nn.networks.data_initialization import InitReport, init_from_data_
from wnrl.nn.networks.q_network import initialized
from wnrl.nn.networks.transition_values import separate_batches
from wnrl.nn.norms.catalogue import get_norm
from wnrl.nn.norms.record import Norm
from wnrl.rl.replay import Replay
from wnrl.rl.rollout import Rollout
from wnrl.rl.sequence_replay import SequenceReplay
from wnrl.train.build_network import assemble_network, initialize_network

MAX_EVAL_ENVS = 8  # and in random play
# Beside the replay: networks, optimizer, activations and emulators. Measured on Atari: 0.2 GiB.
RESERVE_BYTES = 512 * 1024**2

# Of an update, per byte of an observation: floats, activations and their gradients. Measured on
# Atari's rows of 28 KB: 350 KB a row with the Nature network, 2.8 MB with IMPALA of width 1.
ACTIVATION_BYTES = 12
IMPALA_ACTIVATION_BYTES = 100


def build_env(config: Config, *, num_envs: int = 0, seed: int | None = None) -> VectorEnv:
    """The run's environments, not yet reset; others with another number or seed."""
    return make_env(
        config.run.env,
        num_envs or config.agent.num_envs,
        config.run.seed if seed is None else seed,
        config.run.protocol,
        config.run.threads,
        _stack(config),
    )


def _stack(config: Config) -> int:
    """Frames in an observation, 0 where it is for the environment to say."""
    return config.run.stack or (1 if config.agent.recurrent and is_atari(config.run.env) else 0)


def evaluation_env(config: Config, episodes: int, purpose: str, *index: int) -> VectorEnv:
    """Environments apart from the training ones, seeded by what they are for."""
    seed = integer_seed(config.run.seed, purpose, *index)
    return build_env(config, num_envs=min(episodes, MAX_EVAL_ENVS), seed=seed)


def evaluation_epsilon(config: Config) -> float:
    """The protocol's share of random actions; 0 outside Atari, and for agents that draw theirs."""
    if is_atari(config.run.env) and isinstance(config.agent, DQNConfig | PQNConfig):
        return protocol_named(config.run.protocol).evaluation_epsilon
    return 0.0


def run_protocol(config: Config) -> AtariProtocol:
    """The protocol as an Atari run plays it: with its stack, evaluated as its policy is."""
    protocol = protocol_named(config.run.protocol, _stack(config))
    return dataclasses.replace(protocol, evaluation_epsilon=evaluation_epsilon(config))


def fit_memory(
    config: Config, env: VectorEnv, available_bytes: int, *, fixed: bool
) -> tuple[Config, str | None]:
    """Decide the replay's capacity before anything is allocated; refuse a rollout that is too big.

    Args:
        config: the run's.
        env: its environments.
        available_bytes: what this process can still take.
        fixed: the capacity is a resumed run's, which nothing may change.

    Returns:
        The configuration with a capacity that fits, and one line if it had to shrink.

    Raises:
        UsageError: a capacity that a person asked for, or a rollout, does not fit.
    """
    if not isinstance(config.agent, DQNConfig):
        _check_rollout(config, config.agent, env, available_bytes)
        return config, None
    settings, stack = config.agent, env.observation.stack
    minimum = env.num_envs * _least_rows(settings, stack)
    if settings.buffer_size < minimum:
        sequences = f", a burn-in of {settings.burn_in_steps}" if settings.recurrent else ""
        raise UsageError(
            f"--buffer-size {settings.buffer_size} is too small; {env.num_envs} environments, "
            f"stacks of {stack}{sequences} and {settings.n_step}-step returns need at least "
            f"{minimum} transitions"
        )
    capacity, note = memory.check_buffer(
        settings.buffer_size,
        explicit=fixed or "buffer_size" in config.explicit,
        bytes_needed=lambda capacity: _replay_bytes(settings, env, capacity),
        available=available_bytes,
        reserve_bytes=RESERVE_BYTES + _learning_bytes(config, env),
        minimum=max(minimum, settings.batch_size),
    )
    return replace(config, buffer_size=capacity), note


def _learning_bytes(config: Config, env: VectorEnv) -> int:
    """Bytes of one update beside what `RESERVE_BYTES` covers, by the rows that are seen at once."""
    settings = config.agent
    rows = settings.learning_batch
    if isinstance(settings, DQNConfig) and settings.recurrent:
        seen = settings.burn_in_steps + settings.sequence_steps + settings.n_step
        rows = settings.batch_size * seen
    row_bytes = math.prod(env.observation.shape) * np.dtype(env.observation.dtype).itemsize
    impala = config.run.network == "impala"
    each = IMPALA_ACTIVATION_BYTES * config.run.width if impala else ACTIVATION_BYTES
    return each * rows * row_bytes


def _least_rows(settings: DQNConfig, stack: int) -> int:
    """Rows that always hold something to sample, wherever episodes end."""
    if not settings.recurrent:
        return stack + settings.n_step + 1
    return SequenceReplay.least_rows(
        stack, settings.n_step, settings.burn_in_steps, settings.state_period_steps
    )


def _replay_bytes(settings: DQNConfig, env: VectorEnv, capacity: int) -> int:
    shape, dtype = env.observation.frame_shape, env.observation.dtype
    if not settings.recurrent:
        return Replay.bytes_needed(capacity, env.num_envs, shape, dtype)
    return SequenceReplay.bytes_needed(
        capacity,
        env.num_envs,
        shape,
        dtype,
        lstm_units=settings.lstm_units,
        period_steps=settings.state_period_steps,
    )


def _check_rollout(
    config: Config,
    settings: PQNConfig | A2CConfig | PPOConfig,
    env: VectorEnv,
    available_bytes: int,
) -> None:
    needed = _learning_bytes(config, env) + Rollout.bytes_needed(
        settings.rollout_steps, env.num_envs, env.observation.shape, env.observation.dtype
    )
    if needed + RESERVE_BYTES > available_bytes:
        raise UsageError(
            f"a rollout of --rollout-steps {settings.rollout_steps:_} in --num-envs "
            f"{env.num_envs} and learning from {settings.learning_batch:_} rows at once need "
            f"{memory.format_bytes(needed)}, and "
            f"{memory.format_bytes(max(0, available_bytes - RESERVE_BYTES))} can be had; lower "
            "one of them"
        )


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
    if settings.learning_batch < norm.smallest_batch:
        raise UsageError(
            f"{_batch(settings)} is too small for --norm {norm.name}, which needs at least "
            f"{norm.smallest_batch}"
        )
    if norm.values is not separate_batches and not (
        isinstance(settings, DQNConfig) and not settings.recurrent
    ):
        raise UsageError(
            f"--norm.statistics joint sees both ends of a transition at once; --agent "
            f"{config.run.agent}{' --recurrent' if settings.recurrent else ''} does not learn from "
            "such pairs: leave it out"
        )
    if norm.scheduled and settings.updates(config.run.schedule_steps) < 1:
        raise UsageError(
            f"--norm {norm.name} goes by --schedule-steps (by default the first --steps), and "
            f"{config.run.schedule_steps:_} leave it no update{_after_warmup(settings)}: all "
            "learning would be at the schedule's end; raise --schedule-steps"
        )
    # A normalization of one's own may ask for numbers, which there are none of: it is told later.
    with contextlib.suppress(NotImplementedError, RuntimeError), torch.device("meta"):
        assemble_network(config, env, norm)


def _batch(settings: AnyAgentConfig) -> str:
    if isinstance(settings, DQNConfig):
        return f"--batch-size {settings.batch_size}"
    return f"a minibatch of {settings.learning_batch} (--num-envs, --rollout-steps, --minibatches)"


def _after_warmup(settings: AnyAgentConfig) -> str:
    if not settings.warmup_steps:
        return ""
    return f" after --warmup-steps {settings.warmup_steps:_}"


def build_network(config: Config, env: VectorEnv) -> tuple[nn.Module, InitReport | None]:
    """The run's network as it starts, on the CPU: the same whatever device follows.

    With `--init data` the initialization is data-dependent (Salimans & Kingma 2016, section 3), on
    random play in environments that are seeded apart from the training ones.

    Returns:
        The network, and what the data said if they were asked.
    """
    norm, generator = build_norm(config), torch_generator(config.run.seed, "network")
    network = initialized(
        lambda: assemble_network(config, env, norm),
        norm,
        generator,
        functools.partial(initialize_network, config),
    )
    if config.run.init != "data":
        return network, None
    return network, init_from_data_(network, torch.from_numpy(random_play(config)))


def random_play(config: Config) -> Observations:
    """`init_observations` observations (B, ...) of uniformly random play."""
    # Few environments see more of the game in as many observations.
    num_envs = min(config.agent.num_envs, MAX_EVAL_ENVS)
    seed = integer_seed(config.run.seed, "initialization")
    env = build_env(config, num_envs=num_envs, seed=seed)
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
