"""Figures as <svg> elements for an HTML page that may be light or dark."""

import dataclasses
import html
import io
import re

from matplotlib.figure import Figure

from wnrl.report.comparison import Comparison
from wnrl.report.figures.figure_list import figure_list
from wnrl.report.figures.layout import NARROW, WIDE
from wnrl.report.figures.page_figure import PageFigure
from wnrl.report.figures.sheet import compose
from wnrl.report.figures.style import INK, drawing

_PAGE_FONT = "font-family: system-ui, sans-serif"


def inline_figures(comparison: Comparison, *, narrow: bool) -> list[PageFigure]:
    """Draw all figures without their titles; see `page_figures`."""
    with drawing():
        return [
            PageFigure(
                title=planned.sheet.title,
                caption=planned.caption,
                svg=_inline_svg(
                    compose(dataclasses.replace(planned.sheet, title="")),
                    prefix=f"{planned.stem}-{'narrow' if narrow else 'wide'}-",
                    alt=planned.alt,
                ),
                alt=planned.alt,
            )
            for planned in figure_list(comparison, NARROW if narrow else WIDE, each_game=False)
        ]


def _inline_svg(figure: Figure, *, prefix: str, alt: str) -> str:
    """Return an <svg> element that can be combined with others in a page.

    Args:
        figure: the figure; its background is removed and its ink becomes `currentColor`.
        prefix: prefix of all its ids.
        alt: text alternative.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    # matplotlib's style rule would apply to the whole page.
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}", text)
    text = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), text)
    text = re.sub(r'font-family: [^;"]*', _PAGE_FONT, text)
    text = text.replace(INK, "currentColor")
    opening = (
        f'<svg role="img" aria-label="{html.escape(alt)}" stroke-linejoin="round" '
        'style="max-width: 100%; height: auto"'
    )
    return text.replace("<svg", opening, 1)
