"""Learning curve of one run: its values on a grid, its final window and its area.

The inputs are two columns of episodes.csv: the agent step at which each episode ended and its raw
return, in the file's order.

Dimension key: E episodes, K grid points.
"""

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def curve(
    steps: npt.ArrayLike, returns: npt.ArrayLike, grid: npt.ArrayLike, *, window_steps: float
) -> Array:
    """Return the mean return in a trailing window at each grid point.

        C(g) = mean of the returns of the episodes that ended in (e - w, e]
        e = g, or the end of the last episode before g if none ended in (g - w, g]

    So a long episode carries the last value forward, and values do not depend on the grid.

    Args:
        steps: (E,) agent steps at which the episodes ended, never falling.
        returns: (E,) their raw returns.
        grid: (K,) agent steps.
        window_steps: w, in agent steps.

    Returns:
        C (K,); NaN until the first episode has ended.

    Raises:
        ValueError: if the shapes do not fit, steps fall, a return is not finite, or window_steps
            is not above 0.
    """
    ends, scores = _episodes(steps, returns)
    if not window_steps > 0:
        raise ValueError(f"window_steps must be above 0, not {window_steps}")
    points = np.asarray(grid, dtype=np.float64)
    if points.ndim != 1:
        raise ValueError(f"grid must be (K,), not {points.shape}")
    values = np.full(len(points), math.nan)
    for k, point in enumerate(points):
        chosen = _window(ends, point, window_steps)
        if chosen.stop > 0:
            values[k] = scores[chosen].mean()
    return values


def _window(ends: Array, point: float, window_steps: float) -> slice:
    """Return the episodes that count at a grid point; empty if none has ended."""
    stop = int(np.searchsorted(ends, point, side="right"))
    if stop == 0:
        return slice(0, 0)
    last = ends[stop - 1]
    end = point if last > point - window_steps else last
    return slice(int(np.searchsorted(ends, end - window_steps, side="right")), stop)


def final_returns(
    steps: npt.ArrayLike, returns: npt.ArrayLike, *, total_steps: float, window_steps: float
) -> Array:
    """Return the returns whose mean is `final_window`; none if no episode ended by then.

    Args and errors are those of `final_window`.
    """
    ends, scores = _episodes(steps, returns)
    return scores[_window(ends, total_steps, window_steps)]


def final_window(
    steps: npt.ArrayLike, returns: npt.ArrayLike, *, total_steps: float, window_steps: float
) -> float:
    """Return a run's final score: its curve at the end of training, C(total_steps).

    Args:
        steps: (E,) agent steps at which the episodes ended, never falling.
        returns: (E,) their raw returns.
        total_steps: length of training in agent steps; episodes that ended later do not count.
        window_steps: w, in agent steps.

    Returns:
        The score; NaN if no episode ended by then.

    Raises:
        ValueError: as `curve` does.
    """
    return float(curve(steps, returns, [total_steps], window_steps=window_steps)[0])


def area_under_curve(
    steps: npt.ArrayLike,
    returns: npt.ArrayLike,
    *,
    total_steps: float,
    window_steps: float,
    points: int = 100,
) -> float:
    """Return the mean height of a run's curve: its area over its length, in units of a return.

        1/K sum C(g_k)        g_k = k total_steps / K,  k = 1 .. K

    Before the first episode has ended, the curve takes its first later value.

    Args:
        steps: (E,) agent steps at which the episodes ended, never falling.
        returns: (E,) their raw returns.
        total_steps: length of training in agent steps; episodes that ended later do not count.
        window_steps: w, in agent steps.
        points: K; use the same for all runs that are compared.

    Returns:
        The mean height; NaN if no episode ended by total_steps.

    Raises:
        ValueError: as `curve` does, if points is below 1, or if total_steps is not above 0.
    """
    if points < 1 or not total_steps > 0:
        raise ValueError(
            f"points must be at least 1 and total_steps above 0, not {points} and {total_steps}"
        )
    grid = total_steps * np.arange(1, points + 1) / points
    values = curve(steps, returns, grid, window_steps=window_steps)
    known = ~np.isnan(values)
    if not known.any():
        return math.nan
    values[~known] = values[known][0]
    return float(values.mean())


def _episodes(steps: npt.ArrayLike, returns: npt.ArrayLike) -> tuple[Array, Array]:
    ends, scores = np.asarray(steps, dtype=np.float64), np.asarray(returns, dtype=np.float64)
    if ends.ndim != 1 or ends.shape != scores.shape:
        raise ValueError(
            f"steps and returns must both be (E,), not {ends.shape} and {scores.shape}"
        )
    if not (np.isfinite(ends).all() and np.isfinite(scores).all()):
        raise ValueError("steps and returns must be finite")
    if (np.diff(ends) < 0).any():
        raise ValueError("steps must never fall: sort the episodes by their ends")
    return ends, scores
