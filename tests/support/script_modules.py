"""Scripts as modules, for tests of their functions."""

import functools
import importlib
import sys
from pathlib import Path
from types import ModuleType

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
