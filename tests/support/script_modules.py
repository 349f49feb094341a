"""Scripts as modules, for tests of their functions."""

import functools
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@functools.cache
def load_script(path: str) -> ModuleType:
    """Import a script of scripts/ as if it were run, and leave no module behind.

    Its folder is first on the import path meanwhile. Neither the path nor the names of its
    neighbours, such as `train` and `timing`, stay behind for other tests.
    """
    file = SCRIPTS / path
    names = {neighbour.stem for neighbour in file.parent.glob("*.py")}
    others = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.path.insert(0, str(file.parent))
    try:
        return importlib.import_module(file.stem)
    finally:
        sys.path.remove(str(file.parent))
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(others)


def refusal(
    script: ModuleType,
    program: str,
    arguments: Sequence[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    """Run a script's `main` with arguments that it refuses: exit code 2 and this one line."""
    monkeypatch.setattr(sys, "argv", [f"{program}.py", *arguments])
    with pytest.raises(SystemExit) as exit_:
        script.main()
    printed = capsys.readouterr().err
    assert exit_.value.code == 2
    assert printed.startswith(f"{program}: ")
    assert printed.count("\n") == 1
    return printed
