"""Pictures as files, PNG and SVG, each replaced as a whole."""

from collections.abc import Iterator
from pathlib import Path

from wnrl.comparison import Comparison
from wnrl.durable import replacing
from wnrl.figures.layout import WIDE
from wnrl.figures.pictures import pictures
from wnrl.figures.sheet import compose
from wnrl.figures.style import drawing

_DPI = 160
_NAMES = ("curves", "curves-*", "range-*", "aggregates")


def write_pictures(out: Path, comparison: Comparison) -> list[Path]:
    """As `wnrl.figures.write_figures`, which see."""
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
