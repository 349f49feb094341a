"""Text from elsewhere on a terminal, in a shell and in Markdown."""

import subprocess
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from wnrl.train.foreign_text import joined, markdown, quoted, visible

NASTY = (
    "plain",
    "two  words",
    'it\'s $HOME `id` "x" \\ !! *',
    "größe–e\u0301",
    "a\tb\nc",
    "\x1b[31mred\x1b[0m\r\x07",
    "\udcff\udcfe",  # bytes that are not UTF-8, as Python shows them
    "\u202eright-to-left\u2028",
    "-x",
    "",
)
MARKUP = (
    "a | b",
    "`code` and ``more``",
    "<script>alert(1)</script> <!-- gone -->",
    "[text](http://example.com) ![image](x.png) [^1]",
    "*a* **b** _c_ __d__ e_f_g ~~h~~ $x$",
    "# not a heading #",
    "- not a list",
    "12. not a list",
    "+ not a list",
    "&lt; &copy; \\* \\",
    "a_b max_grad_norm 1e-05 -5 - x86_64",
)


@pytest.mark.parametrize("text", NASTY)
def test_what_is_visible_is_one_printable_line(text: str) -> None:
    assert visible(text).isprintable()
    assert visible(visible(text)) == visible(text)


def test_printable_text_stays_and_control_characters_become_escapes() -> None:
    assert visible("größe–e\u0301 日本 ✓") == "größe–e\u0301 日本 ✓"
    assert visible("\x1b[2J\n\u202e\udcff") == "\\x1b[2J\\n\\u202e\\udcff"


def test_lines_are_joined_and_spaces_in_a_path_stay() -> None:
    assert joined("\n  no run in a  b:\n    why\n") == "no run in a  b: why"
    assert joined("a\x1b[31m\r\n b") == "a\\x1b[31m b"


@pytest.mark.parametrize("text", NASTY)
def test_bash_reads_a_quoted_argument_as_it_was(text: str) -> None:
    assert quoted(text).isprintable()
    script = f"printf %s {quoted(text)} | od -An -v -tx1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert bytes.fromhex(done.stdout) == text.encode("utf-8", "surrogateescape")


def test_a_path_that_begins_like_a_flag_is_no_flag() -> None:
    assert quoted(Path("-x")) == "./-x"
    assert quoted(Path("runs/a b")) == "'runs/a b'"


@pytest.mark.parametrize("text", MARKUP)
@pytest.mark.parametrize("form", ["- {}: why", "## {}", "a **{}** b", "| a |\n|---|\n| {} |"])
def test_markdown_shows_the_text_itself(text: str, form: str) -> None:
    renderer = MarkdownIt("gfm-like", {"linkify": False})
    plain, shown = (renderer.render(form.format(part)) for part in ("PLACE", markdown(text)))
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert shown == plain.replace("PLACE", escaped.replace('"', "&quot;"))


def test_names_of_runs_and_numbers_need_no_escapes() -> None:
    for text in ("Breakout/dqn-weight-learning-rate=1e-05/seed1", "-", "-5", "max_grad_norm"):
        assert markdown(text) == text
