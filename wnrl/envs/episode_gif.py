"""An episode as an animated GIF in colour, encoded by Pillow.

The emulator is deterministic: the same game, seed and actions give the same episode, so the one
that was evaluated on 84x84 grey frames is played again at full size.
"""

from itertools import islice
from pathlib import Path

from PIL import Image

from wnrl._settings import UsageError
from wnrl.envs.atari import EpisodeLog
from wnrl.envs.atari_colour import colour_frames

MAX_FRAMES = 2_000  # some two minutes of play; more makes files of hundreds of megabytes
FRAME_MS = 70  # an agent step is 4 frames of 60 Hz, 66.7 ms; a GIF counts in hundredths of a second


def write_episode_gif(path: Path, game: str, protocol: str, log: EpisodeLog) -> int:
    """Draw the newest episode of a log; returns how many agent steps, `MAX_FRAMES` at most.

    Args:
        path: the file to write.
        game: the Atari game that was played.
        protocol: the one that it was played under.
        log: from `Atari.episode_log`.

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
            path, format="GIF", save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0
        )
    except OSError as error:
        raise UsageError(f"--gif {path}: {error.strerror or error}; name another file") from None
    return len(frames)
