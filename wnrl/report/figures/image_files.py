"""Figures as PNG and SVG files."""

from collections.abc import Iterator
from pathlib import Path

from wnrl.report.comparison import Comparison
from wnrl.report.figures.figure_list import figure_list
from wnrl.report.figures.layout import WIDE
from wnrl.report.figures.sheet import compose
from wnrl.report.figures.style import drawing
from wnrl.train.storage.atomic_files import replacing

_DPI = 160
_NAMES = ("differences", "curves", "curves-*", "range-*", "aggregates", "conditioning")


def write_images(out: Path, comparison: Comparison) -> list[Path]:
    """Write all figures and remove those of an earlier report; see `write_figures`."""
    written = []
    with drawing():
        for planned in figure_list(comparison, WIDE, each_game=True):
            figure = compose(planned.sheet)
            for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
                path = out / f"{planned.stem}.{suffix}"
                with replacing(path) as temporary:
                    figure.savefig(temporary, format=suffix, dpi=_DPI, metadata=metadata)
                written.append(path)
    for path in set(_existing(out)) - set(written):
        path.unlink()
    return written


def _existing(out: Path) -> Iterator[Path]:
    for name in _NAMES:
        for suffix in ("png", "svg"):
            yield from out.glob(f"{name}.{suffix}")
