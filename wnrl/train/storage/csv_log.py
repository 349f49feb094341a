"""The tables of a run: CSV files that grow row by row and are cut back when a run resumes.

A kill may leave rows, or half a row, that were written after the last checkpoint. Each checkpoint
remembers how long the file was, and resuming cuts it back to that. So the file of a resumed run is
byte for byte that of a run that was never stopped.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wnrl._settings import UsageError

EPISODES, EVALUATIONS, TIMINGS = "episodes.csv", "evaluations.csv", "timings.csv"
HEADERS = {
    EPISODES: "agent_step,env,raw_return,length,wall_time_s\n",
    EVALUATIONS: "agent_step,episodes,mean_raw_return,mean_length\n",
    TIMINGS: "agent_step,act_ms,update_ms\n",
}


class CsvLog:
    """One table of a run. Each row is on disk as soon as it is written."""

    def __init__(self, path: Path, header: str, *, resume: bool = False) -> None:
        """Start the file, or open it to continue once `load_state_dict` has been called.

        Args:
            path: the file, in a folder that exists.
            header: the first line, with its newline.
            resume: whether the run resumes.

        Raises:
            UsageError: the file exists already (`resume` False) or is missing (True).
        """
        self._path = Path(path)
        try:
            self._file = self._path.open("r+b" if resume else "xb", buffering=0)
        except FileExistsError:
            raise UsageError(
                f"{self._path} holds an earlier run's {self._path.stem}: resume that run, "
                "or choose another folder"
            ) from None
        except FileNotFoundError:
            if not resume:
                raise
            raise UsageError(
                f"{self._path} is missing, but the checkpoint needs it: restore it from a copy, "
                "or start a new run in another folder"
            ) from None
        self._ready = not resume
        if not resume:
            self._file.write(header.encode())

    def write(self, *cells: object) -> None:
        """Append a row; None becomes an empty cell."""
        self._check_ready()
        row = ",".join("" if cell is None else str(cell) for cell in cells)
        self._file.write(f"{row}\n".encode())

    def state_dict(self) -> dict[str, Any]:
        """Return the file's length, after waiting until the disk has the file."""
        self._check_ready()
        os.fsync(self._file.fileno())
        return {"size_bytes": self._file.tell()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Cut the file back to its length at the checkpoint.

        Raises:
            UsageError: the file is shorter than that.
        """
        size_bytes = self._path.stat().st_size
        if size_bytes < state["size_bytes"]:
            raise UsageError(
                f"{self._path} has {size_bytes} bytes but had {state['size_bytes']} at the "
                "checkpoint: restore it from a copy, or start a new run in another folder"
            )
        self._file.truncate(state["size_bytes"])
        self._file.seek(state["size_bytes"])
        self._ready = True

    def close(self) -> None:
        """Close the file. Harmless when repeated."""
        self._file.close()

    def _check_ready(self) -> None:
        if not self._ready:
            raise RuntimeError(f"{self._path} was opened to resume: call load_state_dict first")
