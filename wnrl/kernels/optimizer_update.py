"""Update rules of the optimizers in Triton; `optimizer_rules` has the same equations in ATen.

Importing this file needs Triton.
"""

# A test of a constexpr is separate from, and outside of, a test of a runtime value.
# ruff: noqa: SIM109

import triton
import triton.language as tl

# Rules, numbered as `optimizer_rules.Rule.kernel`.
ADAM = tl.constexpr(0)
ADAMAX = tl.constexpr(1)
RMSPROP = tl.constexpr(2)
CENTERED_RMSPROP = tl.constexpr(3)
RADAM = tl.constexpr(4)
SGD = tl.constexpr(5)
MOMENTUM_SGD = tl.constexpr(6)
RMSPROP_TF = tl.constexpr(7)


@triton.jit
def rule_scalars(settings, updates, RULE: tl.constexpr):
    """Return (rate, adaptive), the parts of a rule that depend on the number of updates."""
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
                # The threshold is torch's; 0 means a step without the second moment.
                adaptive = tl.where(length > 5.0, tl.sqrt(tl.abs(share) * (1.0 - decay)), 0.0)
    return rate.to(tl.float32), adaptive.to(tl.float32)


@triton.jit
def rule_update(d, m1, m2, rate, adaptive, first, second, eps, RULE: tl.constexpr):
    """Return (U, moments), the rule's update for gradients d, elementwise."""
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
    elif RULE == RMSPROP_TF:
        m1 = m1 + (1.0 - first) * (d * d - m1)
        update = -rate * (d / tl.sqrt(m1 + eps))
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
def load_moments(m1_ptr, m2_ptr, k, inside, RULE: tl.constexpr):
    """Load the moments that the rule has, and zeros for those that it does not have."""
    m1 = tl.zeros(k.shape, tl.float32)
    m2 = m1
    if RULE != SGD:
        m1 = tl.load(m1_ptr + k, mask=inside, other=0.0)
    if RULE == ADAM or RULE == ADAMAX or RULE == CENTERED_RMSPROP or RULE == RADAM:
        m2 = tl.load(m2_ptr + k, mask=inside, other=0.0)
    return m1, m2


@triton.jit
def store_moments(m1_ptr, m2_ptr, k, inside, m1, m2, RULE: tl.constexpr):
    if RULE != SGD:
        tl.store(m1_ptr + k, m1, mask=inside)
    if RULE == ADAM or RULE == ADAMAX or RULE == CENTERED_RMSPROP or RULE == RADAM:
        tl.store(m2_ptr + k, m2, mask=inside)
