"""Generators derived from the run's seed and a purpose, one per consumer of randomness.

No global generator is used. Different purposes and different seeds have different streams
(NumPy's `SeedSequence` mixes both).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from wnrl._settings.later import Later

if TYPE_CHECKING:
    import torch
else:
    torch = Later("torch")


def seed_sequence(seed: int, purpose: str, *index: int) -> np.random.SeedSequence:
    """Return one consumer's seed material, for example of `(1, "environment", 3)`."""
    return np.random.SeedSequence(entropy=seed, spawn_key=(zlib.crc32(purpose.encode()), *index))


def integer_seed(seed: int, purpose: str, *index: int) -> int:
    """Return a seed in [0, 2**31), for libraries that take an int."""
    return int(seed_sequence(seed, purpose, *index).generate_state(1)[0] >> 1)


def numpy_generator(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """Return the NumPy generator of one consumer."""
    return np.random.Generator(np.random.PCG64(seed_sequence(seed, purpose, *index)))


def torch_generator(seed: int, purpose: str, *index: int) -> torch.Generator:
    """Return the torch CPU generator of one consumer."""
    return torch.Generator().manual_seed(integer_seed(seed, purpose, *index))


def jumped(state: Any, times: int) -> Any:
    """Return a nested state whose NumPy generators continue with other, independent numbers.

    Args:
        state: dicts, lists, tuples and values; generators are the states of their bit generators.
        times: jumps; different numbers of jumps give different streams.
    """
    if isinstance(state, Mapping) and state.get("bit_generator") == "PCG64":
        generator = np.random.PCG64()
        generator.state = dict(state)  # type: ignore[assignment]  # as PCG64 gave it
        return generator.jumped(times).state
    if isinstance(state, Mapping):
        return {key: jumped(value, times) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(jumped(value, times) for value in state)
    return state
