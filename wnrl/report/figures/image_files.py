"""Figures as PNG and SVG files."""

from collections.abc import Iterator
from pathlib import Path

from wnrl.report.comparison import Comparison
from wnrl.report.figures.figure_list import figure_list
from wnrl.report.figures.layout import WIDE
from wnrl.report.figures.sheet import Sheet, compose
from wnrl.report.figures.style import drawing
from wnrl.train.storage.atomic_files import replacing

_DPI = 160
_UNDATED = {  # metadata, so that the same figure is the same file
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}
_NAMES = ("differences", "curves", "curves-*", "range-*", "aggregates", "conditioning")


def write_images(out: Path, comparison: Comparison) -> list[Path]:
    """Write all figures and remove those of an earlier report; see `write_figures`."""
    written = []
    with drawing():
        for planned in figure_list(comparison, WIDE, each_game=True):
            paths = [out / f"{planned.stem}.{suffix}" for suffix in ("png", "svg")]
            save(planned.sheet, *paths)
            written += paths
    for path in set(_existing(out)) - set(written):
        path.unlink()
    return written


def save(sheet: Sheet, *paths: Path) -> None:
    """Write a figure to files, each whole or not at all, of the kinds that their suffixes name."""
    figure = compose(sheet)
    for path in paths:
        kind = path.suffix.removeprefix(".")
        with replacing(path) as temporary:
            figure.savefig(temporary, format=kind, dpi=_DPI, metadata=_UNDATED[kind])


def _existing(out: Path) -> Iterator[Path]:
    for name in _NAMES:
        for suffix in ("png", "svg"):
            yield from out.glob(f"{name}.{suffix}")
