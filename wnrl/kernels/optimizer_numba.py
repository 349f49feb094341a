"""The weight-normalizing optimizer's step compiled for CPUs by numba: each row in one go.

A row of w, its gradient and its moments stay in a core's first caches while all that a step needs
of them is done, so the sums and the scaling of weight normalization cost little next to the memory
traffic that a plain optimizer has too. The equations are in `wnrl.optim.normalizing_step`; ATen
needs a pass over memory for each of their terms (`optimizer_aten`).

Every sum is over one row, in one thread, in an order that the compiled code fixes, so results do
not depend on the number of threads.

Importing this file imports numba.

Dimension key: O rows (output units), K elements of a row.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from wnrl.kernels.compiled import compiled
from wnrl.kernels.optimizer_aten import SMALLEST_GAIN

# The order of sums may change, and a quotient may become a product; NaN and infinity are kept.
_MATH = {"reassoc", "contract", "nsz", "arcp"}
_CHUNK = 256
BLOCK = 16_384  # elements of a plain parameter whose gradient norm is summed at once


def _compiled(function: Any) -> Any:
    return compiled(function, _MATH)


def _prefetch_code(context: Any, array: types.Array, index: types.Integer) -> Any:
    """Ask for the cache line of an element of an array; the element may lie behind its end."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        byte, number = ir.IntType(8), ir.IntType(32)
        address = builder.bitcast(builder.gep(data, [arguments[1]]), byte.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        read, all_levels, data_cache = (ir.Constant(number, x) for x in (0, 3, 1))
        builder.call(function, [address, read, all_levels, data_cache])
        return context.get_dummy_value()

    return types.void(array, index), build


_prefetch: Any = intrinsic(_prefetch_code)


# A rule adds its update U to targets x (K,), for the gradients u, and changes the moments m1, m2:
#
#     u = factor (d - along x)                  x += scale U
#
# These are rows of w with dL/dv, or gains and plain parameters with along = 0 and scale = 1. `rate`
# includes Adam's correction of the first moment, `adaptive` that of the second. The equations are
# those of `optimizer_rules`.


@_compiled
def _adam(x, d, m1, m2, factor, along, scale, rate, adaptive, first, second, eps):
    for k in range(x.size):
        u = factor * (d[k] - along * x[k])
        m1[k] += first * (u - m1[k])
        m2[k] += second * (u * u - m2[k])
        x[k] -= scale * rate * m1[k] / (math.sqrt(m2[k]) * adaptive + eps)


@_compiled
def _adamax(x, d, m1, m2, factor, along, scale, rate, adaptive, first, second, eps):
    for k in range(x.size):
        u = factor * (d[k] - along * x[k])
        m1[k] += first * (u - m1[k])
        m2[k] = max(m2[k] - second * m2[k], abs(u) + eps)
        x[k] -= scale * rate * m1[k] / m2[k]


@_compiled
def _rmsprop(x, d, m1, m2, factor, along, scale, rate, adaptive, first, second, eps):
    for k in range(x.size):
        u = factor * (d[k] - along * x[k])
        m1[k] += first * (u * u - m1[k])
        x[k] -= scale * rate * u / (math.sqrt(m1[k]) + eps)


@_compiled
def _rmsprop_tf(x, d, m1, m2, factor, along, scale, rate, adaptive, first, second, eps):
    for k in range(x.size):
        u = factor * (d[k] - along * x[k])
        m1[k] += first * (u * u - m1[k])
        x[k] -= scale * rate * u / math.sqrt(m1[k] + eps)


@_compiled
def _centered_rmsprop(x, d, m1, m2, factor, along, scale, rate, adaptive, first, second, eps):
    zero = x.dtype.type(0)
    for k in range(x.size):
        u = factor * (d[k] - along * x[k])
        m1[k] += first * (u * u - m1[k])
        m2[k] += first * (u - m2[k])
        # Rounding can make the variance of a steady gradient negative.
        x[k] -= scale * rate * u / (math.sqrt(max(m1[k] - m2[k] * m2[k], zero)) + eps)


@_compiled
def _radam(x, d, m1, m2, factor, along, scale, rate, adaptive, first, second, eps):
    rectified = adaptive > 0  # from the sixth update on or so
    for k in range(x.size):
        u = factor * (d[k] - along * x[k])
        m1[k] += first * (u - m1[k])
        m2[k] += second * (u * u - m2[k])
        share = adaptive / (math.sqrt(m2[k]) + eps)
        x[k] -= scale * rate * m1[k] * (share if rectified else x.dtype.type(1))


@_compiled
def _sgd(x, d, m1, m2, factor, along, scale, rate, adaptive, first, second, eps):
    for k in range(x.size):
        x[k] -= scale * rate * (factor * (d[k] - along * x[k]))


@_compiled
def _momentum_sgd(x, d, m1, m2, factor, along, scale, rate, adaptive, first, second, eps):
    for k in range(x.size):
        m1[k] = (m1[k] - first * m1[k]) + factor * (d[k] - along * x[k])
        x[k] -= scale * rate * m1[k]


@_compiled
def _step(rule, numbers, x, d, m1, m2, factor, along, scale):
    """Step targets by a rule, numbered as `optimizer_rules.Rule.kernel`.

    `numbers` start with the rate, adaptive, 1 - first, 1 - second and eps.
    """
    real = x.dtype.type
    f, a, s = real(factor), real(along), real(scale)
    n0, n1, n2 = real(numbers[0]), real(numbers[1]), real(numbers[2])
    n3, n4 = real(numbers[3]), real(numbers[4])
    if rule == 0:
        _adam(x, d, m1, m2, f, a, s, n0, n1, n2, n3, n4)
    elif rule == 1:
        _adamax(x, d, m1, m2, f, a, s, n0, n1, n2, n3, n4)
    elif rule == 2:
        _rmsprop(x, d, m1, m2, f, a, s, n0, n1, n2, n3, n4)
    elif rule == 3:
        _centered_rmsprop(x, d, m1, m2, f, a, s, n0, n1, n2, n3, n4)
    elif rule == 4:
        _radam(x, d, m1, m2, f, a, s, n0, n1, n2, n3, n4)
    elif rule == 5:
        _sgd(x, d, m1, m2, f, a, s, n0, n1, n2, n3, n4)
    elif rule == 7:
        _rmsprop_tf(x, d, m1, m2, f, a, s, n0, n1, n2, n3, n4)
    else:
        _momentum_sgd(x, d, m1, m2, f, a, s, n0, n1, n2, n3, n4)


@_compiled
def _square(x):
    total = x.dtype.type(0)
    for k in range(x.size):
        total += x[k] * x[k]
    return total


@_compiled
def _square_and_dot(x, y):
    """Return x . x and x . y."""
    square, dot = x.dtype.type(0), x.dtype.type(0)
    for k in range(x.size):
        square += x[k] * x[k]
        dot += x[k] * y[k]
    return square, dot


# The squares of a row are added per chunk, then over chunks in float64, in the same order before
# and after a step: a row that does not change has the same norm, to the last bit.


@_compiled
def _long_square(x):
    total = 0.0
    for start in range(0, x.size, _CHUNK):
        total += _square(x[start : start + _CHUNK])
    return total


@_compiled
def _root(total, x):
    """Return a norm, rounded to the type of x."""
    return float(x.dtype.type(math.sqrt(total)))


@_compiled
def _measure(x, d, n, sums):
    """Write ||w||, d . w and the squared gradient norm of v and g of a row: sums (3,).

    ||dL/dv||^2 + (dL/dg)^2 = (g / n)^2 (||d||^2 - (d . w)^2 / g^2) + (d . w)^2 / g^2
    """
    total, square, dot = 0.0, 0.0, 0.0
    for start in range(0, x.size, _CHUNK):
        k = slice(start, start + _CHUNK)
        total += _square(x[k])
        more_square, more_dot = _square_and_dot(d[k], x[k])
        square, dot = square + more_square, dot + more_dot
    gain = _root(total, x)
    if gain > 0:
        along = (dot / gain) ** 2
        ratio = gain / n if n > 0 else 1.0
        square = ratio**2 * max(square - along, 0.0) + along
    sums[0], sums[1], sums[2] = gain, dot, square


@_compiled
def measure_rows(w, d, norm, sums, start_row, stop_row):
    """Write the sums (O, 3) of some rows, for gradients that are clipped before the step."""
    for row in range(start_row, stop_row):
        _measure(w[row], d[row], float(norm[row]), sums[row])


@_compiled
def step_rows(
    rule, numbers, clip, measured, w, d, norm, sign, m1, m2, m1_g, m2_g, sums, start_row, stop_row
):
    """Step some rows of a normalized weight.

    Args:
        rule: number of the rule.
        numbers: (6,) as for `_step`, then the largest n; 0 leaves n as it is.
        clip: factor of all gradients.
        measured: whether `sums` are from `measure_rows`; otherwise they are written.
        w, d, m1, m2: (O, K) weight, dL/dw, moments of v; any array for a moment it does not have.
        norm, sign, m1_g, m2_g: (O,) n, s and moments of g.
        sums: (O, 3).
        start_row, stop_row: which rows.
    """
    real = w.dtype.type
    g, dg = np.empty_like(norm[:1]), np.empty_like(norm[:1])
    for row in range(start_row, stop_row):
        x, s = w[row], float(sign[row])
        if not measured:
            _measure(x, d[row], float(norm[row]), sums[row])
        gain, dot = sums[row, 0], sums[row, 1]
        if not norm[row] > 0:  # the row was zero when n was made: it starts with v = w
            norm[row] = gain
        along, scale = 0.0, 1.0
        g[0], dg[0] = s * gain, 0.0
        if gain > 0:
            along, scale, dg[0] = dot / (gain * gain), s * gain / float(norm[row]), s * dot / gain
        total = 0.0
        for start in range(0, x.size, _CHUNK):
            # Load the next row's w and d from memory while this row keeps the core busy.
            for ahead in range(start, min(start + _CHUNK, x.size), 64 // x.itemsize):
                _prefetch(x, x.size + ahead)
                _prefetch(d[row], x.size + ahead)
            k = slice(start, start + _CHUNK)
            _step(
                rule, numbers, x[k], d[row, k], m1[row, k], m2[row, k], clip * scale, along, scale
            )
            total += _square(x[k])
        length = _root(total, x)
        k = slice(row, row + 1)
        _step(rule, numbers, g, dg, m1_g[k], m2_g[k], clip, 0.0, 1.0)
        if not (gain > 0 and length > 0):
            continue  # a row of zeros takes a plain step; one that the step cancelled stays zero
        next_gain, smallest = float(g[0]), min(gain, SMALLEST_GAIN)
        if abs(next_gain) < smallest:
            next_gain = s * smallest
        factor = real(s * next_gain / length)
        for i in range(x.size):
            x[i] *= factor
        if numbers[5] > 0:
            norm[row] = min(norm[row] * real(length / gain), real(numbers[5]))
        sign[row] = 1.0 if next_gain > 0 else -1.0


@_compiled
def measure_blocks(d, sums, start, stop):
    """Write the squared norms (B,) of some blocks of a plain parameter's gradient (K,)."""
    for block in range(start, stop):
        sums[block] = _long_square(d[block * BLOCK : (block + 1) * BLOCK])


@_compiled
def step_blocks(rule, numbers, clip, measured, x, d, m1, m2, sums, start, stop):
    """Step some blocks of a plain parameter, all arrays (K,) but the sums (B,)."""
    if not measured:
        measure_blocks(d, sums, start, stop)
    k = slice(start * BLOCK, stop * BLOCK)
    _step(rule, numbers, x[k], d[k], m1[k], m2[k], clip, 0.0, 1.0)
