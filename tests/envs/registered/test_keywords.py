"""Keywords of environments: their text, and what each text means."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wnrl._settings import SettingError
from wnrl.envs.registered.keywords import keywords_of, keywords_text


@pytest.mark.parametrize(
    ("text", "keywords"),
    [
        ("", {}),
        ("continuous=False", {"continuous": False}),
        ("continuous=false", {"continuous": False}),
        ("a=true b=True  c=None d=null", {"a": True, "b": True, "c": None, "d": None}),
        ("map_name=8x8", {"map_name": "8x8"}),
        (
            "lap=0.9 size=-3 big=10_000 tiny=1e-3",
            {"lap": 0.9, "size": -3, "big": 10000, "tiny": 1e-3},
        ),
        ('desc=["SF", "FG"] slippery=false', {"desc": ["SF", "FG"], "slippery": False}),
        ('name="two words" size="4"', {"name": "two words", "size": "4"}),
        ("path=a=b/c", {"path": "a=b/c"}),
        ("empty= next=1", {"empty": "", "next": 1}),
        ('options={"a": {"b": [1, 2]}}', {"options": {"a": {"b": [1, 2]}}}),
        ("ids=007", {"ids": "007"}),
        ("broken=[1,", {"broken": "[1,"}),
    ],
)
def test_a_value_is_json_or_a_word(text: str, keywords: dict[str, Any]) -> None:
    found = keywords_of(text)
    assert found == keywords
    assert [type(value) for value in found.values()] == [type(v) for v in keywords.values()]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("map_name=8x8 is_slippery=False", "is_slippery=false map_name=8x8"),
        (["map_name=8x8", "is_slippery=False"], "is_slippery=false map_name=8x8"),
        ({"map_name": "8x8", "is_slippery": False}, "is_slippery=false map_name=8x8"),
        ({"a": "two words", "b": "4", "c": 4, "d": "null"}, 'a="two words" b="4" c=4 d="null"'),
        ({"a": ["x y", 1], "b": "", "c": None}, 'a=["x y",1] b= c=null'),
        ("x=1_000", "x=1000"),
        ("", ""),
    ],
)
def test_equal_keywords_have_one_text(given: Any, text: str) -> None:
    assert keywords_text(given) == text
    assert keywords_text(text) == text
    if isinstance(given, dict):
        assert keywords_of(text) == given


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
WORDS = st.text(alphabet='"[{]}=:, \u00a0\\x1_tru.-', max_size=6)
VALUES = st.recursive(SCALARS | WORDS, lambda inner: st.lists(inner, max_size=3), max_leaves=4)


@given(st.dictionaries(st.sampled_from(["a", "b2", "c_"]), VALUES, max_size=3))
@settings(max_examples=60, deadline=None, derandomize=True)
@example({"a": '"', "b": '"'})  # which would be read as one text
@example({"a": "[", "b": "]"})
def test_any_keywords_are_read_back_from_their_text(keywords: dict[str, Any]) -> None:
    text = keywords_text(keywords)
    assert keywords_of(text) == keywords
    assert keywords_text(text) == text


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("continuous", "env_kwargs takes KEY=VALUE, not 'continuous'; .*KEY=\"two words\""),
        ("a=1 b", "takes KEY=VALUE, not 'b'"),
        (["name=two words"], "takes KEY=VALUE, not 'words'"),
        ("1a=2", "takes KEY=VALUE, not '1a=2'"),
        ("a=1 a=2", "a is given twice"),
        ("id=CartPole-v1", "id is given by the run itself"),
        ("num_envs=3", "num_envs is given by the run itself"),
        (7, "takes KEY=VALUE, not 7"),
        ([7], r"takes KEY=VALUE, not \[7\]"),
        ({"a b": 1}, "takes KEY=VALUE, not 'a b=1'"),
        ({1: 2, "a": 3}, "takes KEY=VALUE"),
        ({"a": object()}, "takes values that JSON has"),
    ],
)
def test_what_is_no_keyword_is_refused(given: Any, sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        keywords_text(given)
