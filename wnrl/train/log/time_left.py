"""The time that a run has left, from the speeds of its warm-up and of its learning."""

import math

from wnrl.train.speed import Speed

MEMORY_S = 600.0  # a change of speed, or an evaluation's pause, is averaged over about this time
CALIBRATED_S = 60.0  # a calibration counts as much as this time of the run
_LEAST_S = 5.0  # of the run, before its speed is known


class _Pace:
    """Seconds per agent step, averaged over the newest minutes."""

    def __init__(self, seconds_per_step: float | None) -> None:
        self._elapsed_s = self._steps = 0.0
        if seconds_per_step is not None:
            self._elapsed_s, self._steps = CALIBRATED_S, CALIBRATED_S / seconds_per_step

    def add(self, steps: int, elapsed_s: float) -> None:
        keep = math.exp(-elapsed_s / MEMORY_S)
        self._elapsed_s = keep * self._elapsed_s + elapsed_s
        self._steps = keep * self._steps + steps

    @property
    def seconds_per_step(self) -> float | None:
        """None before it is known."""
        known = self._steps > 0 and self._elapsed_s >= _LEAST_S
        return self._elapsed_s / self._steps if known else None


class TimeLeft:
    """Forecasts the end of a run while it goes on."""

    def __init__(self, total_steps: int, warmup_steps: int, calibrated: Speed | None) -> None:
        """Begin with what the calibration measured.

        Args:
            total_steps: agent steps at which the run ends.
            warmup_steps: agent steps before learning begins.
            calibrated: None without calibration.
        """
        self._total_steps = total_steps
        self._warmup_steps = min(warmup_steps, total_steps)
        self._warmup = _Pace(calibrated and calibrated.warmup_s)
        self._learning = _Pace(calibrated and calibrated.learning_s)

    def add(self, from_step: int, to_step: int, elapsed_s: float) -> None:
        """Add what was measured between two agent steps; a span over both phases is left out."""
        if to_step <= self._warmup_steps:
            self._warmup.add(to_step - from_step, elapsed_s)
        elif from_step >= self._warmup_steps:
            self._learning.add(to_step - from_step, elapsed_s)

    def seconds(self, step: int) -> float | None:
        """Return the time left in s after an agent step; None as long as a speed is unknown."""
        left_s = 0.0
        warmup = max(0, self._warmup_steps - step)
        learning = max(0, self._total_steps - max(step, self._warmup_steps))
        for pace, steps in ((self._warmup, warmup), (self._learning, learning)):
            if steps:
                if pace.seconds_per_step is None:
                    return None
                left_s += steps * pace.seconds_per_step
        return left_s
