"""A table cell's picture of a variant in one game: a dot per seed, the mean and its interval."""

import math
from html import escape
from typing import NamedTuple

from wnrl.report.comparison import Game, Scored

_WIDTH, _HEIGHT, _MARGIN = 168, 26, 5  # pixels
_DOTS_Y, _INTERVAL_Y = 8, 19
_RADIUS = 3.2


class Scale(NamedTuple):
    """The range of final returns that all strips of a game share, so that they compare."""

    low: float
    high: float

    def x(self, value: float) -> str:
        """Where a final return stands, in pixels."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return f"{_MARGIN + share * (_WIDTH - 2 * _MARGIN):.1f}"


def scale_of(game: Game) -> Scale | None:
    """From the lowest to the highest of all seeds and intervals; None where nothing is scored."""
    values = [run.final for x in game.scored for run in x.runs]
    for x in game.scored:
        if x.final is not None:
            values += [end for end in (x.final.low, x.final.high) if not math.isnan(end)]
    return Scale(min(values), max(values)) if values else None


def seed_strip(scored: Scored, scale: Scale, colour: str, description: str) -> str:
    """Inline SVG, dots above the interval.

    Args:
        scored: the variant; one without runs has an empty strip.
        scale: of its game.
        colour: of dots, mean and interval, in CSS.
        description: what it shows, in words, for those who do not see it.
    """
    colour = escape(colour)
    drawn = [
        f'<circle cx="{scale.x(run.final)}" cy="{_DOTS_Y}" r="{_RADIUS}"/>' for run in scored.runs
    ]
    dots = f'<g fill="{colour}" fill-opacity="0.45" stroke="{colour}">{"".join(drawn)}</g>'
    return (
        f'<svg class="strip" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
        f' role="img" aria-label="{escape(description)}">{dots}{_interval(scored, scale, colour)}'
        "</svg>"
    )


def _interval(scored: Scored, scale: Scale, colour: str) -> str:
    if scored.final is None:
        return ""
    mean = scale.x(scored.final.mean)
    path = f"M{mean} {_INTERVAL_Y - 4}v8"
    if not math.isnan(scored.final.low):
        path += f"M{scale.x(scored.final.low)} {_INTERVAL_Y}H{scale.x(scored.final.high)}"
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
