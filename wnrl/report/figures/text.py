"""How wide text is, broken into lines that fit; how the ticks of an axis are written."""

import functools
from collections.abc import Callable
from typing import Any

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties

from wnrl.report.figures.style import FONT

_DPI = 144
_SLACK = 1.03  # glyphs are placed on whole pixels, differently at every resolution


@functools.lru_cache(maxsize=4096)
def width_in(text: str, size_pt: float, *, bold: bool = False) -> float:
    """Inches that a line of text takes."""
    font = FontProperties(family=FONT, size=size_pt, weight="bold" if bold else "normal")
    width: float = _renderer().get_text_width_height_descent(text, font, ismath=False)[0]
    return width / _DPI * _SLACK


def wrap(text: str, available_in: float, size_pt: float, *, bold: bool = False) -> list[str]:
    """Text in lines no wider than this many inches; only a word that is wider is cut."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if width_in(longer, size_pt, bold=bold) <= available_in:
            line = longer
            continue
        if line:
            lines.append(line)
        line = word
        while width_in(line, size_pt, bold=bold) > available_in and len(line) > 1:
            kept = len(line) - 1
            while kept > 1 and width_in(line[:kept], size_pt, bold=bold) > available_in:
                kept -= 1
            lines.append(line[:kept])
            line = line[kept:]
    return [*lines, line] if line else lines


def tick_format(largest: float) -> Callable[[float, object], str]:
    """How the ticks of an axis that reaches to here are written, all in one unit.

    Args:
        largest: the largest magnitude on the axis; from a million on ticks are in `M`, from ten
            thousand on in `k`.
    """
    unit, suffix = next(
        (each for each in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if largest >= max(each[0], 1e4)),
        (1.0, ""),
    )

    def written(value: float, position: object = None) -> str:
        if value == 0:
            return "0"
        text = f"{value / unit:.10g}"
        if not suffix and abs(value) >= 1000:
            text = f"{value:,.10g}"
        return text.replace("-", "−") + suffix

    return written


@functools.cache
def _renderer() -> Any:
    return RendererAgg(1, 1, _DPI)  # type: ignore[no-untyped-call]  # as matplotlib has it
