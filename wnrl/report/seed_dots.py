"""The small picture in a table cell: a dot per seed, their mean and its interval."""

from html import escape
from typing import NamedTuple

from wnrl.report.comparison import Game, VariantScores

_WIDTH, _HEIGHT, _MARGIN = 168, 26, 5  # pixels
_DOTS_Y, _INTERVAL_Y = 8, 19
_RADIUS = 3.2


class Scale(NamedTuple):
    """The range of final returns that all pictures of a game share."""

    low: float
    high: float

    def x(self, value: float) -> str:
        """Return the position of a final return in pixels."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return f"{_MARGIN + share * (_WIDTH - 2 * _MARGIN):.1f}"


def scale_of(game: Game) -> Scale | None:
    """Return the range of all seeds and intervals; None without scores."""
    values = [run.final for scores in game.variants for run in scores.runs]
    for scores in game.variants:
        if scores.final is not None and scores.final.bounded:
            values += [scores.final.low, scores.final.high]
    return Scale(min(values), max(values)) if values else None


def seed_dots(scores: VariantScores, scale: Scale, colour: str, description: str) -> str:
    """Return inline SVG with the dots above the interval.

    Args:
        scores: the variant; without runs the picture is empty.
        scale: the game's scale.
        colour: CSS colour of dots, mean and interval.
        description: text for screen readers.
    """
    colour = escape(colour)
    circles = [
        f'<circle cx="{scale.x(run.final)}" cy="{_DOTS_Y}" r="{_RADIUS}"/>' for run in scores.runs
    ]
    dots = f'<g fill="{colour}" fill-opacity="0.45" stroke="{colour}">{"".join(circles)}</g>'
    return (
        f'<svg class="strip" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
        f' role="img" aria-label="{escape(description)}">{dots}{_interval(scores, scale, colour)}'
        "</svg>"
    )


def _interval(scores: VariantScores, scale: Scale, colour: str) -> str:
    if scores.final is None:
        return ""
    mean = scale.x(scores.final.value)
    path = f"M{mean} {_INTERVAL_Y - 4}v8"
    if scores.final.bounded:
        path += f"M{scale.x(scores.final.low)} {_INTERVAL_Y}H{scale.x(scores.final.high)}"
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
