"""Losses of value learning: pure functions of tensors, without networks or optimizers.

Dimension key: B batch, A actions.

A temporal-difference error is target minus prediction. No gradient flows through a target.
"""

import torch
from torch import Tensor

from wnrl.returns import td_target


def q_learning_td(
    q_tm1: Tensor, a_tm1: Tensor, r_t: Tensor, discount_t: Tensor, q_t: Tensor
) -> Tensor:
    """Q-learning's temporal-difference errors.

        td = r_t + discount_t max_a q_t[a] - q_tm1[a_tm1]

    Args:
        q_tm1: (B, A) values at s_tm1, from the network that learns.
        a_tm1: (B,) int64, the actions that were taken.
        r_t: (B,) rewards.
        discount_t: (B,) discounts.
        q_t: (B, A) values at s_t, from the target network.

    Returns:
        Errors (B,); their gradient reaches `q_tm1` only.

    Raises:
        ValueError: if a shape differs from the above.
        TypeError: if a dtype differs from the above.

    Source: Watkins & Dayan 1992; Mnih et al. 2015, equation 2.
    """
    chosen = _chosen(q_tm1, a_tm1)
    _require_same_shape(q_tm1, q_t=q_t)
    q_t_max = q_t.amax(dim=1)  # (B, A) -> (B,)
    return td_target(r_t, discount_t, q_t_max).detach() - chosen


def double_q_learning_td(
    q_tm1: Tensor,
    a_tm1: Tensor,
    r_t: Tensor,
    discount_t: Tensor,
    q_t_value: Tensor,
    q_t_selector: Tensor,
) -> Tensor:
    """Double Q-learning's temporal-difference errors: one network selects, another values.

        td = r_t + discount_t q_t_value[argmax_a q_t_selector[a]] - q_tm1[a_tm1]

    Args:
        q_tm1: (B, A) values at s_tm1, from the network that learns.
        a_tm1: (B,) int64, the actions that were taken.
        r_t: (B,) rewards.
        discount_t: (B,) discounts.
        q_t_value: (B, A) values at s_t, from the target network.
        q_t_selector: (B, A) values at s_t, from the network that learns.

    Returns:
        Errors (B,); their gradient reaches `q_tm1` only.

    Raises:
        ValueError: if a shape differs from the above.
        TypeError: if a dtype differs from the above.

    Source: van Hasselt, Guez & Silver 2016 (1509.06461), equation 4.
    """
    chosen = _chosen(q_tm1, a_tm1)
    _require_same_shape(q_tm1, q_t_value=q_t_value, q_t_selector=q_t_selector)
    q_t_selected = _chosen(q_t_value, q_t_selector.argmax(dim=1))  # (B, A) -> (B,)
    return td_target(r_t, discount_t, q_t_selected).detach() - chosen


def huber(td: Tensor, delta: float = 1.0) -> Tensor:
    """Squared near zero, linear beyond `delta`; its gradient is the error clipped to +-delta.

        0.5 td^2                     where |td| <= delta
        delta (|td| - 0.5 delta)     elsewhere

    Args:
        td: errors of any shape.
        delta: where the parabola turns into a line, above 0, in the unit of `td`.

    Returns:
        Losses of `td`'s shape: at delta = 1 those of `torch.nn.functional.smooth_l1_loss`.

    Raises:
        ValueError: if delta is not above 0.
        TypeError: if `td` is not floating point.

    Source: Huber 1964; the error clipping of Mnih et al. 2015, Methods.
    """
    _require_floating("td", td)
    if not delta > 0:
        raise ValueError(f"delta must be above 0, not {delta}")
    distance = td.abs()
    near = distance.clamp(max=delta)
    return 0.5 * near.square() + delta * (distance - near)


def squared(td: Tensor) -> Tensor:
    """Half the squared error, `0.5 td^2`, so that the gradient is the error itself.

    Args:
        td: errors of any shape.

    Returns:
        Losses of `td`'s shape: half of `torch.nn.functional.mse_loss`.

    Raises:
        TypeError: if `td` is not floating point.
    """
    _require_floating("td", td)
    return 0.5 * td.square()


def _chosen(q: Tensor, actions: Tensor) -> Tensor:
    """The values (B,) in q (B, A) of actions (B,)."""
    _require_floating("q", q)
    if actions.dtype != torch.int64:
        raise TypeError(f"actions must be int64, not {actions.dtype}")
    if q.ndim != 2 or actions.shape != q.shape[:1]:
        raise ValueError(
            f"q must be (B, A) and actions (B,), not {tuple(q.shape)} and {tuple(actions.shape)}"
        )
    return q.gather(1, actions.unsqueeze(1)).squeeze(1)  # (B, A) -> (B, 1) -> (B,)


def _require_same_shape(q_tm1: Tensor, **others: Tensor) -> None:
    for name, other in others.items():
        if other.shape != q_tm1.shape:
            raise ValueError(
                f"{name} must have q_tm1's shape {tuple(q_tm1.shape)}, not {tuple(other.shape)}"
            )


def _require_floating(name: str, tensor: Tensor) -> None:
    if not tensor.is_floating_point():
        raise TypeError(f"{name} must be floating point, not {tensor.dtype}")
