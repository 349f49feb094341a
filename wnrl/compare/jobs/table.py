"""The table of a grid's runs on the screen, drawn anew on a terminal, else in lines."""

import math
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TextIO

from wnrl.compare.jobs.runner import Run, State
from wnrl.train.log.progress import format_seconds
from wnrl.train.storage.run_status import RunStatus

_TERMINAL_INTERVAL_S = 1.0
_FIRST = (
    State.RUNNING,
    State.FAILED,
    State.IN_USE,
    State.QUEUED,
    State.WAITING,
    State.DONE,
)  # where room is short


class Row(NamedTuple):
    """What the table says of a run."""

    name: str
    state: State
    retries: int
    status: RunStatus
    total_steps: int

    @property
    def left_s(self) -> float | None:
        """Time left at its present speed; None where that is not known."""
        rate = self.status.steps_per_s
        if self.state is not State.RUNNING or not rate:
            return None
        return max(0, self.total_steps - self.status.agent_steps) / rate

    def cells(self) -> list[str]:
        """As text, a column each."""
        state = self.state.value
        if self.state is State.RUNNING and self.retries:
            state = f"retried {self.retries}"
        running = self.state is State.RUNNING
        status, left_s = self.status, self.left_s
        return [
            self.name,
            state,
            f"{status.agent_steps:,}",
            "-" if status.mean_return is None else f"{status.mean_return:.1f}",
            f"{status.steps_per_s:,.0f}" if running and status.steps_per_s is not None else "-",
            "-" if left_s is None else format_seconds(left_s),
        ]


_HEADER = ["run", "state", "agent steps", "return", "steps/s", "left"]


def format_rows(rows: Sequence[Row], width: int, height: int) -> list[str]:
    """The table: a header, a line a run, and how many are in which state.

    Args:
        rows: the runs, in the grid's order.
        width: characters of a line; names are cut at their beginning first.
        height: lines; where they are few, running and failed runs are shown before others.
    """
    room = max(0, height - 2)
    order = sorted(range(len(rows)), key=lambda k: (_FIRST.index(rows[k].state), k))
    shown = [rows[k].cells() for k in sorted(order[:room])]
    table = [_HEADER, *shown]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(_HEADER))]
    others = sum(widths[1:]) + 2 * (len(widths) - 1)
    widths[0] = max(min(widths[0], width - others), len("run"))
    lines = []
    for cells in table:
        name = cells[0] if len(cells[0]) <= widths[0] else f"…{cells[0][1 - widths[0] :]}"
        texts = [name.ljust(widths[0]), cells[1].ljust(widths[1])]
        texts += [text.rjust(size) for text, size in zip(cells[2:], widths[2:], strict=True)]
        lines.append("  ".join(texts).rstrip()[:width])
    return [*lines, format_counts(rows)[:width]]


def format_counts(rows: Sequence[Row]) -> str:
    """`3 done, 2 running, 7 waiting` and more where there is more."""
    counts = {state: sum(row.state is state for row in rows) for state in State}
    said = [f"{count} {state.value}" for state, count in reversed(counts.items()) if count]
    return ", ".join(said)


class Screen:
    """Shows the runs: a table that is drawn anew on a terminal, else running ones at intervals."""

    def __init__(
        self,
        names: Mapping[str, str],
        read: Callable[[Run], RunStatus],
        *,
        interval_s: float,
        stream: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is shown yet.

        Args:
            names: what each run is called, by its folder.
            read: looks at a run.
            interval_s: between two looks where the stream is no terminal.
            stream: where to; standard error by default.
            now: a clock that never runs backwards, in s.
        """
        self._names = names
        self._read = read
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._interval_s = _TERMINAL_INTERVAL_S if self._terminal else interval_s
        self._now = now
        self._shown_s = -math.inf if self._terminal else now()
        self._drawn = 0  # lines of the table that stands
        self._settled: dict[str, RunStatus] = {}  # of runs that move no more

    def say(self, line: str) -> None:
        """A line of its own, above the table."""
        self._erase()
        self._stream.write(f"{line}\n")
        self._stream.flush()

    def update(self, runs: Sequence[Run]) -> None:
        """Show them if an interval has passed; call it as often as you like."""
        if self._now() - self._shown_s >= self._interval_s:
            self.show(runs)

    def show(self, runs: Sequence[Run]) -> None:
        """Show them now."""
        self._shown_s = self._now()
        rows = [self._row(run) for run in runs]
        if self._terminal:
            size = shutil.get_terminal_size()
            lines = format_rows(rows, size.columns - 1, size.lines - 1)
            self._erase()
            self._drawn = len(lines)
        else:
            lines = [
                f"{name}: {steps} agent steps, return {mean}, {rate} steps/s, {left} left"
                for name, _, steps, mean, rate, left in (
                    row.cells() for row in rows if row.state is State.RUNNING
                )
            ]
            lines.append(format_counts(rows))
        self._stream.write("".join(f"{line}\n" for line in lines))
        self._stream.flush()

    def _row(self, run: Run) -> Row:
        folder = str(run.folder)
        status = self._settled.get(folder)
        if status is None or run.state is State.RUNNING:
            status = self._read(run)
        if run.state is State.RUNNING:
            self._settled.pop(folder, None)
        else:
            self._settled[folder] = status
        return Row(
            self._names[folder], run.state, run.retries, status, run.planned.config.run.steps
        )

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0
