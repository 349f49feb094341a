"""A figure for an HTML page, as a record."""

from typing import NamedTuple


class PageFigure(NamedTuple):
    """A figure for an HTML page."""

    title: str  # for a heading; the figure does not contain it
    caption: str  # one or two sentences on what is drawn
    svg: str  # an <svg> element: transparent, drawn in `currentColor`, with unique ids
    alt: str  # text alternative, also the <svg>'s label
