"""The modules and the commands of docs/your_own_parts.md."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

_PAGE = Path(__file__).parents[1] / "docs" / "your_own_parts.md"
_EXAMPLE = r"^`(\w+)\.py`[^\n]*:\n\n```python\n(.*?)```\n\n```\n(.*?)```"


class Example(NamedTuple):
    """A module with a part, and a command that uses it."""

    source: str
    command: list[str]


EXAMPLES = {
    name: Example(source, shlex.split(command))
    for name, source, command in re.findall(_EXAMPLE, _PAGE.read_text(), re.DOTALL | re.MULTILINE)
}


def write_modules(folder: Path) -> None:
    """Write every module of the page to a folder."""
    for name, example in EXAMPLES.items():
        (folder / f"{name}.py").write_text(example.source)
