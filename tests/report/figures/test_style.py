import dataclasses
from types import SimpleNamespace
from typing import Any

import matplotlib
import pytest
from made_comparisons import made
from matplotlib.colors import to_rgb

from wnrl.nn.norms.catalogue import NORMS
from wnrl.report.comparison import Question, Variant
from wnrl.report.figures import style, sweep
from wnrl.report.figures.style import BASELINE, INK, WARNING, drawing, look_of, looks
from wnrl.report.plot.figure import looks_of

WHITE, DARK = "#ffffff", "#14181d"
GRAPHICS = 3.0  # contrast that WCAG 2.1 asks of graphics (1.4.11)


def luminance(color: str) -> float:
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("norm", [*NORMS, "my-own"])
def test_every_line_stands_out_from_a_white_and_from_a_dark_page(norm: str) -> None:
    color = look_of(norm, 0).color
    assert contrast(color, WHITE) >= GRAPHICS
    assert contrast(color, DARK) >= GRAPHICS


def test_warnings_stand_out_from_both() -> None:
    assert contrast(WARNING, WHITE) >= GRAPHICS
    assert contrast(WARNING, DARK) >= GRAPHICS


def test_no_two_normalizations_look_the_same() -> None:
    drawn = [look_of(norm, 0) for norm in NORMS]
    assert len({look.color for look in drawn}) == len(drawn)
    assert INK not in {look.color for look in drawn}
    assert {look.color for look in drawn}.isdisjoint({WARNING})


def test_user_defined_normalizations_differ_in_one_figure() -> None:
    own = ["none-2e-3", "none-8e-3", "weight-2e-3", "weight-8e-3", "paper-2e-3", "paper-8e-3"]
    drawn = looks(made(norms=["none", "group", *own]))
    assert len({look.color for look in drawn.values()}) == len(drawn)
    assert len({look.marker for look in drawn.values()}) == len(drawn)
    assert "*" not in {look.marker for look in drawn.values()}  # it looks filled
    many = [f"own-{k}" for k in range(12)]  # more than there are spare looks
    assert len({look.color for look in looks(made(norms=many)).values()}) == 8


def test_every_picture_of_a_report_tells_them_apart() -> None:
    own = ("own-6", "own-11")  # their names choose the same spare look
    assert look_of(own[0], 0).color == look_of(own[1], 0).color
    swept = made(norms=["none", *own], swept=("lr",), values=[("0.1",), ("0.2",)])
    of_series = sweep._series_looks(swept, 0)
    of_report = {variant.norm: look.color for variant, look in looks(swept).items()}
    assert {norm: look.color for (norm, _), look in of_series.items()} == of_report
    lines: Any = {
        Variant(norm): [SimpleNamespace(config=SimpleNamespace(run=SimpleNamespace(norm=norm)))]
        for norm in own
    }
    plotted = looks_of({"CartPole-v1": lines})
    assert len({look.color for look in plotted.values()}) == 2


def test_no_spare_look_is_like_one_of_the_catalogue_with_its_marker() -> None:
    for color, marker in style._SPARE:
        for other, of_other in style._NORMS.values():
            if of_other == marker and other != color:
                apart = sum(
                    (255 * (x - y)) ** 2 for x, y in zip(to_rgb(color), to_rgb(other), strict=True)
                )
                assert apart > 40**2, (color, other)


@pytest.mark.parametrize("color", [color for color, _ in style._SPARE])
def test_every_spare_colour_stands_out(color: str) -> None:
    assert min(contrast(color, WHITE), contrast(color, DARK)) >= GRAPHICS


def test_a_normalization_looks_the_same_next_to_any_others() -> None:
    few, many = made(norms=["batch", "weight"]), made(norms=["none", "weight", "rms", "batch"])
    assert looks(few)[Variant("weight")] == looks(many)[Variant("weight")]


def test_any_baseline_is_grey() -> None:
    asked = dataclasses.replace(made(), question=Question("layer"))
    look = looks(asked)
    assert look[Variant("layer")].color == looks(made())[Variant("none")].color == BASELINE
    assert len({each.color for each in look.values()}) == len(look)
    for ground in (WHITE, DARK):
        assert contrast(look[Variant("none")].color, ground) >= GRAPHICS


def test_swept_values_differ_in_their_dashes_alone() -> None:
    look = looks(made(norms=["none", "weight"], swept=("lr",), values=[("0.1",), ("0.2",)]))
    a, b = look[Variant("weight", ("0.1",))], look[Variant("weight", ("0.2",))]
    assert (a.color, a.marker) == (b.color, b.marker)
    assert a.dashes != b.dashes
    assert look[Variant("none", ("0.2",))].dashes == b.dashes


def test_drawing_leaves_the_users_settings_as_they_were() -> None:
    with matplotlib.rc_context({"lines.linewidth": 7.0}):
        before = dict(matplotlib.rcParams)
        with drawing():
            assert matplotlib.rcParams["lines.linewidth"] == 1.5
        assert dict(matplotlib.rcParams) == before
