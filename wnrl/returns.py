"""Returns and targets: pure functions of rewards and discounts, without networks or storage.

Dimension key: B batch, n steps.

Time is in the names: `r_t` and `discount_t` came after acting in s_tm1, and lead to s_t. A discount
of 0 says that nothing counts any more; what made it 0 was decided where the step was stored.
"""

import torch
from torch import Tensor


def n_step_return(rewards: Tensor, discounts: Tensor) -> tuple[Tensor, Tensor]:
    """The rewards of n steps as one, and the discount of what follows them.

        R = r_1 + d_1 r_2 + d_1 d_2 r_3 + ...        discount = d_1 d_2 ... d_n

    A step with reward 0 and discount 1 changes nothing, so shorter returns are padded with it.

    Args:
        rewards: (B, n) floating point, in time order.
        discounts: (B, n) floating point, in [0, 1].

    Returns:
        R (B,) and the discount (B,) of the value at the state after the last step.

    Raises:
        ValueError: if the shapes differ, are not (B, n) or n is 0.
        TypeError: if either is not floating point.

    Source: Sutton 1988; Mnih et al. 2016 (1602.01783), section 4.
    """
    _require_floating(rewards=rewards, discounts=discounts)
    if rewards.ndim != 2 or rewards.shape[1] == 0 or rewards.shape != discounts.shape:
        raise ValueError(
            "rewards and discounts must both be (B, n) with n >= 1, "
            f"not {tuple(rewards.shape)} and {tuple(discounts.shape)}"
        )
    total, weight = rewards[:, 0], discounts[:, 0]
    for t in range(1, rewards.shape[1]):
        total = total + weight * rewards[:, t]
        weight = weight * discounts[:, t]
    return total, weight


def td_target(r_t: Tensor, discount_t: Tensor, q_t_max: Tensor) -> Tensor:
    """The one-step bootstrap target `r_t + discount_t * q_t_max`.

    Args:
        r_t: (B,) rewards (or n-step rewards).
        discount_t: (B,) discounts (or products of n).
        q_t_max: (B,) values of s_t.

    Returns:
        Targets (B,). Gradients flow as they come: a loss decides where they stop.

    Raises:
        ValueError: if the shapes are not all the same (B,).
        TypeError: if any is not floating point.
    """
    _require_floating(r_t=r_t, discount_t=discount_t, q_t_max=q_t_max)
    if r_t.ndim != 1 or not r_t.shape == discount_t.shape == q_t_max.shape:
        raise ValueError(
            "r_t, discount_t and q_t_max must all be (B,), not "
            f"{tuple(r_t.shape)}, {tuple(discount_t.shape)} and {tuple(q_t_max.shape)}"
        )
    return torch.addcmul(r_t, discount_t, q_t_max)


def _require_floating(**tensors: Tensor) -> None:
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise TypeError(f"{name} must be floating point, not {tensor.dtype}")
