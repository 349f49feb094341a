r"""Text from elsewhere, made safe for a terminal, a shell and Markdown.

Names of folders, messages of other programs and the content of files may hold anything: escape
codes for a terminal, line breaks, bytes that are not UTF-8, and characters with a meaning in a
shell or in Markdown. What cannot be shown as it is becomes an escape such as `\x1b`; nothing is
left out.
"""

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

# An underscore between letters or digits has no meaning.
_MARKUP = re.compile(r"[\\`*\[\]<>|~&#$]|(?<![^\W_])_|_(?![^\W_])")
_LIST_MARKER = re.compile(r"^(\d*)([-+.)])(?=\s)")


def visible(text: object) -> str:
    r"""Return a text as one line without control characters: `\n` and `\x1b` are written out."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in str(text)
    )


def joined(text: str) -> str:
    """Return a text of several lines as one visible line; spaces inside its lines stay."""
    return visible(re.sub(r"\s*\n\s*", " ", text.strip()))


def quoted(argument: str | Path) -> str:
    """Return an argument of a command as one types it in a shell.

    Control characters and bytes that are not UTF-8 become `$'...'`, which bash, zsh and ksh know.

    Args:
        argument: any text, or a path, which is not mistaken for a flag if it begins with `-`.
    """
    text = str(argument)
    if isinstance(argument, Path) and text.startswith("-"):
        text = f"./{text}"
    if text.isprintable():
        return shlex.quote(text)
    plain = set(range(32, 127)) - set(b"'\\")
    escaped = (chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in os.fsencode(text))
    return f"$'{''.join(escaped)}'"


def quoted_line(arguments: Iterable[str]) -> str:
    """Return arguments as one types them in a shell."""
    return " ".join(map(quoted, arguments))


def markdown(text: object) -> str:
    """Return Markdown that shows a text literally, in a sentence, a list or a table."""
    escaped = _MARKUP.sub(r"\\\g<0>", visible(text).strip())
    return _LIST_MARKER.sub(r"\1\\\2", escaped)


def markdown_table(columns: Sequence[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the lines of a table in Markdown.

    Args:
        columns: their titles.
        rows: the cells of each, one for each column; `markdown` makes foreign ones safe.
    """
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for cells in rows:
        yield f"| {' | '.join(cells)} |"
