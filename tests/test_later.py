"""Modules that are imported when they are used."""

import sys
from collections.abc import Iterator

import pytest

from wnrl._settings.later import Later, names_of


@pytest.fixture
def name(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield the name of a module that is not loaded."""
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    yield "colorsys"
    sys.modules.pop("colorsys", None)


def test_a_function_is_imported_when_it_is_called(name: str) -> None:
    function = Later(name).rgb_to_hsv
    assert name not in sys.modules
    assert function(0.0, 0.0, 1.0) == (2 / 3, 1.0, 1.0)
    assert name in sys.modules


def test_placeholders_of_the_same_name_are_equal_without_an_import(name: str) -> None:
    assert Later(name).rgb_to_hsv == Later(name).rgb_to_hsv
    assert Later(name).rgb_to_hsv != Later(name).hsv_to_rgb
    assert name not in sys.modules


def test_what_is_loaded_is_the_real_thing(name: str) -> None:
    before = Later(name).rgb_to_hsv
    import colorsys

    after = Later(name).rgb_to_hsv
    assert after is colorsys.rgb_to_hsv
    assert before == after
    assert after == before
    assert before != colorsys.hsv_to_rgb
    assert hash(before) == hash(after)


def test_a_package_exports_the_names_of_a_module() -> None:
    take = names_of("json.decoder")
    assert take("JSONDecoder") is sys.modules["json.decoder"].JSONDecoder
    assert take("__all__") == ["JSONDecoder", "JSONDecodeError"]
    for missing in ("scanstring", "__path__"):
        with pytest.raises(AttributeError, match=f"module 'json' has no attribute '{missing}'"):
            take(missing)
