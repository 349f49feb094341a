"""Schedules: the value of a hyperparameter at an agent step, as pure functions of the step.

After its end a schedule holds its last value, so extending a run changes nothing before.
"""


def linear(step: int, start: float, end: float, duration_steps: int) -> float:
    """Interpolate from `start` at step 0 to `end` at `duration_steps`, then hold `end`.

    Args:
        step: agent step, from 0.
        start: the value at step 0.
        end: the value at `duration_steps` and later.
        duration_steps: length of the line in agent steps; 0 means `end` at every step.

    Returns:
        The value; exactly `end` from `duration_steps` on.

    Raises:
        ValueError: if step or duration_steps is negative.
    """
    if step < 0 or duration_steps < 0:
        raise ValueError(
            f"step and duration_steps must be at least 0, not {step} and {duration_steps}"
        )
    if step >= duration_steps:  # exact at the end, and no division by a duration of 0
        return end
    return start + (end - start) * (step / duration_steps)
