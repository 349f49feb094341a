"""A benchmark on a machine that is lent for minutes: rows written as they are measured, in parts.

What is measured is in gpu.py.
"""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from timing import Row, Work, paired, show, table, timer_of, write_csv

from wnrl.doctor.software import git_commit

REPLAYS = 200  # rounds of a timing, if there is time
NO_TIME = "no time"


class Lease:
    """The rows so far, the file, and the time that is left.

    Attributes:
        device: where the work is done: a GPU, or the CPU in a dry run.
        dry: whether everything runs once on the CPU with tiny sizes, to show that it runs.
        rows: rows so far.
        failures: rows that could not be measured, and checks that failed.
    """

    def __init__(
        self,
        minutes: float,
        csv: Path | None,
        *,
        dry: bool,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.device = torch.device("cpu" if dry else "cuda", None if dry else 0)
        self.dry = dry
        self.rows: list[Row] = []
        self.failures = 0
        self._csv = csv
        self._shared = {
            "where": "dry" if dry else torch.cuda.get_device_name(),
            "torch": torch.__version__,
            "commit": git_commit() or "",
        }
        self._now = now
        self._end_s = now() + 60 * minutes
        self._part = ""
        self._part_end_s = self._end_s

    def begin(self, part: str, seconds: float) -> None:
        """Begin a part, which may take so many seconds of what is left."""
        self._part = part
        self._part_end_s = min(self._end_s, self._now() + seconds)

    @property
    def left_s(self) -> float:
        """Seconds that the part has left."""
        return self._part_end_s - self._now()

    def size(self, real: int, dry: int = 2) -> int:
        """Return a size, tiny in a dry run."""
        return dry if self.dry else real

    @property
    def side(self) -> int:
        """Pixels of an image's side."""
        return self.size(84, 36)

    def add(self, row: Row) -> None:
        """Print a row, and write the file with it."""
        named = {"part": self._part, **row}
        show([named])
        self.rows.append({**named, **self._shared})
        if self._csv:
            write_csv(self._csv, self.rows)

    def check(self, what: str, variant: str, allowed: float, error: Callable[[], float]) -> None:
        """Add a row with an error; it fails unless that is measured and within what is allowed."""
        failures = self.failures
        found = self.value(
            what, variant, f"at most {allowed:g}", error, lambda found: found <= allowed
        )
        if math.isnan(found):
            self.failures = failures + 1

    def value(
        self,
        what: str,
        variant: str,
        unit: str,
        measure: Callable[[], float],
        holds: Callable[[float], bool] = lambda number: True,
    ) -> float:
        """Add a row with one number, and return it; NaN if it could not be measured.

        Args:
            what: what is measured.
            variant: which of several.
            unit: the number's unit, or its limit.
            measure: returns the number.
            holds: number -> whether it is right; otherwise the row has failed.
        """
        row, number = {"what": what, "variant": variant, "unit": unit}, math.nan
        if self.left_s <= 0:
            row["note"] = NO_TIME
        else:
            try:
                number = measure()
                row["value"] = f"{number:.4g}"
                if not holds(number):
                    self.failures += 1
                    row["note"] = "FAILED"
            except Exception as error:  # the other rows are still worth the lease
                self.failures += 1
                row["note"] = in_one_line(error)
        self.add(row)
        return number

    def times(
        self,
        makers: Mapping[str, Callable[[], Work]],
        calls: int = 1,
        more: Callable[[Row], Row] = lambda row: {},
        **columns: Any,
    ) -> None:
        """Time works in turns, and add a row for each.

        Args:
            makers: make the work of each variant; the first is the base of the ratios.
            calls: calls within each work.
            more: further columns of a row.
            columns: columns with the same value in all rows.
        """
        if self.left_s <= 0:
            rows = [{**columns, "variant": variant, "note": NO_TIME} for variant in makers]
        else:
            try:
                works = {variant: make() for variant, make in makers.items()}
                until_s = time.monotonic() + self.left_s
                timer = timer_of(self.device.type)
                measured = paired(works, self.size(REPLAYS, 1), 1, timer, until_s)
                rows = [{**row, **more(row)} for row in table(measured, calls, **columns)]
            except Exception as error:  # as above
                self.failures += 1
                note = in_one_line(error)
                rows = [{**columns, "variant": variant, "note": note} for variant in makers]
        for row in rows:
            self.add(row)


def in_one_line(error: Exception) -> str:
    """Return the type and the first line of an error."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
