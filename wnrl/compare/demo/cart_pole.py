"""Pictures of CartPole-v1, drawn from its observations: Gymnasium's own need another package.

Dimension key: T steps.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from wnrl.envs.vector import Flags, Picture

BEST_STEPS = 500  # at which Gymnasium ends an episode
LIMIT_X = 2.4  # of the cart's position, where an episode ends
WIDTH, HEIGHT = 300, 400  # pixels of a pane
_GROUND_Y, _POLE, _CART = 300, 150, (60, 30)  # pixels
_SKY, _INK, _WOOD = "#ffffff", "#1c2025", "#b5763a"


class Play(NamedTuple):
    """The steps of one agent in one environment, one episode after the other."""

    title: str
    observations: npt.NDArray[np.float32]  # (T, 4): position, speed, angle in rad, its speed
    first: Flags  # (T,) an episode's first observation

    def falls(self, t: int) -> int:
        """Return how many episodes ended before their best length, up to step t."""
        lengths = np.diff(np.flatnonzero(self.first[: t + 1])) - 1
        return int((lengths < BEST_STEPS).sum())


def pictures(plays: Sequence[Play], steps: int, every: int) -> Iterator[Picture]:
    """Yield pictures (HEIGHT, panes * WIDTH, 3) of several agents next to each other.

    Args:
        plays: a pane each; one that is shorter stays at its last step.
        steps: environment steps to show.
        every: steps from one picture to the next.
    """
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    font = ImageFont.truetype(fonts / "DejaVuSans.ttf", 17)
    for t in range(0, steps, every):
        image = Image.new("RGB", (WIDTH * len(plays), HEIGHT), _SKY)
        draw = ImageDraw.Draw(image)
        for pane, play in enumerate(plays):
            _draw_pane(draw, font, pane * WIDTH, play, min(t, len(play.first) - 1))
        yield np.asarray(image)


def _draw_pane(
    draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont, left: int, play: Play, t: int
) -> None:
    """Draw the cart and the pole of one agent at step t, with its falls so far."""
    position, _, angle, _ = play.observations[t].tolist()
    middle, (cart_width, cart_height) = left + WIDTH / 2, _CART
    x = middle + position / LIMIT_X * (WIDTH - cart_width) / 2
    top = _GROUND_Y - cart_height
    tip = (x + _POLE * math.sin(angle), top - _POLE * math.cos(angle))
    draw.line([(left + 8, _GROUND_Y), (left + WIDTH - 8, _GROUND_Y)], fill=_INK, width=2)
    draw.rectangle([x - cart_width / 2, top, x + cart_width / 2, _GROUND_Y], fill=_INK)
    draw.line([(x, top), tip], fill=_WOOD, width=10)
    draw.text((middle, 30), play.title, fill=_INK, font=font, anchor="mm")
    draw.text((middle, HEIGHT - 50), f"falls: {play.falls(t)}", fill=_INK, font=font, anchor="mm")
