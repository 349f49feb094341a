"""Student's t distribution, central and noncentral, with any number of degrees of freedom.

Functions take arrays, so that thousands of simulated studies are tested at once.
"""

import functools
import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_TERMS = 400  # of a continued fraction; it needs about sqrt(df)
_TINY = 1e-300
_POINTS = 300  # of the quadrature over the standard deviation; its error is below 1e-7


def two_sided_p(t: npt.ArrayLike, df: npt.ArrayLike) -> Array:
    """Return P(|T| >= |t|) for a Student T: t (...), df (...) -> (...).

        P = I_x(df/2, 1/2)        x = df / (df + t²)

    with I the regularized incomplete beta function.

    Args:
        t: any number; infinity gives 0 and NaN gives NaN.
        df: above 0.

    Source: Abramowitz & Stegun 26.5.27 and 26.7.1.
    """
    t, df = np.broadcast_arrays(np.asarray(t, np.float64), np.asarray(df, np.float64))
    with np.errstate(invalid="ignore", over="ignore"):
        x = np.asarray(df / (df + t**2))
    return _incomplete_beta(df / 2, 0.5, x)


def upper_p(t: npt.ArrayLike, df: npt.ArrayLike) -> Array:
    """Return P(T >= t) for a Student T: t (...), df (...) -> (...)."""
    half = two_sided_p(t, df) / 2
    return np.where(np.asarray(t) >= 0, half, 1 - half)


@functools.cache
def two_sided_t(confidence: float, df: float) -> float:
    """Return the t with P(|T| <= t) = confidence, for a Student T with `df` degrees of freedom.

    Args:
        confidence: in (0, 1).
        df: above 0; infinity gives the normal distribution.

    Raises:
        ValueError: if confidence or df is none of these.
    """
    check_confidence(confidence)
    if df == math.inf:
        return NormalDist().inv_cdf((1 + confidence) / 2)
    if not df > 0:
        raise ValueError(f"df must be above 0, not {df}")
    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:  # until no number lies between them
        if two_sided_p(math.sqrt(df) * math.tan(middle), df) > 1 - confidence:
            low = middle
        else:
            high = middle
    return math.sqrt(df) * math.tan(high)


def noncentral_upper_p(t: float, df: float, shift: float) -> float:
    """Return P(T' >= t) for the noncentral T' = (Z + shift) / sqrt(V / df).

        P = integral of P(Z >= t u - shift) f(u) du        u = sqrt(V / df), V chi-squared

    Args:
        t: any number.
        df: degrees of freedom of V, above 0.
        shift: the noncentrality.

    Source: Johnson, Kotz & Balakrishnan 1995, chapter 31; the integral is computed numerically.
    """
    u, weight = _chi_weights(df)
    tails = np.array([math.erfc(z / math.sqrt(2)) / 2 for z in (t * u - shift).tolist()])
    return float((tails * weight).sum())


@functools.lru_cache(maxsize=64)
def _chi_weights(df: float) -> tuple[Array, Array]:
    """Return points of sqrt(V / df) and their probabilities, which sum to 1.

    The points are equidistant in log(u): the density is smooth there even for few degrees of
    freedom, and the trapezoid rule converges fast.
    """
    half = 8 / math.sqrt(df) + 12 / df  # far into both tails, of which the lower one is long
    log_u = np.linspace(-half - 3 / df, min(half, 3.0), _POINTS)
    log_density = df * log_u - df * np.exp(2 * log_u) / 2  # of log(u), up to a constant
    weight = np.exp(log_density - log_density.max())
    return np.exp(log_u), weight / weight.sum()


def check_confidence(confidence: float) -> None:
    """Raise ValueError if this is no confidence in (0, 1)."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")


def _incomplete_beta(a: Array, b: float, x: Array) -> Array:
    """Return I_x(a, b): a (...), x (...) -> (...), by the continued fraction of DLMF 8.17.22.

    It converges fast for x < (a + 1) / (a + b + 2); elsewhere I_x(a, b) = 1 - I_{1-x}(b, a).
    """
    swap = x > (a + 1) / (a + b + 2)
    first, second = np.where(swap, b, a), np.where(swap, a, b)
    y = np.where(swap, 1 - x, x)
    with np.errstate(divide="ignore", invalid="ignore"):
        front = np.exp(_log_beta(a, b) + first * np.log(y) + second * np.log1p(-y)) / first
        part = np.where(y == 0, 0.0, front * _fraction(first, second, y))
    return np.asarray(np.where(swap, 1 - part, part))


def _log_beta(a: Array, b: float) -> Array:
    """Return -log B(a, b)."""
    unique, places = np.unique(a, return_inverse=True)
    known = [math.lgamma(x + b) - math.lgamma(x) - math.lgamma(b) for x in unique.tolist()]
    return np.array(known, dtype=np.float64)[places].reshape(a.shape)


def _fraction(a: Array, b: Array, x: Array) -> Array:
    """Return the continued fraction by the modified method of Lentz."""
    c, d = np.ones_like(x), 1 - (a + b) * x / (a + 1)
    d = 1 / np.where(np.abs(d) < _TINY, _TINY, d)
    value = d.copy()
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 + term * d
            d = 1 / np.where(np.abs(d) < _TINY, _TINY, d)
            c = 1 + term / c
            c = np.where(np.abs(c) < _TINY, _TINY, c)
            change = c * d
            value = value * change
        if not (np.abs(change - 1) > 1e-15).any():  # NaN never converges, and need not
            break
    return value
