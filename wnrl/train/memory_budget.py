"""Fit a run into memory before anything is allocated."""

import math

from torch import nn

from wnrl._settings import SettingError
from wnrl.agents.record import Storage
from wnrl.config import Config, replace
from wnrl.doctor import memory
from wnrl.envs.vector import VectorEnv
from wnrl.nn.networks.torsos import get_network

# Besides the replay: networks, optimizer, activations and emulators. Measured on Atari: 0.2 GiB.
RESERVE_BYTES = 512 * 1024**2
# How often a checkpoint's content is in memory while it is written: the state, its copy for the
# thread that writes, and the writer's buffers or the gaps that they leave. Measured: 2.5 to 3.
SAVED_COPIES = 3


def fit_memory(
    config: Config, env: VectorEnv, available_bytes: int, *, fixed: bool
) -> tuple[Config, str | None]:
    """Decide the replay's capacity; refuse a rollout that does not fit.

    Args:
        config: configuration of the run.
        env: its environments.
        available_bytes: memory that this process can still take.
        fixed: whether the capacity must stay, as in a resumed run.

    Returns:
        The configuration with a capacity that fits, and one line if it had to shrink.

    Raises:
        SettingError: a capacity that a person set, or a rollout, does not fit.
    """
    storage = config.agent.storage(env.num_envs, env.observation)
    if not storage.shrinks_to:
        _check_fixed(config, storage, env, available_bytes)
        return config, None
    (name,) = storage.settings
    if storage.rows < storage.least_rows:
        raise SettingError(
            name,
            f"{storage.rows} is too small; {storage.least_reason} need at least "
            f"{storage.least_rows} transitions",
        )
    capacity, note = memory.check_buffer(
        storage.rows,
        setting=name,
        explicit=fixed or name in config.explicit,
        bytes_needed=storage.bytes_of,
        available=available_bytes,
        reserve_bytes=RESERVE_BYTES + _update_bytes(config, env),
        minimum=storage.shrinks_to,
    )
    return replace(config, **{name: capacity}), note


def saving_bytes(config: Config, env: VectorEnv, network: nn.Module) -> int:
    """Return the memory that a checkpoint takes while it is written, by estimate.

    Of weights, two moments of each and a rollout. A replay is written from where it lies.
    """
    storage = config.agent.storage(env.num_envs, env.observation)
    rollout_bytes = 0 if storage.shrinks_to else storage.bytes_of(storage.rows)
    weights_bytes = sum(weights.nbytes for weights in network.parameters())
    return SAVED_COPIES * (3 * weights_bytes + rollout_bytes)


def _update_bytes(config: Config, env: VectorEnv) -> int:
    """Return the bytes of one update besides `RESERVE_BYTES`."""
    shape = env.observation.shape
    each = get_network(config.run.network, shape).activation_bytes * config.run.width
    update_bytes: int = each * config.agent.rows_per_update * math.prod(shape)
    return update_bytes


def _check_fixed(config: Config, storage: Storage, env: VectorEnv, available_bytes: int) -> None:
    needed = _update_bytes(config, env) + storage.bytes_of(storage.rows)
    if needed + RESERVE_BYTES > available_bytes:
        first, *others = storage.settings
        values = config.values
        parts = [f"{name} {values[name]:_}" for name in others]
        parts.append(f"learning from {config.agent.learning_batch:_} rows at once")
        raise SettingError(
            first,
            f"{values[first]:_} with {' and '.join(parts)} need "
            f"{memory.format_bytes(needed)}, and "
            f"{memory.format_bytes(max(0, available_bytes - RESERVE_BYTES))} are free; lower one "
            "of them",
        )
