"""An episode that was played, as pictures in colour."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from wnrl.envs.action_log import ActionLog
from wnrl.envs.atari_emulator import open_emulator
from wnrl.envs.games import require_rom_id
from wnrl.envs.protocols import AtariProtocol
from wnrl.envs.vector import Picture, Recording

CONSOLE_FRAMES_PER_S = 60
STEPS_PER_S = 10.0  # of environments that do not say how fast they are shown


def of_atari(game: str, protocol: AtariProtocol, log: ActionLog) -> Recording:
    """Return the newest episode of a log at the console's size and speed.

    The emulator is deterministic: the same game, seed and actions give the same episode. So an
    episode that was played on gray 84x84 frames is played again in colour.

    Args:
        game: name of the game that was played.
        protocol: the protocol that it was played under.
        log: from `Atari.action_log`.
    """
    speed = CONSOLE_FRAMES_PER_S / protocol.frameskip_frames
    return Recording(colour_frames(game, protocol, log), speed)


def colour_frames(game: str, protocol: AtariProtocol, log: ActionLog) -> Iterator[Picture]:
    """Yield the newest episode of a log, one picture (210, 160, 3) per observation.

    Each is the maximum over two emulator frames, as the agent sees it. So objects that a game draws
    in every other frame do not flicker.

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


def of_observations(observations: Iterable[npt.NDArray[np.uint8]]) -> Recording:
    """Return an episode of image observations (C, H, W) as they are.

    One channel is gray and three are red, green and blue. More have a colour each, where they are
    not 0, and a later one covers an earlier one.
    """
    return Recording((_picture(each) for each in observations), STEPS_PER_S)


def _picture(observation: npt.NDArray[np.uint8]) -> Picture:
    """Return one observation (C, H, W) in colour."""
    if len(observation) in (1, 3):
        picture: Picture = np.broadcast_to(observation, (3, *observation.shape[1:]))
        return np.ascontiguousarray(picture.transpose(1, 2, 0))
    picture = np.zeros((*observation.shape[1:], 3), np.uint8)
    for channel, colour in zip(observation, _colours(len(observation)), strict=True):
        picture[channel > 0] = colour
    return picture


def _colours(count: int) -> npt.NDArray[np.uint8]:
    """Return `count` colours (count, 3) of equal lightness, evenly around the circle of hues."""
    turns = np.arange(count) / count
    waves = np.cos(2 * np.pi * (turns[:, None] - np.array([0, 1 / 3, 2 / 3])))
    colours: npt.NDArray[np.uint8] = (155 + 100 * waves).astype(np.uint8)
    return colours
