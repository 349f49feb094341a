"""An episode as an animated GIF in colour, encoded by Pillow.

The emulator is deterministic: the same game, seed and actions give the same episode. So an episode
that was evaluated on gray 84x84 frames is played again at full size.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from wnrl._settings import UsageError
from wnrl.envs.action_log import ActionLog
from wnrl.envs.atari_emulator import open_emulator
from wnrl.envs.games import require_rom_id
from wnrl.envs.protocols import AtariProtocol

MAX_FRAMES = 2_000  # about two minutes of play; longer files take hundreds of megabytes
FRAMES_PER_S = 60  # of the console


def write_episode_gif(path: Path, game: str, protocol: AtariProtocol, log: ActionLog) -> int:
    """Draw the newest episode of a log, at most `MAX_FRAMES` agent steps of it.

    Args:
        path: the file to write.
        game: name of the game that was played.
        protocol: the protocol that it was played under.
        log: from `Atari.action_log`.

    Returns:
        Agent steps drawn.

    Raises:
        UsageError: the file cannot be written.
    """
    frames = [
        Image.fromarray(frame).quantize(colors=64)
        for frame in islice(colour_frames(game, protocol, log), MAX_FRAMES)
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        frames[0].save(
            path,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=step_ms(protocol),
            loop=0,
        )
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror or error}; name another file"
        ) from None
    return len(frames)


def step_ms(protocol: AtariProtocol) -> int:
    """Return how long an agent step is shown, in whole hundredths of a second as a GIF has them."""
    return 10 * round(100 * protocol.frameskip_frames / FRAMES_PER_S)


def colour_frames(
    game: str, protocol: AtariProtocol, log: ActionLog
) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the newest episode of a log, one frame (210, 160, 3) per observation.

    Each frame is the maximum over two emulator frames, as the agent sees it. So objects that a game
    draws in every other frame do not flicker.

    Args:
        game: name of the game that was played.
        protocol: the protocol that it was played under.
        log: from `Atari.action_log`.

    Raises:
        UsageError: an unknown game.
    """
    emulator = open_emulator(require_rom_id(game), 1, protocol, num_threads=1, colour=True)
    obs, _ = emulator.reset(seed=np.array([log.seed]))
    if log.start == 0:
        yield obs[0, 0]
    for count, action in enumerate(log.actions.tolist(), start=1):
        obs, *_ = emulator.step(np.array([action], np.int64))
        if count >= log.start:
            yield obs[0, 0]
