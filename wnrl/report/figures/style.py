"""Colours, markers, dashes and fonts: a normalization looks the same in every figure of a report.

Every colour has enough contrast on a white and on a dark page. The colours of the most frequent
normalizations are close to Okabe and Ito's, which the colour-blind can tell apart. Some others are
similar, so lines also differ in their markers and have labels.
"""

import contextlib
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import matplotlib.style

from wnrl.report.comparison import Comparison, Variant

INK = "#1c2025"  # text and axes
WARNING = "#cf5300"
MUTED = 0.75  # opacity of notes and small print
FONT = "DejaVu Sans"  # comes with matplotlib; wider than the fonts that browsers substitute

TITLE_PT = 11.0
PANEL_PT = 9.5
LABEL_PT = 8.0
SMALL_PT = 7.5

_RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": [FONT, "Verdana", "Helvetica", "Arial"],  # requested by SVG files
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

BASELINE = "#767676"
_NONE_AS_RIVAL = "#8a6d3b"

# Colour and marker of each normalization in wnrl.nn.norms.catalogue; families share a hue.
_NORMS = {
    "none": (BASELINE, "o"),
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
    "dyt": ("#b0743c", "<"),
    "derf": ("#7d8c2a", ">"),
    "penultimate-l2": ("#9c6bbd", "d"),
    "simplicial": ("#2f9a8a", "8"),
    "l0": ("#a0655f", "H"),
    "weight-fixed-v": ("#4a5fd0", "H"),
    "weight-capped-v": ("#4a8fc4", "v"),
    "weight-fixed-gain": ("#6a8ec9", "P"),
    "weight-log-gain": ("#4d7fb5", "X"),
    "hyperball": ("#a83cc8", "o"),
    "hypersphere": ("#b5663d", "s"),
    "clip": ("#778a99", "d"),
    "spectral-grad": ("#9a6ad8", "h"),
    "l2-init": ("#8c7d3c", "p"),
    "parseval": ("#5f9068", "8"),
}
_SPARE = (
    ("#a97a00", "P"),
    ("#8063d0", "X"),
    ("#d04880", "h"),
    ("#957060", "d"),
    ("#11929e", "v"),
    ("#5f8f00", "<"),
    ("#c2492f", ">"),
    ("#4a6fd8", "^"),
)  # of user-defined normalizations

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
    """Appearance of a variant."""

    color: str
    marker: str
    dashes: _Dashes


def look_of(norm: str, place: int, norms: Iterable[str] = ()) -> Look:
    """Return the look of a normalization.

    Args:
        norm: its name; a user-defined one has a spare look, chosen by the name.
        place: number of its combination of swept values, for the dashes.
        norms: all normalizations of the figure, of which no two look the same while there are spare
            looks.
    """
    own = _own_looks({norm, *norms})[norm]
    return Look(*own, _DASHES[place % len(_DASHES)])


def _own_looks(norms: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return the colour and the marker of each normalization."""
    found = {norm: _NORMS[norm] for norm in norms if norm in _NORMS}
    for norm in sorted(set(norms).difference(found)):
        first = zlib.crc32(norm.encode()) % len(_SPARE)
        by_name = [*_SPARE[first:], *_SPARE[:first]]
        taken = {color for color, _ in found.values()}
        free = [look for look in by_name if look[0] not in taken]
        found[norm] = (free or by_name)[0]
    return found


def looks(comparison: Comparison) -> dict[Variant, Look]:
    """Return each variant's look: colour and marker by normalization, dashes by swept values.

    The baseline is grey; next to another baseline, no normalization is brown.
    """
    variants = dict.fromkeys(x.variant for game in comparison.games for x in game.variants)
    combinations = list(dict.fromkeys(variant.values for variant in variants))
    norms = {each.norm for each in variants}
    look = {each: look_of(each.norm, combinations.index(each.values), norms) for each in variants}
    baseline = comparison.question.baseline
    if comparison.all_pairs or baseline == "none":
        return look
    colors = {baseline: BASELINE, "none": _NONE_AS_RIVAL}
    return {
        variant: each._replace(color=colors.get(variant.norm, each.color))
        for variant, each in look.items()
    }


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Use matplotlib's defaults and our settings in this context; ignore the user's settings."""
    with matplotlib.style.context(["default", _RC]):
        yield
