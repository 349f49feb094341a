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


def epsilon(
    step: int, *, start: float, end: float, duration_steps: int, wait_steps: int = 0
) -> float:
    """The exploration rate: `start` while waiting to learn, then a line to `end`, then `end`.

    Args:
        step: agent step, from 0.
        start: probability of a random action at first, in [0, 1].
        end: probability of a random action at last, in [0, 1].
        duration_steps: length of the line in agent steps, after the wait.
        wait_steps: agent steps before the line begins (0: it begins at once).

    Returns:
        A probability.

    Raises:
        ValueError: if a probability is outside [0, 1] or a number of steps is negative.

    Source: Mnih et al. 2015, Extended Data Table 1 (replay start size, exploration frames).
    """
    for name, value in (("start", start), ("end", end)):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} must be a probability in [0, 1], not {value}")
    if step < 0 or wait_steps < 0:
        raise ValueError(f"step and wait_steps must be at least 0, not {step} and {wait_steps}")
    if step < wait_steps:
        return start
    return linear(step - wait_steps, start, end, duration_steps)
