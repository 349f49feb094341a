"""The runs that a person may have meant by a folder that holds none."""

import difflib
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from wnrl.train.foreign_text import visible

_SHOWN = 3
_FOLDERS = 1_000  # looked into at most


def runs_near(run_dir: Path, config: str) -> str:
    """Return the end of an error line, `; there are runs in a, b`; empty if none is found.

    Args:
        run_dir: the folder without a run. The nearest folder around it that exists is searched;
            the most similar path comes first.
        config: name of the file that makes a folder a run's.
    """
    # os.path.isdir raises for no path, unlike Path.is_dir.
    top = next((folder for folder in (run_dir, *run_dir.parents) if os.path.isdir(folder)), None)
    if top is None or (top.is_absolute() and top == Path(top.anchor)):
        return ""
    runs = sorted(_runs_below(top, config), key=lambda run: _likeness(run, run_dir), reverse=True)
    names = ", ".join(str(visible(run)) for run in runs[:_SHOWN])
    return f"; there {'are runs' if len(runs) > 1 else 'is a run'} in {names}" if runs else ""


def _runs_below(top: Path, config: str) -> Iterator[Path]:
    for folder, subfolders, files in islice(os.walk(top), _FOLDERS):
        if config in files:
            subfolders.clear()
            yield Path(folder)


def _likeness(run: Path, meant: Path) -> float:
    return difflib.SequenceMatcher(a=str(run), b=str(meant)).ratio()
