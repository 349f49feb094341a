"""The works that benchmarks time on Atari frames: one greedy action, and one DQN update.

How they are timed is in timing.py.
"""

import copy
from collections.abc import Callable

import torch
from timing import Work
from torch import Tensor, nn

from wnrl.optim.step import StepOptimizer

ACTIONS = 6
SHAPE = (4, 84, 84)

See = Callable[[nn.Module, nn.Module, Tensor, Tensor], tuple[Tensor, Tensor]]


def frames(count: int, device: str) -> Tensor:
    """(count, 4, 84, 84) uint8 noise."""
    return torch.randint(0, 256, (count, *SHAPE), dtype=torch.uint8, device=device)


def compiled(work: Work, backend: str) -> Work:
    """Compile the work unless the backend is ""; drop earlier compilations (torch keeps eight)."""
    if not backend:
        return work
    torch._dynamo.reset()
    made: Work = torch.compile(work, backend=backend)
    return made


def acting(network: nn.Module, envs: int, device: str, backend: str = "") -> Work:
    """One greedy action for each of `envs` environments, compiled if a backend is given."""
    net, obs = network.eval(), frames(envs, device)

    def act() -> Tensor:
        with torch.no_grad():
            chosen: Tensor = net(obs).argmax(1)
        return chosen

    return compiled(act, backend)


def see_apart(
    online: nn.Module, target: nn.Module, s_tm1: Tensor, s_t: Tensor
) -> tuple[Tensor, Tensor]:
    """Values (B, A) of the online network at s_tm1 and of the target network at s_t."""
    with torch.no_grad():
        q_t = target(s_t)
    return online(s_tm1), q_t


def updating(
    network: nn.Module,
    optimizer: StepOptimizer,
    batch: int,
    device: str,
    backend: str = "",
    *,
    see: See = see_apart,
    after_step: Callable[[nn.Module], None] = lambda network: None,
    penalty: Callable[[nn.Module], Tensor] | None = None,
) -> Work:
    """One DQN update: two forward passes, a backward pass, the optimizer's step and `after_step`.

    Args:
        network: obs (B, 4, 84, 84) -> values (B, 6), on the device.
        optimizer: optimizer of the network.
        batch: B.
        device: "cpu" or "cuda".
        backend: backend of torch.compile for the forward passes; "" does not compile.
        see: (online, target, s_tm1, s_t) -> values (B, A) of both networks.
        after_step: the normalization's own step on the network.
        penalty: the normalization's term of the loss; None for none.
    """
    net = network.train()
    target = copy.deepcopy(net).eval()
    obs, following = frames(batch, device), frames(batch, device)
    action = torch.randint(ACTIONS, (batch, 1), device=device)
    reward = torch.randn(batch, device=device)

    def loss() -> Tensor:
        q_tm1, q_t = see(net, target, obs, following)
        td_target = reward + 0.99 * q_t.max(1).values
        error = nn.functional.smooth_l1_loss(q_tm1.gather(1, action)[:, 0], td_target)
        return error if penalty is None else error + penalty(net)

    forward = compiled(loss, backend)

    def update() -> None:
        optimizer.zero_grad()
        forward().backward()
        optimizer.step()
        after_step(net)

    return update
