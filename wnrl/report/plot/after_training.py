"""`wnrl.train` as it is started: a finished run leaves its learning curve as a picture, too.

It is here because training knows nothing of reports. matplotlib is imported once the run is done.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wnrl._settings.later import Later
from wnrl.train.command import main as train
from wnrl.train.flags import one_line
from wnrl.train.foreign_text import visible
from wnrl.train.storage.run_folder import CURVE

if TYPE_CHECKING:
    from wnrl.report.plot import figure
else:
    figure = Later("wnrl.report.plot.figure")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train from the command line and draw a finished run; return the exit code of the run."""
    return train(arguments, finished=draw_curve)


def draw_curve(run_dir: Path) -> None:
    """Write the learning curve of a run, or one line that says why there is none."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells about its own caches
    out = run_dir / CURVE
    try:
        figure.draw([run_dir], out)
    except Exception as error:  # a picture never fails a run that is done
        print(f"wnrl.train: there is no {CURVE}: {one_line(error)}", file=sys.stderr)
    else:
        print(f"  curve     {visible(out)}", flush=True)
