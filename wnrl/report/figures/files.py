"""Pictures as files, PNG and SVG, each replaced as a whole."""

from collections.abc import Iterator
from pathlib import Path

from wnrl.report.comparison import Comparison
from wnrl.report.figures.layout import WIDE
from wnrl.report.figures.pictures import pictures
from wnrl.report.figures.sheet import compose
from wnrl.report.figures.style import drawing
from wnrl.train.storage.atomic_files import replacing

_DPI = 160
_NAMES = ("curves", "curves-*", "range-*", "aggregates")


def write_pictures(out: Path, comparison: Comparison) -> list[Path]:
    """As `wnrl.report.figures.write_figures`, which see."""
    written = []
    with drawing():
        for picture in pictures(comparison, WIDE, each_game=True):
            figure = compose(picture.sheet)
            for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
                path = out / f"{picture.stem}.{suffix}"
                with replacing(path) as temporary:
                    figure.savefig(temporary, format=suffix, dpi=_DPI, metadata=metadata)
                written.append(path)
    for path in set(_pictures_in(out)) - set(written):
        path.unlink()
    return written


def _pictures_in(out: Path) -> Iterator[Path]:
    for name in _NAMES:
        for suffix in ("png", "svg"):
            yield from out.glob(f"{name}.{suffix}")
