"""Memory that ran out, however Python, NumPy, torch or the system says so."""

import errno

import torch

from wnrl._settings import flag_name
from wnrl.config import Config
from wnrl.envs.vector import ObservationSpec

_WORDS = ("not enough memory", "can't allocate memory", "out of memory", "ALLOC_FAILED")
_ANY = ObservationSpec((1,), "uint8", 1)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that no memory was left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


def what_to_lower(config: Config) -> str:
    """Name the flags of a run that decide how much memory it takes."""
    agent = config.agent
    names = (*agent.storage(agent.num_envs, _ANY).settings, *agent.batch_settings, "num_envs")
    *others, last = (f"--{flag_name(name)}" for name in dict.fromkeys(names))
    return f"{', '.join(others)} or {last}"
