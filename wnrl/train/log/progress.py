"""The progress line on the screen: steps, return, speed and time left. Nothing reads it back."""

import math
import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

from wnrl.train.log.episodes import RecentEpisodes
from wnrl.train.log.time_left import TimeLeft
from wnrl.train.speed import format_duration

_TERMINAL_INTERVAL_S = 0.5
_BAR_CELLS = 20


def format_seconds(seconds: float) -> str:
    """Return `1:02:03`, or `2 d 1:02:03` for a day or more."""
    days, rest = divmod(round(seconds), 86_400)
    clock = f"{rest // 3600}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days} d {clock}" if days else clock


def format_progress(
    step: int,
    total_steps: int,
    mean_return: float | None,
    steps_per_s: float,
    left_s: float | None,
) -> str:
    """Return the line, without its newline.

    Args:
        step: agent steps done.
        total_steps: agent steps at which the run ends.
        mean_return: mean raw return of the newest episodes; None before the first.
        steps_per_s: agent steps per second since the last line.
        left_s: time left in s; None if it is unknown.
    """
    percent = 100.0 * min(step / total_steps, 1.0)
    parts = [
        f"step {step:,} of {total_steps:,} ({math.floor(10 * percent) / 10:.1f}%)",
        "no episode yet" if mean_return is None else f"return {mean_return:.1f}",
        f"{steps_per_s:,.0f} steps/s",
    ]
    if step < total_steps and left_s is not None:
        parts.append(f"about {format_duration(left_s)} left")
    return ", ".join(parts)


def format_bar(step: int, total_steps: int, line: str, width: int) -> str:
    """Put a bar in front of a line, in a terminal of `width` characters.

    In a narrow terminal the bar shrinks, then disappears below three cells, then the line is cut.
    """
    cells = min(_BAR_CELLS, width - len(line) - len("[] "))
    if cells < 3:
        return line[:width]
    filled = min(cells * step // total_steps, cells)
    return f"[{'#' * filled}{'.' * (cells - filled)}] {line}"


class StepRate:
    """Agent steps per second between two readings."""

    def __init__(self, step: int = 0, now: Callable[[], float] = time.monotonic) -> None:
        """Start the clock.

        Args:
            step: agent steps done when the clock starts; they do not count.
            now: a clock that never runs backwards, in s.
        """
        self._now = now
        self._step, self._read_s = step, now()

    @property
    def elapsed_s(self) -> float:
        """Time since the last reading."""
        return self._now() - self._read_s

    def read(self, step: int) -> float:
        """Return the steps per second since the last reading or the start; 0 if no time passed."""
        read_s = self._now()
        elapsed_s = read_s - self._read_s
        rate = (step - self._step) / elapsed_s if elapsed_s > 0 else 0.0
        self._step, self._read_s = step, read_s
        return rate


class Progress:
    """Writes a line per interval; on a terminal, one bar that is redrawn."""

    def __init__(
        self,
        total_steps: int,
        *,
        step: int = 0,
        left: TimeLeft | None = None,
        interval_s: float = 10.0,
        stream: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is written yet.

        Args:
            total_steps: agent steps at which the run ends.
            step: agent steps done already.
            left: the forecast; without it, one from what this run measures.
            interval_s: seconds between two lines; a terminal's bar moves twice a second.
            stream: output; standard error by default.
            now: a clock that never runs backwards, in s.

        Raises:
            ValueError: `total_steps` is below 1.
        """
        if total_steps < 1:
            raise ValueError(f"total_steps must be at least 1, came {total_steps}")
        self._total_steps = total_steps
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._interval_s = _TERMINAL_INTERVAL_S if self._terminal else interval_s
        self._rate = StepRate(step, now)
        self._left = left or TimeLeft(total_steps, 0, None)
        self._read_step = step
        self._drawn = 0  # characters of the bar on the terminal's current line
        self._written_step = -1  # agent steps of the newest line

    def update(self, step: int, recent: RecentEpisodes) -> None:
        """Write if an interval has passed; call it as often as you like.

        Args:
            step: agent steps done.
            recent: the newest episodes.
        """
        if self._rate.elapsed_s >= self._interval_s:
            self._write(step, recent)

    def finish(self, step: int, recent: RecentEpisodes) -> None:
        """Write the last line, unless `update` just did, and end the terminal's line."""
        if step != self._written_step:
            self._write(step, recent)
        if self._terminal:
            self.say("")

    def say(self, message: str) -> None:
        """Write another line, below the bar if there is one."""
        if self._drawn:
            self._stream.write("\n")
            self._drawn = 0
        if message:
            self._stream.write(f"{message}\n")
        self._stream.flush()

    def _write(self, step: int, recent: RecentEpisodes) -> None:
        self._left.add(self._read_step, step, self._rate.elapsed_s)
        rate, self._read_step, self._written_step = self._rate.read(step), step, step
        left_s = self._left.seconds(step)
        line = format_progress(step, self._total_steps, recent.mean_return, rate, left_s)
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            bar = format_bar(step, self._total_steps, line, width)
            self._stream.write(f"\r{bar.ljust(self._drawn)}")
            self._drawn = len(bar)
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()
