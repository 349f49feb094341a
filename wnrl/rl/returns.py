"""Returns and targets: pure functions of rewards and discounts, without networks or storage.

Dimension key: B batch, n steps, T rows in time order, N environments.

Time is in the names: acting in s_tm1 brings `r_t` and `discount_t` and leads to s_t. After a
discount of 0 nothing counts; termination, truncation and lost lives have become discounts before
they arrive here.
"""

import torch
from torch import Tensor


def n_step_return(rewards: Tensor, discounts: Tensor) -> tuple[Tensor, Tensor]:
    """Sum the rewards of n steps and return the sum with the discount of the value that follows.

        R = r_1 + d_1 r_2 + d_1 d_2 r_3 + ...        discount = d_1 d_2 ... d_n

    A step with reward 0 and discount 1 changes nothing, so it pads shorter returns.

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
    # Mnih et al. 2016, section 4: r_1 + gamma r_2 + ... + gamma^(n-1) r_n.
    total, weight = rewards[:, 0], discounts[:, 0]
    for t in range(1, rewards.shape[1]):
        total = total + weight * rewards[:, t]
        weight = weight * discounts[:, t]
    return total, weight


def td_target(r_t: Tensor, discount_t: Tensor, q_t_max: Tensor) -> Tensor:
    """Return the one-step bootstrap target `r_t + discount_t * q_t_max`.

    Args:
        r_t: (B,) rewards, or sums of n rewards.
        discount_t: (B,) discounts, or products of n discounts.
        q_t_max: (B,) values of s_t.

    Returns:
        Targets (B,). Gradients flow through; a loss decides where they stop.

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
    # Sutton & Barto 2018, equation 6.8 (Q-learning): R + gamma max_a Q(S', a).
    return torch.addcmul(r_t, discount_t, q_t_max)


def lambda_returns(
    r_t: Tensor, discount_t: Tensor, v_t: Tensor, valid: Tensor, lambda_: float
) -> Tensor:
    """Return the lambda-return of every row, stopped at its episode's end.

        G_k = r_k + d_k [(1 - lambda) v_k + lambda G_{k+1}]     where row k + 1 is valid
        G_k = r_k + d_k v_k                                     where it is not, or is missing

    A row that is not valid holds a final observation. So a truncated episode bootstraps from that
    observation's value, and no return crosses into the next episode. A lost life's discount of 0
    ends the return within an episode.

    Args:
        r_t: (T, N) rewards.
        discount_t: (T, N) 0 at termination and lost lives, gamma otherwise.
        v_t: (T, N) values of the observation *after* each row (for a Q-function, its maximum).
        valid: (T, N) bool, False where the row's observation is an episode's last.
        lambda_: in [0, 1]: 0 gives one-step targets, 1 the sum up to the last row.

    Returns:
        G (T, N); 0 at rows that are not valid.

    Raises:
        ValueError: if the shapes are not all the same (T, N) with T >= 1, or lambda_ is not in
            [0, 1].
        TypeError: if `valid` is not bool or another is not floating point.

    Source: Sutton & Barto 2018, equation 12.18; Peng & Williams 1996; for Q-values Gallici et al.
    2025 (2407.04811), section 4.
    """
    _require_rows(valid, r_t=r_t, discount_t=discount_t, v_t=v_t)
    if not 0 <= lambda_ <= 1:
        raise ValueError(f"lambda_ must lie in [0, 1], not {lambda_}")
    mixed = torch.zeros_like(v_t)  # (T, N) the share of the next row's return
    mixed[:-1] = lambda_ * valid[1:].to(v_t.dtype)
    one_step = torch.where(valid, r_t + discount_t * (1 - mixed) * v_t, 0.0)
    weight = torch.where(valid, discount_t * mixed, 0.0)
    returns = one_step.clone()
    # Sutton & Barto 2018, equation 12.18, backwards in time.
    for k in range(len(returns) - 2, -1, -1):
        returns[k].addcmul_(weight[k], returns[k + 1])
    return returns


def generalized_advantages(
    r_t: Tensor,
    discount_t: Tensor,
    v_tm1: Tensor,
    v_t: Tensor,
    valid: Tensor,
    lambda_: float,
) -> Tensor:
    """Return generalized advantage estimates: each row's lambda-return minus its value.

        A_k = G_k - v_tm1_k = sum_l (prod_{i<l} lambda d_{k+i}) delta_{k+l}
        delta_k = r_k + d_k v_t_k - v_tm1_k

    The sum stops where the return of `lambda_returns` stops.

    Args:
        r_t: (T, N) rewards.
        discount_t: (T, N) 0 at termination and lost lives, gamma otherwise.
        v_tm1: (T, N) values of each row's observation.
        v_t: (T, N) values of the observation after each row: `v_tm1` of the next row.
        valid: (T, N) bool, False where the row's observation is an episode's last.
        lambda_: in [0, 1].

    Returns:
        A (T, N); 0 at rows that are not valid.

    Raises:
        ValueError: if the shapes are not all the same (T, N) with T >= 1, or lambda_ is not in
            [0, 1].
        TypeError: if `valid` is not bool or another is not floating point.

    Source: Schulman et al. 2016 (1506.02438), equation 16.
    """
    _require_rows(valid, r_t=r_t, discount_t=discount_t, v_tm1=v_tm1, v_t=v_t)
    returns = lambda_returns(r_t, discount_t, v_t, valid, lambda_)
    # Schulman et al. 2016, equation 16: sum_l (gamma lambda)^l delta_{t+l}, which is G_k - V(s_k).
    return torch.where(valid, returns - v_tm1, 0.0)


def _require_rows(valid: Tensor, **tensors: Tensor) -> None:
    _require_floating(**tensors)
    if valid.dtype != torch.bool:
        raise TypeError(f"valid must be bool, not {valid.dtype}")
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if valid.ndim != 2 or len(valid) == 0 or set(shapes.values()) != {tuple(valid.shape)}:
        raise ValueError(
            f"valid {tuple(valid.shape)} and all of {shapes} must be the same (T, N) with T >= 1"
        )


def _require_floating(**tensors: Tensor) -> None:
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise TypeError(f"{name} must be floating point, not {tensor.dtype}")
