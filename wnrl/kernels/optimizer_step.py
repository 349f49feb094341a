"""The weight-normalizing optimizer's step in Triton: all tensors of all groups in one launch.

A program is one row: one output unit of a normalized weight, or a chunk of a plain parameter. With
w, d = dL/dw, |g| = ||w||, n = ||v||, s = sign(g) and the rule's updates U (see `wnrl.optim`):

    dL/dg = s (d . w) / |g|                       dL/dv = (g / n) (d - w (d . w) / g^2)
    y = w + (g / n) U_v                           n' = n ||y|| / |g|
    g' = g + U_g                                  w' = (g' / ||y||) s y

v is never stored: a row that fits in registers moves w, d and two moments in, w and two moments
out, 7 words per element. Clipping of the global norm has a launch before it, which reads w and d:

    ||dL/dv||^2 + (dL/dg)^2 = (g / n)^2 (||d||^2 - (d . w)^2 / g^2) + (d . w)^2 / g^2

Sums are in float32; what depends on the number of updates is in float64, once per row. No atomics:
the same input gives the same bits. Rows shorter than about 1e-19 count as rows of zeros, because
their squares vanish in float32. Importing this file needs Triton; `optimizer_launch` does so only
where `backend` chose it.
"""

# A test of a constexpr stands alone, around a test of what is known at run time only.
# ruff: noqa: SIM102, SIM109

import triton
import triton.language as tl

# Columns of the table, one line per row.
OFFSET = tl.constexpr(0)  # in the arenas of moments and masters, elements
LENGTH = tl.constexpr(1)
TENSOR = tl.constexpr(2)  # in the launch's tuples of pointers
START = tl.constexpr(3)  # in the tensor, elements
GROUP = tl.constexpr(4)
ROW = tl.constexpr(5)  # in the arena of row state
KIND = tl.constexpr(6)
COLUMNS = tl.constexpr(8)

# Kinds of rows; UNALIGNED (bit 2) is added where a row's addresses allow no vector loads.
PLAIN = tl.constexpr(0)
SHORT = tl.constexpr(1)  # up to BLOCK_SHORT elements
WHOLE = tl.constexpr(2)  # up to BLOCK_ROW, in registers
LONG = tl.constexpr(3)  # in passes, read again from cache
UNALIGNED = tl.constexpr(4)

# Fields of the row state, each an array over all rows.
NORM = tl.constexpr(0)
SIGN = tl.constexpr(1)
FIRST_MOMENT = tl.constexpr(2)  # of the gain
SECOND_MOMENT = tl.constexpr(3)
UPDATES = tl.constexpr(4)
GAIN = tl.constexpr(5)  # from the measuring launch, with the next two
DOT = tl.constexpr(6)  # d . w
SQUARES = tl.constexpr(7)  # the row's part of the squared global norm

SETTINGS = tl.constexpr(8)  # per group: lr, first, second, eps, log first, log second
SMALLEST_GAIN = tl.constexpr(1e-12)
CLIP_EPSILON = tl.constexpr(1e-6)

# Rules, numbered as `optimizer_rules.Rule.kernel`.
ADAM = tl.constexpr(0)
ADAMAX = tl.constexpr(1)
RMSPROP = tl.constexpr(2)
CENTERED_RMSPROP = tl.constexpr(3)
RADAM = tl.constexpr(4)
SGD = tl.constexpr(5)
MOMENTUM_SGD = tl.constexpr(6)


@triton.jit
def _pick(pointers, index):
    """pointers[index] for an index known only at run time."""
    picked = pointers[0]
    for i in tl.static_range(1, len(pointers)):
        picked = tl.where(index == i, pointers[i], picked)
    return picked


@triton.jit
def _weight(w_ptr, master_ptr, k, inside, MASTER: tl.constexpr):
    """The row's weights in float32: the master where it still rounds to what the network holds."""
    w = tl.load(w_ptr + k, mask=inside, other=0.0).to(tl.float32)
    if MASTER:
        master = tl.load(master_ptr + k, mask=inside, other=0.0)
        rounded = master.to(w_ptr.dtype.element_ty).to(tl.float32)
        w = tl.where(rounded == w, master, w)
    return w


@triton.jit
def _scalars(settings, updates, RULE: tl.constexpr):
    """(rate, adaptive): the parts of a rule that depend on how many updates there were."""
    lr = tl.load(settings)
    rate = lr
    adaptive = lr
    if RULE == ADAM or RULE == ADAMAX or RULE == RADAM:
        t = updates.to(tl.float64)
        rate = lr / (1.0 - tl.exp(t * tl.load(settings + 4)))
        if RULE != ADAMAX:
            decay = tl.exp(t * tl.load(settings + 5))
            adaptive = 1.0 / tl.sqrt(1.0 - decay)
            if RULE == RADAM:
                longest = 2.0 / (1.0 - tl.load(settings + 2)) - 1.0
                length = longest - 2.0 * t * decay / (1.0 - decay)
                share = (length - 4.0) * (length - 2.0) * longest
                share = share / ((longest - 4.0) * (longest - 2.0) * length)
                # torch's threshold; 0 stands for a step without the second moment
                adaptive = tl.where(length > 5.0, tl.sqrt(tl.abs(share) * (1.0 - decay)), 0.0)
    return rate.to(tl.float32), adaptive.to(tl.float32)


@triton.jit
def _update(d, m1, m2, rate, adaptive, first, second, eps, RULE: tl.constexpr):
    """(U, moments): the rule's update for gradients d, elementwise."""
    update = -rate * d
    if RULE == ADAM:
        m1 = m1 + (1.0 - first) * (d - m1)
        m2 = m2 + (1.0 - second) * (d * d - m2)
        update = -rate * (m1 / (tl.sqrt(m2) * adaptive + eps))
    elif RULE == ADAMAX:
        m1 = m1 + (1.0 - first) * (d - m1)
        m2 = tl.maximum(second * m2, tl.abs(d) + eps)
        update = -rate * (m1 / m2)
    elif RULE == RMSPROP:
        m1 = m1 + (1.0 - first) * (d * d - m1)
        update = -rate * (d / (tl.sqrt(m1) + eps))
    elif RULE == CENTERED_RMSPROP:
        m1 = m1 + (1.0 - first) * (d * d - m1)
        m2 = m2 + (1.0 - first) * (d - m2)
        # Rounding can make the variance of a steady gradient negative.
        update = -rate * (d / (tl.sqrt(tl.maximum(m1 - m2 * m2, 0.0)) + eps))
    elif RULE == RADAM:
        m1 = m1 + (1.0 - first) * (d - m1)
        m2 = m2 + (1.0 - second) * (d * d - m2)
        scaled = tl.where(adaptive > 0.0, adaptive / (tl.sqrt(m2) + eps), 1.0)
        update = -rate * (m1 * scaled)
    elif RULE == MOMENTUM_SGD:
        m1 = first * m1 + d
        update = -rate * m1
    return update, m1, m2


@triton.jit
def _moments(m1_ptr, m2_ptr, k, inside, RULE: tl.constexpr):
    """Load what the rule keeps; zeros stand for what it does not."""
    m1 = tl.zeros(k.shape, tl.float32)
    m2 = m1
    if RULE != SGD:
        m1 = tl.load(m1_ptr + k, mask=inside, other=0.0)
    if RULE == ADAM or RULE == ADAMAX or RULE == CENTERED_RMSPROP or RULE == RADAM:
        m2 = tl.load(m2_ptr + k, mask=inside, other=0.0)
    return m1, m2


@triton.jit
def _store_moments(m1_ptr, m2_ptr, k, inside, m1, m2, RULE: tl.constexpr):
    if RULE != SGD:
        tl.store(m1_ptr + k, m1, mask=inside)
    if RULE == ADAM or RULE == ADAMAX or RULE == CENTERED_RMSPROP or RULE == RADAM:
        tl.store(m2_ptr + k, m2, mask=inside)


@triton.jit
def _store_weight(w_ptr, master_ptr, k, inside, w, MASTER: tl.constexpr):
    if MASTER:
        tl.store(master_ptr + k, w, mask=inside)
    tl.store(w_ptr + k, w.to(w_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _sums(w_ptr, master_ptr, d_ptr, length, MASTER: tl.constexpr, BLOCK: tl.constexpr):
    """(w . w, d . w, d . d) of a row."""
    ww = tl.zeros((BLOCK,), tl.float32)
    dw = tl.zeros((BLOCK,), tl.float32)
    dd = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, length, BLOCK):
        k = start + tl.arange(0, BLOCK)
        inside = k < length
        w = _weight(w_ptr, master_ptr, k, inside, MASTER)
        d = tl.load(d_ptr + k, mask=inside, other=0.0).to(tl.float32)
        ww += w * w
        dw += d * w
        dd += d * d
    return tl.sum(ww, 0), tl.sum(dw, 0), tl.sum(dd, 0)


@triton.jit
def _located(table, weights, gradients, master_ptr, ALIGN: tl.constexpr):
    """Where a row lies: (offset in the arenas, length, pointers to w, its master and d)."""
    offset = tl.multiple_of(tl.load(table + OFFSET), ALIGN)
    length = tl.multiple_of(tl.load(table + LENGTH), ALIGN)
    start = tl.multiple_of(tl.load(table + START), ALIGN)
    tensor = tl.load(table + TENSOR)
    w_ptr = _pick(weights, tensor) + start
    return offset, length, w_ptr, master_ptr + offset, _pick(gradients, tensor) + start


@triton.jit
def _reading(gain, dot, norm, sign):
    """(n, g / n, d . w / g^2, dL/dg) of a row; a row of zeros has w = v, no gain, dL/dv = d."""
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
    """Each row's |g|, d . w and part of the squared global norm, into the row state."""
    table = table_ptr + tl.program_id(0) * COLUMNS
    here = tl.load(table + KIND)
    state = rows_ptr + tl.load(table + ROW)
    for kind in tl.static_range(8):
        if (KINDS >> kind) & 1:
            if here == kind:
                ALIGN: tl.constexpr = 1 if kind >= UNALIGNED else 4
                BLOCK: tl.constexpr = BLOCK_SHORT if (kind & 3) <= SHORT else BLOCK_ROW
                _, length, w_ptr, v_ptr, d_ptr = _located(
                    table, weights, gradients, master_ptr, ALIGN
                )
                ww, dot, squares = _sums(w_ptr, v_ptr, d_ptr, length, MASTER, BLOCK)
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
    """What to multiply gradients with; program 0 leaves the global norm in total_ptr."""
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
    """(what to multiply y with, n', s') from ||y|| and g + U_g."""
    smallest = tl.minimum(gain, SMALLEST_GAIN)
    g = tl.where(tl.abs(g) < smallest, sign * smallest, g)
    # y keeps the sign of the old g, so s y points along v'. A row that the step cancelled to zero
    # stays zero.
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
    MASTER: tl.constexpr,
    ALIGN: tl.constexpr,
    LOOP: tl.constexpr,
    NORMALIZED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Step one row: in registers, or in passes of BLOCK elements where LOOP is set."""
    offset, length, w_ptr, master_ptr, d_ptr = _located(
        table, weights, gradients, master_ptr, ALIGN
    )
    m1_ptr += offset
    m2_ptr += offset
    k = tl.arange(0, BLOCK)
    inside = k < length
    if not LOOP:
        w = _weight(w_ptr, master_ptr, k, inside, MASTER)
        d = tl.load(d_ptr + k, mask=inside, other=0.0).to(tl.float32)
        m1, m2 = _moments(m1_ptr, m2_ptr, k, inside, RULE)
    if NORMALIZED:
        if CLIP:
            gain = tl.load(state + GAIN * num_rows)
            dot = tl.load(state + DOT * num_rows)
        elif LOOP:
            ww, dot, _ = _sums(w_ptr, master_ptr, d_ptr, length, MASTER, BLOCK)
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
                w = _weight(w_ptr, master_ptr, k, inside, MASTER)
                d = tl.load(d_ptr + k, mask=inside, other=0.0).to(tl.float32)
                m1, m2 = _moments(m1_ptr, m2_ptr, k, inside, RULE)
                dv = clip * scale * (d - w * along)
                update, m1, m2 = _update(dv, m1, m2, rate, adaptive, first, second, eps, RULE)
                y = tl.where(inside, w + scale * update, 0.0)
                squares += y * y
                _store_moments(m1_ptr, m2_ptr, k, inside, m1, m2, RULE)
                tl.store(target + k, y, mask=inside)
            y_length = tl.sqrt_rn(tl.sum(squares, 0))
        else:
            dv = clip * scale * (d - w * along)
            update, m1, m2 = _update(dv, m1, m2, rate, adaptive, first, second, eps, RULE)
            y = tl.where(inside, w + scale * update, 0.0)
            y_length = tl.sqrt_rn(tl.sum(y * y, 0))
            _store_moments(m1_ptr, m2_ptr, k, inside, m1, m2, RULE)
        # Read again rather than hold: registers are short while the row is in them.
        if CLIP:
            gain = tl.load(state + GAIN * num_rows)
            dot = tl.load(state + DOT * num_rows)
        sign = tl.load(state + SIGN * num_rows)
        norm, _, _, dg = _reading(gain, dot, tl.load(state + NORM * num_rows), sign)
        m1_g = tl.load(state + FIRST_MOMENT * num_rows)
        m2_g = tl.load(state + SECOND_MOMENT * num_rows)
        update_g, m1_g, m2_g = _update(
            clip * dg, m1_g, m2_g, rate, adaptive, first, second, eps, RULE
        )
        factor, norm, sign = _scaled_back(gain, y_length, norm, sign, sign * gain + update_g)
        tl.debug_barrier()  # as above: one warp writes what all have read
        tl.store(state + NORM * num_rows, norm)
        tl.store(state + SIGN * num_rows, sign)
        tl.store(state + FIRST_MOMENT * num_rows, m1_g)
        tl.store(state + SECOND_MOMENT * num_rows, m2_g)
        if LOOP:
            # What one thread wrote, another may read: a master and its weight differ in width.
            tl.debug_barrier()
            for start in range(0, length, BLOCK):
                k = start + tl.arange(0, BLOCK)
                inside = k < length
                y = tl.load(target + k, mask=inside, other=0.0)
                _store_weight(w_ptr, master_ptr, k, inside, y * factor, MASTER)
        else:
            _store_weight(w_ptr, master_ptr, k, inside, y * factor, MASTER)
    else:
        update, m1, m2 = _update(clip * d, m1, m2, rate, adaptive, first, second, eps, RULE)
        _store_weight(w_ptr, master_ptr, k, inside, w + update, MASTER)
        _store_moments(m1_ptr, m2_ptr, k, inside, m1, m2, RULE)


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
    MASTER: tl.constexpr,
    KINDS: tl.constexpr,
    BLOCK_SHORT: tl.constexpr,
    BLOCK_ROW: tl.constexpr,
):
    """One update of every row; with CLIP, after `measure_kernel`. See the module's equations.

    weights, gradients: tuples of pointers, one type each. master, m1, m2: arenas in float32.
    rows: (8, num_rows) float32 row state; table: (programs, 8) int32; settings: (groups, 8)
    float64; parts: num_parts sums whose total is the squared global norm. KINDS: a bit per kind of
    row that occurs, so that other kinds' code and registers are left out.
    """
    table = table_ptr + tl.program_id(0) * COLUMNS
    here = tl.load(table + KIND)
    state = rows_ptr + tl.load(table + ROW)
    settings = settings_ptr + tl.load(table + GROUP) * SETTINGS
    updates = tl.load(state + UPDATES * num_rows) + 1.0
    tl.debug_barrier()  # every warp has read it before one writes it
    tl.store(state + UPDATES * num_rows, updates)
    rate, adaptive = _scalars(settings, updates, RULE)
    first = tl.load(settings + 1).to(tl.float32)
    second = tl.load(settings + 2).to(tl.float32)
    eps = tl.load(settings + 3).to(tl.float32)
    clip = 1.0
    if CLIP:
        clip = _clip_factor(parts_ptr, num_parts, total_ptr, max_norm, 1024)
    for kind in tl.static_range(8):
        if (KINDS >> kind) & 1:
            if here == kind:
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
                    MASTER,
                    1 if kind >= UNALIGNED else 4,
                    (kind & 3) == LONG,
                    (kind & 3) != PLAIN,
                    BLOCK_SHORT if (kind & 3) <= SHORT else BLOCK_ROW,
                )
