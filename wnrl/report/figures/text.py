"""Width of text, line breaking, and the format of tick labels."""

import functools
from collections.abc import Callable
from typing import Any

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties

from wnrl.report.figures.style import FONT

_DPI = 144
_SLACK = 1.03  # glyphs snap to whole pixels, which changes widths with the resolution


@functools.lru_cache(maxsize=4096)
def width_in(text: str, size_pt: float, *, bold: bool = False) -> float:
    """Return the width of a line of text in inches."""
    font = FontProperties(family=FONT, size=size_pt, weight="bold" if bold else "normal")
    width: float = _renderer().get_text_width_height_descent(text, font, ismath=False)[0]
    return width / _DPI * _SLACK


def wrap(text: str, available_in: float, size_pt: float, *, bold: bool = False) -> list[str]:
    """Break text into lines of at most this many inches, splitting only words that are wider."""
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
            fitting = len(line) - 1
            while fitting > 1 and width_in(line[:fitting], size_pt, bold=bold) > available_in:
                fitting -= 1
            lines.append(line[:fitting])
            line = line[fitting:]
    return [*lines, line] if line else lines


def tick_format(largest: float) -> Callable[[float, object], str]:
    """Return a formatter that writes all ticks of an axis in one unit.

    Args:
        largest: the largest magnitude on the axis. From ten thousand on ticks are in `k`, from a
            million on in `M`.
    """
    unit, suffix = next(
        (each for each in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if largest >= max(each[0], 1e4)),
        (1.0, ""),
    )

    def format_tick(value: float, position: object = None) -> str:
        if value == 0:
            return "0"
        text = f"{value / unit:.10g}"
        if not suffix and abs(value) >= 1000:
            text = f"{value:,.10g}"
        return text.replace("-", "−") + suffix

    return format_tick


@functools.cache
def _renderer() -> Any:
    return RendererAgg(1, 1, _DPI)  # type: ignore[no-untyped-call]  # untyped in matplotlib
