"""One row in the optimizer's kernels: where it is in memory, its loads, its stores and its sums.

A row is one output unit of a normalized weight, or a chunk of a plain parameter. The table that
`optimizer_launch` builds has one line per row, and the row state has one column per row.

Importing this file needs Triton.
"""

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

# Kinds of rows; UNALIGNED (bit 2) is added if a row's addresses allow no vector loads.
PLAIN = tl.constexpr(0)
SHORT = tl.constexpr(1)  # up to BLOCK_SHORT elements
WHOLE = tl.constexpr(2)  # up to BLOCK_ROW, in registers
LONG = tl.constexpr(3)  # in several passes, read again from cache
UNALIGNED = tl.constexpr(4)

# Fields of the row state, each an array over all rows.
NORM = tl.constexpr(0)
SIGN = tl.constexpr(1)
FIRST_MOMENT = tl.constexpr(2)  # first moment of the gain
SECOND_MOMENT = tl.constexpr(3)
UPDATES = tl.constexpr(4)
GAIN = tl.constexpr(5)  # this one and the next two are written by the measuring launch
DOT = tl.constexpr(6)  # d . w
SQUARES = tl.constexpr(7)  # the row's part of the squared global norm
LARGEST = tl.constexpr(8)  # bound on n, see `optimizer_rules.Settings`


@triton.jit
def pick(pointers, index):
    """Return pointers[index] for an index known only at run time."""
    picked = pointers[0]
    for i in tl.static_range(1, len(pointers)):
        picked = tl.where(index == i, pointers[i], picked)
    return picked


@triton.jit
def load_weight(w_ptr, master_ptr, k, inside, MASTER: tl.constexpr):
    """Load weights in float32: the master's, unless the network's weight was written since."""
    w = tl.load(w_ptr + k, mask=inside, other=0.0).to(tl.float32)
    if MASTER:
        master = tl.load(master_ptr + k, mask=inside, other=0.0)
        rounded = master.to(w_ptr.dtype.element_ty).to(tl.float32)
        w = tl.where(rounded == w, master, w)
    return w


@triton.jit
def store_weight(w_ptr, master_ptr, k, inside, w, MASTER: tl.constexpr):
    if MASTER:
        tl.store(master_ptr + k, w, mask=inside)
    tl.store(w_ptr + k, w.to(w_ptr.dtype.element_ty), mask=inside)


@triton.jit
def row_sums(w_ptr, master_ptr, d_ptr, length, MASTER: tl.constexpr, BLOCK: tl.constexpr):
    """Return (w . w, d . w, d . d) of a row."""
    ww = tl.zeros((BLOCK,), tl.float32)
    dw = tl.zeros((BLOCK,), tl.float32)
    dd = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, length, BLOCK):
        k = start + tl.arange(0, BLOCK)
        inside = k < length
        w = load_weight(w_ptr, master_ptr, k, inside, MASTER)
        d = tl.load(d_ptr + k, mask=inside, other=0.0).to(tl.float32)
        ww += w * w
        dw += d * w
        dd += d * d
    return tl.sum(ww, 0), tl.sum(dw, 0), tl.sum(dd, 0)


@triton.jit
def locate_row(table, weights, gradients, master_ptr, ALIGN: tl.constexpr):
    """Return a row's (offset in the arenas, length, pointers to w, its master and d)."""
    offset = tl.multiple_of(tl.load(table + OFFSET), ALIGN)
    length = tl.multiple_of(tl.load(table + LENGTH), ALIGN)
    start = tl.multiple_of(tl.load(table + START), ALIGN)
    tensor = tl.load(table + TENSOR)
    w_ptr = pick(weights, tensor) + start
    return offset, length, w_ptr, master_ptr + offset, pick(gradients, tensor) + start
