"""An episode as a small animated GIF in memory, for TensorBoard and trackers.

`wnrl.evaluate --video` writes whole episodes at a readable size; a clip is cut and shrunk, so that
the event file of a run stays small.
"""

import io
from itertools import islice
from typing import NamedTuple

from PIL import Image

from wnrl.envs.vector import Picture, Recording

TAG = "eval/video"
LONGEST_S = 30.0  # of play
MOST_HEIGHT = 250  # pixels
LEAST_HEIGHT = 125  # pixels; smaller pictures are enlarged by a whole factor
_FAST_STEPS_PER_S = 20.0  # above it, every fourth picture is shown; else every second
_COLOURS = 64


class Clip(NamedTuple):
    """An encoded GIF."""

    data: bytes
    height: int
    width: int


def encoded(recording: Recording) -> Clip:
    """Encode the first seconds of an episode.

    Args:
        recording: the episode, with at least one picture.
    """
    every = 4 if recording.steps_per_s > _FAST_STEPS_PER_S else 2
    most = round(LONGEST_S * recording.steps_per_s)
    shown = [_sized(each) for each in islice(recording.pictures, 0, most, every)]
    images = [Image.fromarray(each).quantize(colors=_COLOURS) for each in shown]
    file = io.BytesIO()
    images[0].save(
        file,
        format="GIF",
        save_all=True,
        append_images=images[1:],
        duration=10 * round(100 * every / recording.steps_per_s),  # ms, in whole hundredths of a s
        loop=0,
    )
    height, width = shown[0].shape[:2]
    return Clip(file.getvalue(), height, width)


def _sized(picture: Picture) -> Picture:
    smaller = -(-len(picture) // MOST_HEIGHT)
    picture = picture[::smaller, ::smaller]
    larger = -(-LEAST_HEIGHT // len(picture))
    return picture.repeat(larger, axis=0).repeat(larger, axis=1)
