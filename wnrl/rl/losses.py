"""Losses of value and policy learning: pure functions of tensors, without networks or optimizers.

Dimension key: B batch, A actions.

A temporal-difference error is target minus prediction. No gradient flows through a target or an
advantage. Time is in the names: acting in s_tm1 with a_tm1 brings r_t and discount_t and leads to
s_t.
"""

from typing import Any

import torch
from torch import Tensor

from wnrl.rl.returns import td_target


def q_learning_td(
    q_tm1: Tensor, a_tm1: Tensor, r_t: Tensor, discount_t: Tensor, q_t: Tensor
) -> Tensor:
    """Return Q-learning's temporal-difference errors.

        td = r_t + discount_t max_a q_t[a] - q_tm1[a_tm1]

    Args:
        q_tm1: (B, A) values at s_tm1, from the network that learns.
        a_tm1: (B,) int64, the actions taken.
        r_t: (B,) rewards.
        discount_t: (B,) discounts.
        q_t: (B, A) values at s_t, from the target network.

    Returns:
        Errors (B,); their gradient reaches `q_tm1` only.

    Raises:
        ValueError: if a shape differs from the above.
        TypeError: if a dtype differs from the above.

    Source: Watkins & Dayan 1992; Mnih et al. 2015, Algorithm 1.
    """
    chosen = _chosen(q_tm1, a_tm1)
    _require_same_shape(q_tm1, q_t=q_t)
    # Mnih et al. 2015, Algorithm 1: y_j = r_j + gamma max_a' Q^(phi_{j+1}, a'; theta-).
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
    """Return double Q-learning's temporal-difference errors: one network selects, one evaluates.

        td = r_t + discount_t q_t_value[argmax_a q_t_selector[a]] - q_tm1[a_tm1]

    Args:
        q_tm1: (B, A) values at s_tm1, from the network that learns.
        a_tm1: (B,) int64, the actions taken.
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
    # Van Hasselt et al. 2016, equation 4: Y = R + gamma Q(S', argmax_a Q(S', a; theta); theta').
    q_t_selected = _chosen(q_t_value, q_t_selector.argmax(dim=1))  # (B, A) -> (B,)
    return td_target(r_t, discount_t, q_t_selected).detach() - chosen


def huber(td: Tensor, delta: float = 1.0) -> Tensor:
    """Return the Huber loss: squared near zero, linear beyond `delta`.

        0.5 td^2                     where |td| <= delta
        delta (|td| - 0.5 delta)     elsewhere

    Its gradient is the error clipped to [-delta, delta].

    Args:
        td: errors of any shape.
        delta: the error at which the parabola becomes a line, above 0, in the unit of `td`.

    Returns:
        Losses in the shape of `td`; at delta = 1 those of `torch.nn.functional.smooth_l1_loss`.

    Raises:
        ValueError: if delta is not above 0.
        TypeError: if `td` is not floating point.

    Source: Huber 1964; the error clipping of Mnih et al. 2015, Methods.
    """
    _require_floating("td", td)
    if not delta > 0:
        raise ValueError(f"delta must be above 0, not {delta}")
    # With m = min(|td|, delta): 0.5 m^2 + delta (|td| - m), which is both cases above.
    distance = td.abs()
    near = distance.clamp(max=delta)
    return 0.5 * near.square() + delta * (distance - near)


def squared(td: Tensor) -> Tensor:
    """Return half the squared error, `0.5 td^2`, whose gradient is the error itself.

    Args:
        td: errors of any shape.

    Returns:
        Losses in the shape of `td`; half of `torch.nn.functional.mse_loss`.

    Raises:
        TypeError: if `td` is not floating point.
    """
    _require_floating("td", td)
    return 0.5 * td.square()


def log_probabilities(logits: Tensor, a: Tensor) -> Tensor:
    """Return log probabilities of actions under a categorical policy.

        log pi(a) = logits[a] - log sum_b exp logits[b]

    Args:
        logits: (B, A) unnormalized.
        a: (B,) int64 actions.

    Returns:
        (B,), at most 0.

    Raises:
        ValueError: if a shape differs from the above.
        TypeError: if a dtype differs from the above.
    """
    return _chosen(logits, a, name="logits") - logits.logsumexp(dim=1)


def entropy(logits: Tensor) -> Tensor:
    """Return entropies of a categorical policy in nats, `-sum_a pi(a) log pi(a)`.

    Args:
        logits: (B, A) unnormalized, finite.

    Returns:
        (B,), in [0, log A].

    Raises:
        ValueError: if `logits` is not (B, A).
        TypeError: if it is not floating point.
    """
    _require_floating("logits", logits)
    if logits.ndim != 2:
        raise ValueError(f"logits must be (B, A), not {tuple(logits.shape)}")
    log_prob = logits.log_softmax(dim=1)
    return -(log_prob.exp() * log_prob).sum(dim=1)  # (B, A) -> (B,)


def policy_gradient(log_prob: Tensor, advantage: Tensor) -> Tensor:
    """Return losses whose gradient is the policy gradient, `-log_prob advantage`.

    Args:
        log_prob: (B,) log pi(a) of the actions taken.
        advantage: (B,) of these actions.

    Returns:
        Losses (B,); their gradient reaches `log_prob` only.

    Raises:
        ValueError: if the shapes are not the same (B,).
        TypeError: if either is not floating point.

    Source: Mnih et al. 2016 (1602.01783), section 4.
    """
    _require_vectors(log_prob=log_prob, advantage=advantage)
    # Mnih et al. 2016, section 4: grad log pi(a|s) A(s, a), as the gradient of a loss.
    return -log_prob * advantage.detach()


def clipped_surrogate(
    log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, clip: Any
) -> Tensor:
    """Return PPO's losses, under which a ratio beyond 1 +- clip brings the policy no gain.

        -min(ratio advantage, clamp(ratio, 1 - clip, 1 + clip) advantage)
        ratio = exp(log_prob - old_log_prob)

    Args:
        log_prob: (B,) log pi(a) under the policy being trained.
        old_log_prob: (B,) log pi(a) under the policy that acted.
        advantage: (B,) of these actions.
        clip: epsilon, at least 0; a float, or a tensor () whose value is not checked.

    Returns:
        Losses (B,); their gradient reaches `log_prob` only.

    Raises:
        ValueError: if the shapes are not the same (B,) or clip is below 0.
        TypeError: if one is not floating point.

    Source: Schulman et al. 2017 (1707.06347), equation 7, negated.
    """
    _require_vectors(log_prob=log_prob, old_log_prob=old_log_prob, advantage=advantage)
    if not (isinstance(clip, Tensor) or clip >= 0):  # reading a tensor waits for a GPU
        raise ValueError(f"clip must be at least 0, not {clip}")
    advantage = advantage.detach()
    ratio = (log_prob - old_log_prob.detach()).exp()
    # Schulman et al. 2017, equation 7: min(r A, clip(r, 1 - eps, 1 + eps) A), negated.
    return -torch.min(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def masked_mean(x: Tensor, valid: Tensor) -> Tensor:
    """Return the mean over valid entries, or 0 if there are none.

    Args:
        x: numbers of any shape.
        valid: bool, of the same shape.

    Returns:
        ().

    Raises:
        ValueError: if the shapes differ.
        TypeError: if `x` is not floating point or `valid` not bool.
    """
    _require_mask(valid, "x", x)
    return torch.where(valid, x, 0.0).sum() / valid.sum().clamp(min=1)


def normalized(advantage: Tensor, valid: Tensor) -> Tensor:
    """Normalize the advantages of a minibatch to mean 0 and standard deviation 1.

        (a - mean) / (std + 1e-8)

    The mean and the unbiased standard deviation are taken over valid entries. A single valid entry
    has no standard deviation and stays unchanged.

    Args:
        advantage: (B,).
        valid: (B,) bool.

    Returns:
        (B,); 0 where not valid.

    Raises:
        ValueError: if the shapes are not the same (B,).
        TypeError: if `advantage` is not floating point or `valid` not bool.

    Source: stable-baselines3, `PPO.train`.
    """
    _require_vectors(advantage=advantage)
    _require_mask(valid, "advantage", advantage)
    count = valid.sum()
    centered = torch.where(valid, advantage - masked_mean(advantage, valid), 0.0)
    std = (centered.square().sum() / (count - 1).clamp(min=1)).sqrt()
    return torch.where(count > 1, centered / (std + 1e-8), torch.where(valid, advantage, 0.0))


def _chosen(q: Tensor, actions: Tensor, name: str = "q") -> Tensor:
    """Return the values (B,) of actions (B,) in q (B, A)."""
    _require_floating(name, q)
    if actions.dtype != torch.int64:
        raise TypeError(f"actions must be int64, not {actions.dtype}")
    if q.ndim != 2 or actions.shape != q.shape[:1]:
        raise ValueError(
            f"{name} must be (B, A) and actions (B,), "
            f"not {tuple(q.shape)} and {tuple(actions.shape)}"
        )
    return q.gather(1, actions.unsqueeze(1)).squeeze(1)  # (B, A) -> (B, 1) -> (B,)


def _require_same_shape(q_tm1: Tensor, **others: Tensor) -> None:
    for name, other in others.items():
        if other.shape != q_tm1.shape:
            raise ValueError(
                f"{name} must have q_tm1's shape {tuple(q_tm1.shape)}, not {tuple(other.shape)}"
            )


def _require_vectors(**tensors: Tensor) -> None:
    for name, tensor in tensors.items():
        _require_floating(name, tensor)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) != 1 or len(next(iter(shapes.values()))) != 1:
        raise ValueError(f"all must be the same (B,), not {shapes}")


def _require_mask(valid: Tensor, name: str, x: Tensor) -> None:
    _require_floating(name, x)
    if valid.dtype != torch.bool:
        raise TypeError(f"valid must be bool, not {valid.dtype}")
    if valid.shape != x.shape:
        raise ValueError(
            f"valid must have the shape of {name}, {tuple(x.shape)}, not {tuple(valid.shape)}"
        )


def _require_floating(name: str, tensor: Tensor) -> None:
    if not tensor.is_floating_point():
        raise TypeError(f"{name} must be floating point, not {tensor.dtype}")
