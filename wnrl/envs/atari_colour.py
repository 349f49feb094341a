"""Colour pictures of a game that was played in gray: the same seed and actions, played again."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from wnrl.envs.atari import EpisodeLog, open_emulator
from wnrl.envs.games import require_rom_id
from wnrl.envs.protocols import protocol_named


def colour_frames(game: str, protocol: str, log: EpisodeLog) -> Iterator[npt.NDArray[np.uint8]]:
    """The newest episode of a log, one frame (210, 160, 3) per observation, its first included.

    Each frame is the maximum over two emulator frames, as the agent sees it, so that objects which
    games draw in every other frame do not flicker.

    Args:
        game: the name that the log was recorded under.
        protocol: the protocol that it was recorded under.
        log: from `Atari.episode_log`.

    Raises:
        UsageError: an unknown game or protocol.
    """
    emulator = open_emulator(
        require_rom_id(game), 1, protocol_named(protocol), num_threads=1, colour=True
    )
    obs, _ = emulator.reset(seed=np.array([log.seed]))
    if log.start == 0:
        yield obs[0, 0]
    for count, action in enumerate(log.actions.tolist(), start=1):
        obs, *_ = emulator.step(np.array([action], np.int64))
        if count >= log.start:
            yield obs[0, 0]
