"""Schedules: what a hyperparameter is at an agent step. Pure functions of the step.

Beyond its end a schedule holds its last value, so a run that is continued changes nothing.
"""


def linear(step: int, start: float, end: float, duration_steps: int) -> float:
    """A straight line from `start` at step 0 to `end` at `duration_steps`, then `end`.

    Args:
        step: agent step, from 0.
        start: the value at step 0.
        end: the value from `duration_steps` on.
        duration_steps: length of the line in agent steps; 0 means `end` from the first step.

    Returns:
        The value; exactly `end` once the line is over.

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
