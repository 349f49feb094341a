"""Pictures as elements of an HTML page that may be light or dark. Their titles are the page's."""

import dataclasses
import html
import io
import re

from matplotlib.figure import Figure

from wnrl.report.comparison import Comparison
from wnrl.report.figures import PageFigure
from wnrl.report.figures.layout import NARROW, WIDE
from wnrl.report.figures.pictures import pictures
from wnrl.report.figures.sheet import compose
from wnrl.report.figures.style import INK, drawing

_PAGE_FONT = "font-family: system-ui, sans-serif"


def page_pictures(comparison: Comparison, *, narrow: bool) -> list[PageFigure]:
    """As `wnrl.report.figures.page_figures`, which see."""
    with drawing():
        return [
            PageFigure(
                title=picture.sheet.title,
                caption=picture.caption,
                svg=_inline_svg(
                    compose(dataclasses.replace(picture.sheet, title="")),
                    prefix=f"{picture.stem}-{'narrow' if narrow else 'wide'}-",
                    alt=picture.alt,
                ),
                alt=picture.alt,
            )
            for picture in pictures(comparison, NARROW if narrow else WIDE, each_game=False)
        ]


def _inline_svg(figure: Figure, *, prefix: str, alt: str) -> str:
    """An <svg> element to stand among others.

    Args:
        figure: what is drawn; its background is left out and its ink becomes `currentColor`.
        prefix: of every id in it.
        alt: what it shows, in words.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    # As it stands, this rule would be one for the whole page.
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
