"""How variants and text look: the same normalization the same way in every picture.

Every colour stands out from a white page and from a dark one. Those of what is compared most are
near Okabe and Ito's, which the colour-blind can tell apart; of the others, kin come close to one
another. So colour is never alone: there are markers, and labels.
"""

import contextlib
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import matplotlib.style

from wnrl.report.comparison import Comparison, Variant

INK = "#1c2025"  # of all text and axes
WARNING = "#cf5300"
MUTED = 0.75  # opacity of what is said in passing
FONT = "DejaVu Sans"  # comes with matplotlib, and is wider than what browsers put in its place

TITLE_PT = 11.0
PANEL_PT = 9.5
LABEL_PT = 8.0
SMALL_PT = 7.5

_RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": [FONT, "Verdana", "Helvetica", "Arial"],  # what an SVG asks for
    "font.size": LABEL_PT,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.xmargin": 0.0,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.minor.size": 0.0,
    "svg.fonttype": "none",
    "svg.hashsalt": "wnrl",
    "path.simplify": True,
}

# Colour and marker of each normalization in wnrl.nn.norms.catalogue; kin have related colours.
_NORMS = {
    "none": ("#767676", "o"),
    "weight": ("#0f7ec2", "s"),
    "weight-mean": ("#3f97d8", "D"),
    "mean": ("#11929e", "v"),
    "batch": ("#d55e00", "^"),
    "batch-renorm": ("#e0524a", "<"),
    "layer": ("#009e73", "D"),
    "layer-channel": ("#6d9a12", "p"),
    "layer-plain": ("#3f8f3f", "h"),
    "rms": ("#b8629a", "v"),
    "group": ("#a97a00", "P"),
    "spectral": ("#8063d0", "X"),
    "weight-standardization": ("#5b7fd6", "p"),
    "projection": ("#d04880", "h"),
    "nap": ("#957060", ">"),
}
_OTHERS = ("#a97a00", "#8063d0", "#d04880", "#957060", "#11929e")  # of registered normalizations

_Dashes = tuple[float, tuple[float, ...]]
_DASHES: tuple[_Dashes, ...] = (
    (0, ()),
    (0, (5, 1.5)),
    (0, (5, 1.5, 1, 1.5)),
    (0, (1, 1)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (9, 2)),
)
REFERENCE_DASHES: _Dashes = (0, (3, 3))


class Look(NamedTuple):
    """How a variant is drawn."""

    color: str
    marker: str
    dashes: _Dashes


def look_of(norm: str, place: int) -> Look:
    """How a normalization is drawn, with the values of swept settings that come at this place."""
    spare = _OTHERS[zlib.crc32(norm.encode()) % len(_OTHERS)], "*"
    return Look(*_NORMS.get(norm, spare), _DASHES[place % len(_DASHES)])


def looks(comparison: Comparison) -> dict[Variant, Look]:
    """How each variant is drawn: colour and marker by normalization, dashes by swept values."""
    variants = dict.fromkeys(each.variant for game in comparison.games for each in game.scored)
    places = list(dict.fromkeys(variant.values for variant in variants))
    return {each: look_of(each.norm, places.index(each.values)) for each in variants}


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """matplotlib's own defaults and ours, whatever the user's settings, and those back after."""
    with matplotlib.style.context(["default", _RC]):
        yield
