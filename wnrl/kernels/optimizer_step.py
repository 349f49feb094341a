"""The weight-normalizing optimizer's step in Triton: all tensors of all groups in one launch.

Each program steps one row: an output unit of a normalized weight, or a chunk of a plain parameter.
With w, d = dL/dw, |g| = ||w||, n = ||v||, s = sign(g) and the rule's updates U (see `wnrl.optim`):

    dL/dg = s (d . w) / |g|                       dL/dv = (g / n) (d - w (d . w) / g^2)
    y = w + (g / n) U_v                           n' = n ||y|| / |g|
    g' = g + U_g                                  w' = (g' / ||y||) s y

With BOUNDED, n' is at most the row's largest n, and stays n where that is 0.

v is never stored: a row that fits in registers loads w, d and two moments and stores w and two
moments, 7 words per element. To clip the global norm, a launch before it reads w and d:

    ||dL/dv||^2 + (dL/dg)^2 = (g / n)^2 (||d||^2 - (d . w)^2 / g^2) + (d . w)^2 / g^2

Sums are in float32; numbers that depend on the update count are in float64, once per row. Without
atomics, the same input gives the same bits. Rows shorter than about 1e-19 count as rows of zeros,
because their squares vanish in float32.

Importing this file needs Triton; `optimizer_launch` imports it only if `backend` chose Triton.
"""

# A test of a constexpr is separate from, and outside of, a test of a runtime value.
# ruff: noqa: SIM102

import triton
import triton.language as tl

from wnrl.kernels.optimizer_row import (
    COLUMNS,
    DOT,
    FIRST_MOMENT,
    GAIN,
    GROUP,
    KIND,
    LARGEST,
    LONG,
    NORM,
    PLAIN,
    ROW,
    SECOND_MOMENT,
    SHORT,
    SIGN,
    SQUARES,
    UNALIGNED,
    UPDATES,
    load_weight,
    locate_row,
    row_sums,
    store_weight,
)
from wnrl.kernels.optimizer_update import load_moments, rule_scalars, rule_update, store_moments

SETTINGS = tl.constexpr(8)  # per group: lr, first, second, eps, log first, log second
SMALLEST_GAIN = tl.constexpr(1e-12)
CLIP_EPSILON = tl.constexpr(1e-6)


@triton.jit
def _reading(gain, dot, norm, sign):
    """Return (n, g / n, d . w / g^2, dL/dg) of a row; a row of zeros has w = v and dL/dv = d."""
    safe = tl.where(gain > 0.0, gain, 1.0)
    norm = tl.where(norm > 0.0, norm, gain)
    scale = tl.where(gain > 0.0, tl.div_rn(sign * gain, tl.where(norm > 0.0, norm, 1.0)), 1.0)
    along = tl.div_rn(dot, safe)
    return norm, scale, tl.div_rn(along, safe), sign * along


@triton.jit
def measure_kernel(
    weights,
    gradients,
    master_ptr,
    rows_ptr,
    table_ptr,
    num_rows,
    MASTER: tl.constexpr,
    KINDS: tl.constexpr,
    BLOCK_SHORT: tl.constexpr,
    BLOCK_ROW: tl.constexpr,
):
    """Write each row's |g|, d . w and part of the squared global norm into the row state."""
    table = table_ptr + tl.program_id(0) * COLUMNS
    row_kind = tl.load(table + KIND)
    state = rows_ptr + tl.load(table + ROW)
    for kind in tl.static_range(8):
        if (KINDS >> kind) & 1:
            if row_kind == kind:
                ALIGN: tl.constexpr = 1 if kind >= UNALIGNED else 4
                BLOCK: tl.constexpr = BLOCK_SHORT if (kind & 3) <= SHORT else BLOCK_ROW
                _, length, w_ptr, v_ptr, d_ptr = locate_row(
                    table, weights, gradients, master_ptr, ALIGN
                )
                ww, dot, squares = row_sums(w_ptr, v_ptr, d_ptr, length, MASTER, BLOCK)
                if (kind & 3) != PLAIN:
                    gain = tl.sqrt_rn(ww)
                    norm = tl.load(state + NORM * num_rows)
                    sign = tl.load(state + SIGN * num_rows)
                    norm, scale, _, dg = _reading(gain, dot, norm, sign)
                    squares = scale * scale * tl.maximum(squares - dg * dg, 0.0) + dg * dg
                    tl.store(state + GAIN * num_rows, gain)
                    tl.store(state + DOT * num_rows, dot)
                tl.store(state + SQUARES * num_rows, squares)


@triton.jit
def _clip_factor(parts_ptr, num_parts, total_ptr, max_norm, BLOCK: tl.constexpr):
    """Return the factor of the gradients; program 0 stores the global norm at total_ptr."""
    squares = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, num_parts, BLOCK):
        part = start + tl.arange(0, BLOCK)
        squares += tl.load(parts_ptr + part, mask=part < num_parts, other=0.0)
    total = tl.sqrt_rn(tl.sum(squares, 0))
    if tl.program_id(0) == 0:
        tl.store(total_ptr, total)
    clip = tl.minimum(max_norm / (total + CLIP_EPSILON), 1.0)
    return tl.where(max_norm == float("inf"), 1.0, clip)  # inf / inf would be NaN


@triton.jit
def _scaled_back(gain, length, norm, sign, g):
    """Return (factor of y, n', s') from ||y|| and g + U_g."""
    smallest = tl.minimum(gain, SMALLEST_GAIN)
    g = tl.where(tl.abs(g) < smallest, sign * smallest, g)
    # y keeps the sign of the old g, so s y has the direction of v'. A row that the step cancelled
    # to zero stays zero.
    alive = (gain > 0.0) & (length > 0.0)
    factor = tl.where(alive, tl.div_rn(sign * g, tl.where(alive, length, 1.0)), 1.0)
    new_norm = norm * tl.div_rn(length, tl.where(alive, gain, 1.0))
    new_sign = tl.where(g < 0.0, -1.0, 1.0)
    return factor, tl.where(alive, new_norm, norm), tl.where(alive, new_sign, sign)


@triton.jit
def _step_row(
    table,
    weights,
    gradients,
    master_ptr,
    m1_ptr,
    m2_ptr,
    state,
    num_rows,
    rate,
    adaptive,
    first,
    second,
    eps,
    clip,
    RULE: tl.constexpr,
    CLIP: tl.constexpr,
    BOUNDED: tl.constexpr,
    MASTER: tl.constexpr,
    ALIGN: tl.constexpr,
    LOOP: tl.constexpr,
    NORMALIZED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Step one row: in registers, or in passes of BLOCK elements if LOOP is set."""
    offset, length, w_ptr, master_ptr, d_ptr = locate_row(
        table, weights, gradients, master_ptr, ALIGN
    )
    m1_ptr += offset
    m2_ptr += offset
    k = tl.arange(0, BLOCK)
    inside = k < length
    if not LOOP:
        w = load_weight(w_ptr, master_ptr, k, inside, MASTER)
        d = tl.load(d_ptr + k, mask=inside, other=0.0).to(tl.float32)
        m1, m2 = load_moments(m1_ptr, m2_ptr, k, inside, RULE)
    if NORMALIZED:
        if CLIP:
            gain = tl.load(state + GAIN * num_rows)
            dot = tl.load(state + DOT * num_rows)
        elif LOOP:
            ww, dot, _ = row_sums(w_ptr, master_ptr, d_ptr, length, MASTER, BLOCK)
            gain = tl.sqrt_rn(ww)
        else:
            gain = tl.sqrt_rn(tl.sum(w * w, 0))
            dot = tl.sum(d * w, 0)
        sign = tl.load(state + SIGN * num_rows)
        _, scale, along, _ = _reading(gain, dot, tl.load(state + NORM * num_rows), sign)
        if LOOP:
            squares = tl.zeros((BLOCK,), tl.float32)
            target = master_ptr if MASTER else w_ptr
            for start in range(0, length, BLOCK):
                k = start + tl.arange(0, BLOCK)
                inside = k < length
                w = load_weight(w_ptr, master_ptr, k, inside, MASTER)
                d = tl.load(d_ptr + k, mask=inside, other=0.0).to(tl.float32)
                m1, m2 = load_moments(m1_ptr, m2_ptr, k, inside, RULE)
                dv = clip * scale * (d - w * along)
                update, m1, m2 = rule_update(dv, m1, m2, rate, adaptive, first, second, eps, RULE)
                y = tl.where(inside, w + scale * update, 0.0)
                squares += y * y
                store_moments(m1_ptr, m2_ptr, k, inside, m1, m2, RULE)
                tl.store(target + k, y, mask=inside)
            y_length = tl.sqrt_rn(tl.sum(squares, 0))
        else:
            dv = clip * scale * (d - w * along)
            update, m1, m2 = rule_update(dv, m1, m2, rate, adaptive, first, second, eps, RULE)
            y = tl.where(inside, w + scale * update, 0.0)
            y_length = tl.sqrt_rn(tl.sum(y * y, 0))
            store_moments(m1_ptr, m2_ptr, k, inside, m1, m2, RULE)
        # Load these again instead of keeping them: the row itself needs the registers.
        if CLIP:
            gain = tl.load(state + GAIN * num_rows)
            dot = tl.load(state + DOT * num_rows)
        sign = tl.load(state + SIGN * num_rows)
        norm, _, _, dg = _reading(gain, dot, tl.load(state + NORM * num_rows), sign)
        m1_g = tl.load(state + FIRST_MOMENT * num_rows)
        m2_g = tl.load(state + SECOND_MOMENT * num_rows)
        update_g, m1_g, m2_g = rule_update(
            clip * dg, m1_g, m2_g, rate, adaptive, first, second, eps, RULE
        )
        before = norm
        factor, norm, sign = _scaled_back(gain, y_length, norm, sign, sign * gain + update_g)
        if BOUNDED:
            largest = tl.load(state + LARGEST * num_rows)
            norm = tl.where(norm > largest, largest, norm)  # NaN stays
            norm = tl.where(largest > 0.0, norm, before)
        tl.debug_barrier()  # every warp has read before one writes
        tl.store(state + NORM * num_rows, norm)
        tl.store(state + SIGN * num_rows, sign)
        tl.store(state + FIRST_MOMENT * num_rows, m1_g)
        tl.store(state + SECOND_MOMENT * num_rows, m2_g)
        if LOOP:
            # A thread may read what another wrote: a master and its weight differ in width.
            tl.debug_barrier()
            for start in range(0, length, BLOCK):
                k = start + tl.arange(0, BLOCK)
                inside = k < length
                y = tl.load(target + k, mask=inside, other=0.0)
                store_weight(w_ptr, master_ptr, k, inside, y * factor, MASTER)
        else:
            store_weight(w_ptr, master_ptr, k, inside, y * factor, MASTER)
    else:
        update, m1, m2 = rule_update(clip * d, m1, m2, rate, adaptive, first, second, eps, RULE)
        store_weight(w_ptr, master_ptr, k, inside, w + update, MASTER)
        store_moments(m1_ptr, m2_ptr, k, inside, m1, m2, RULE)


@triton.jit
def step_kernel(
    weights,
    gradients,
    master_ptr,
    m1_ptr,
    m2_ptr,
    rows_ptr,
    table_ptr,
    settings_ptr,
    parts_ptr,
    total_ptr,
    num_rows,
    num_parts,
    max_norm,
    RULE: tl.constexpr,
    CLIP: tl.constexpr,
    BOUNDED: tl.constexpr,
    MASTER: tl.constexpr,
    KINDS: tl.constexpr,
    BLOCK_SHORT: tl.constexpr,
    BLOCK_ROW: tl.constexpr,
):
    """Update every row once; with CLIP, after `measure_kernel`. The equations are the module's.

    weights, gradients: tuples of pointers, one type each. master, m1, m2: arenas in float32.
    rows: (9, num_rows) float32 row state; table: (programs, 8) int32; settings: (groups, 8)
    float64; parts: num_parts sums whose total is the squared global norm. KINDS: one bit per kind
    of row that occurs; the code of other kinds is left out, and so are its registers.
    """
    table = table_ptr + tl.program_id(0) * COLUMNS
    row_kind = tl.load(table + KIND)
    state = rows_ptr + tl.load(table + ROW)
    settings = settings_ptr + tl.load(table + GROUP) * SETTINGS
    updates = tl.load(state + UPDATES * num_rows) + 1.0
    tl.debug_barrier()  # every warp has read before one writes
    tl.store(state + UPDATES * num_rows, updates)
    rate, adaptive = rule_scalars(settings, updates, RULE)
    first = tl.load(settings + 1).to(tl.float32)
    second = tl.load(settings + 2).to(tl.float32)
    eps = tl.load(settings + 3).to(tl.float32)
    clip = 1.0
    if CLIP:
        clip = _clip_factor(parts_ptr, num_parts, total_ptr, max_norm, 1024)
    for kind in tl.static_range(8):
        if (KINDS >> kind) & 1:
            if row_kind == kind:
                _step_row(
                    table,
                    weights,
                    gradients,
                    master_ptr,
                    m1_ptr,
                    m2_ptr,
                    state,
                    num_rows,
                    rate,
                    adaptive,
                    first,
                    second,
                    eps,
                    clip,
                    RULE,
                    CLIP,
                    BOUNDED,
                    MASTER,
                    1 if kind >= UNALIGNED else 4,
                    (kind & 3) == LONG,
                    (kind & 3) != PLAIN,
                    BLOCK_SHORT if (kind & 3) <= SHORT else BLOCK_ROW,
                )
