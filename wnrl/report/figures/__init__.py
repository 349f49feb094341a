"""The pictures of a comparison: learning curves, ranges of swept settings, aggregates over games.

They show what `wnrl.report.comparison` holds and compute nothing but their own layout. matplotlib
takes
most of a second to import, so it is imported when a picture is drawn.
"""

from pathlib import Path
from typing import NamedTuple

from wnrl.report.comparison import Comparison


class PageFigure(NamedTuple):
    """A picture to stand in an HTML page."""

    title: str  # for a heading: it is not in the picture
    caption: str  # what is drawn, in a sentence; what cannot be concluded stands in the picture
    svg: str  # an <svg> element: transparent, its ink `currentColor`, its ids its own in the page
    alt: str  # what it shows, in words; the <svg> has it as its label


def write_figures(out: Path, comparison: Comparison) -> list[Path]:
    """Draw a comparison's pictures, each as PNG and SVG.

    `curves`: all games, and the IQM over training where they are aggregated; `curves-<Env>`: each
    game by itself where there are several; `range-<setting>` where a setting with numbers for
    values was swept; `aggregates` where there are some. Pictures by these names that are not made
    now are of an earlier report, and are removed.

    Args:
        out: the folder; each file in it is replaced as a whole.
        comparison: what is drawn.

    Returns:
        The files.
    """
    from wnrl.report.figures.files import write_pictures

    return write_pictures(out, comparison)


def page_figures(comparison: Comparison, *, narrow: bool) -> list[PageFigure]:
    """A comparison's pictures for an HTML page.

    Args:
        comparison: what is drawn.
        narrow: for the width of a phone, one panel below another; else for about 920 pixels.
    """
    from wnrl.report.figures.page import page_pictures

    return page_pictures(comparison, narrow=narrow)
