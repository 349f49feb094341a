"""One owner of randomness per consumer: generators derived from the run's seed and a purpose.

Nothing here touches a global generator. Two purposes never share a stream, and neither do two
seeds, whatever their values (NumPy's `SeedSequence` mixes both).
"""

import zlib

import numpy as np
import torch


def seed_sequence(seed: int, purpose: str, *index: int) -> np.random.SeedSequence:
    """The seed material of one consumer, for example `seed_sequence(1, "environment", 3)`."""
    return np.random.SeedSequence(entropy=seed, spawn_key=(zlib.crc32(purpose.encode()), *index))


def integer_seed(seed: int, purpose: str, *index: int) -> int:
    """A seed in [0, 2**31) for libraries that take an int."""
    return int(seed_sequence(seed, purpose, *index).generate_state(1)[0] >> 1)


def numpy_generator(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """A NumPy generator of one consumer's own."""
    return np.random.Generator(np.random.PCG64(seed_sequence(seed, purpose, *index)))


def torch_generator(seed: int, purpose: str, *index: int) -> torch.Generator:
    """A torch CPU generator of one consumer's own."""
    return torch.Generator().manual_seed(integer_seed(seed, purpose, *index))
