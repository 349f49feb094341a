import re
from xml.etree import ElementTree

import pytest
from made_comparisons import NORMS, made

from wnrl.report.figures import PageFigure, page_figures
from wnrl.report.figures.style import INK


@pytest.fixture(scope="module")
def both() -> list[PageFigure]:
    """Return differences, curves, range and aggregates, first wide, then narrow."""
    comparison = made(
        envs=["Pong", "Breakout"],
        norms=["none", "weight"],
        protocol="classic",
        seeds=3,
        swept=("lr",),
        values=[("0.0001",), ("0.0003",)],
        together=True,
    )
    return [each for narrow in (False, True) for each in page_figures(comparison, narrow=narrow)]


def test_ids_are_unique_in_a_page_that_holds_them_all(both: list[PageFigure]) -> None:
    assert len(both) == 8
    ids = [found for each in both for found in re.findall(r'\bid="([^"]*)"', each.svg)]
    assert len(ids) == len(set(ids)) > 100
    for each in both:
        ids = set(re.findall(r'\bid="([^"]*)"', each.svg))
        used = set(re.findall(r'(?:href="#|url\(#)([^")]*)', each.svg))
        assert used
        assert used <= ids


def test_each_figure_is_one_element_in_the_ink_of_the_page(both: list[PageFigure]) -> None:
    for each in both:
        root = ElementTree.fromstring(each.svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.get("aria-label") == each.alt
        assert INK not in each.svg
        assert "currentColor" in each.svg
        assert "<style" not in each.svg  # it would be one for the whole page
        assert "#ffffff" not in each.svg
        assert "<metadata" not in each.svg


def test_text_stays_text_and_the_title_is_left_to_the_page(both: list[PageFigure]) -> None:
    for each in both:
        text = " ".join(ElementTree.fromstring(each.svg).itertext())
        assert "protocol: classic" in text
        assert "indicative only" in text
        assert each.title not in text
        assert each.caption.endswith(".")
    assert "0.0003" in "".join(ElementTree.fromstring(both[2].svg).itertext())  # not cut to 0.00


def test_a_phone_gets_one_panel_below_another(both: list[PageFigure]) -> None:
    wide, narrow = both[1].svg, both[5].svg
    assert width_pt(wide) > 600
    assert width_pt(narrow) < 290  # 375 CSS pixels are 281 pt
    assert len(left_ends(wide)) == 3
    assert len(left_ends(narrow)) == 1


def test_one_game_is_described_by_its_numbers() -> None:
    differences, figure = page_figures(made(seeds=2), narrow=True)
    assert re.search(r"weight against none in CartPole-v1: [+−][\d,]+ \[", differences.alt)
    for norm in NORMS:
        assert re.search(rf"{norm} [\d,]+ \[[−\d,.]+, [\d,]+\]", figure.alt)


def width_pt(svg: str) -> float:
    return float(re.findall(r' width="([\d.]+)pt"', svg)[0])


def left_ends(svg: str) -> set[str]:
    """Return the left ends of the panels, to which lines are clipped."""
    return set(re.findall(r'<rect x="([\d.]+)"', svg))
