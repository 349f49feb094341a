"""Show the runs of a grid: as a table that is redrawn on a terminal, otherwise as lines."""

import math
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TextIO

from wnrl.compare.jobs.runner import Run, State
from wnrl.train.foreign_text import visible
from wnrl.train.log.progress import format_seconds
from wnrl.train.storage.run_status import RunStatus

_TERMINAL_INTERVAL_S = 1.0
_COLUMNS = ["run", "state", "agent steps", "return", "steps/s", "left"]
# Which runs are shown first if there is not enough room for all.
_PRIORITY = (
    State.RUNNING,
    State.FAILED,
    State.DIVERGED,
    State.IN_USE,
    State.QUEUED,
    State.WAITING,
    State.DONE,
)


class Row(NamedTuple):
    """One run in the table."""

    name: str
    state: State
    retries: int
    status: RunStatus
    total_steps: int

    @property
    def left_s(self) -> float | None:
        """Time left at the current speed, in s; None if that is unknown."""
        rate = self.status.steps_per_s
        if self.state is not State.RUNNING or not rate:
            return None
        return max(0, self.total_steps - self.status.agent_steps) / rate

    def cells(self) -> list[str]:
        """Return the text of each column."""
        running = self.state is State.RUNNING
        status, left_s = self.status, self.left_s
        return [
            visible(self.name),
            f"retried {self.retries}" if running and self.retries else self.state.value,
            f"{status.agent_steps:,}",
            "-" if status.mean_return is None else f"{status.mean_return:.1f}",
            f"{status.steps_per_s:,.0f}" if running and status.steps_per_s is not None else "-",
            "-" if left_s is None else format_seconds(left_s),
        ]

    def sentence(self) -> str:
        """Return one line for a log; unknown numbers are left out."""
        name, _, steps, mean_return, rate, left = self.cells()
        parts = [f"{steps} agent steps"]
        parts += [f"return {mean_return}"] if mean_return != "-" else []
        parts += [f"{rate} steps/s"] if rate != "-" else []
        parts += [f"{left} left"] if left != "-" else []
        return f"{name}: {', '.join(parts)}"


def format_rows(rows: Sequence[Row], width: int, height: int) -> list[str]:
    """Format the table: a header, a line for each run, and the number of runs in each state.

    Args:
        rows: the runs, in the grid's order.
        width: characters in a line; long names lose their beginning first.
        height: number of lines; if they are few, running and failed runs are shown before others.
    """
    by_priority = sorted(range(len(rows)), key=lambda k: (_PRIORITY.index(rows[k].state), k))
    shown = [rows[k].cells() for k in sorted(by_priority[: max(0, height - 2)])]
    table = [_COLUMNS, *shown]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(_COLUMNS))]
    other_columns = sum(widths[1:]) + 2 * (len(widths) - 1)
    widths[0] = max(min(widths[0], width - other_columns), len("run"))
    lines = [_format_line(cells, widths)[:width] for cells in table]
    return [*lines, format_counts(rows)[:width]]


def _format_line(cells: Sequence[str], widths: Sequence[int]) -> str:
    name = cells[0] if len(cells[0]) <= widths[0] else f"…{cells[0][1 - widths[0] :]}"
    texts = [name.ljust(widths[0]), cells[1].ljust(widths[1])]
    texts += [text.rjust(size) for text, size in zip(cells[2:], widths[2:], strict=True)]
    return "  ".join(texts).rstrip()


def format_counts(rows: Sequence[Row]) -> str:
    """Format the number of runs in each state that occurs: `3 done, 2 running, 7 waiting`."""
    counts = {state: sum(row.state is state for row in rows) for state in State}
    return ", ".join(f"{count} {state.value}" for state, count in reversed(counts.items()) if count)


class Screen:
    """Shows the runs while they train.

    On a terminal the table is redrawn in place. Elsewhere the running runs are printed as lines at
    intervals.
    """

    def __init__(
        self,
        names: Mapping[str, str],
        read: Callable[[Run], RunStatus],
        *,
        interval_s: float,
        stream: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Show nothing yet.

        Args:
            names: name of each run, by its folder.
            read: returns a run's current status.
            interval_s: time between two updates if the stream is not a terminal, in s.
            stream: where to write; standard error by default.
            now: monotonic clock, in s.
        """
        self._names = names
        self._read = read
        self._stream = sys.stderr if stream is None else stream
        self._is_terminal = self._stream.isatty()
        self._interval_s = _TERMINAL_INTERVAL_S if self._is_terminal else interval_s
        self._now = now
        self._shown_s = -math.inf if self._is_terminal else now()
        self._drawn_lines = 0  # lines of the table on the terminal
        self._final_status: dict[str, RunStatus] = {}  # status of runs that no longer change

    def print_line(self, line: str) -> None:
        """Print a line above the table."""
        self._erase()
        self._stream.write(f"{visible(line)}\n")
        self._stream.flush()

    def update(self, runs: Sequence[Run]) -> None:
        """Show the runs if an interval has passed; call it as often as you like."""
        if self._now() - self._shown_s >= self._interval_s:
            self.show(runs)

    def show(self, runs: Sequence[Run]) -> None:
        """Show the runs now."""
        self._shown_s = self._now()
        rows = [self._row(run) for run in runs]
        if self._is_terminal:
            size = shutil.get_terminal_size()
            lines = format_rows(rows, size.columns - 1, size.lines - 1)
            self._erase()
            self._drawn_lines = len(lines)
        else:
            lines = [row.sentence() for row in rows if row.state is State.RUNNING]
            lines.append(format_counts(rows))
        self._stream.write("".join(f"{line}\n" for line in lines))
        self._stream.flush()

    def _row(self, run: Run) -> Row:
        folder = str(run.folder)
        status = self._final_status.get(folder)
        if status is None or run.state is State.RUNNING:
            status = self._read(run)
        if run.state is State.RUNNING:
            self._final_status.pop(folder, None)
        else:
            self._final_status[folder] = status
        return Row(
            self._names[folder], run.state, run.retries, status, run.planned.config.run.steps
        )

    def _erase(self) -> None:
        if self._drawn_lines:
            self._stream.write(f"\x1b[{self._drawn_lines}A\x1b[J")
            self._drawn_lines = 0
