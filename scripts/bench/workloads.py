"""What the benchmarks time with a network on Atari's frames: one choice, and one update of DQN.

Not here: how it is timed (measuring.py).
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
    """The work compiled, or as it is. Earlier ones are forgotten: torch compiles no ninth."""
    if not backend:
        return work
    torch._dynamo.reset()
    made: Work = torch.compile(work, backend=backend)
    return made


def acting(network: nn.Module, envs: int, device: str, backend: str = "") -> Work:
    """One greedy choice for `envs` environments, compiled where a backend of torch's is given."""
    net, obs = network.eval(), frames(envs, device)

    def act() -> Tensor:
        with torch.no_grad():
            chosen: Tensor = net(obs).argmax(1)
        return chosen

    return compiled(act, backend)


def see_apart(
    online: nn.Module, target: nn.Module, s_tm1: Tensor, s_t: Tensor
) -> tuple[Tensor, Tensor]:
    """Values (B, A) of the online network at s_tm1 and of the target at s_t, modes as they are."""
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
) -> Work:
    """One DQN update: two forward passes, a backward pass, the optimizer's step, what follows it.

    Args:
        network: obs (B, 4, 84, 84) -> values (B, 6), on the device.
        optimizer: steps it.
        batch: B.
        device: "cpu" or "cuda".
        backend: of torch.compile, for the passes; "" for none.
        see: (online, target, s_tm1, s_t) -> values (B, A) of both, as a normalization sees them.
        after_step: what a normalization does to the network.
    """
    net = network.train()
    target = copy.deepcopy(net).eval()
    obs, following = frames(batch, device), frames(batch, device)
    action = torch.randint(ACTIONS, (batch, 1), device=device)
    reward = torch.randn(batch, device=device)

    def loss() -> Tensor:
        q_tm1, q_t = see(net, target, obs, following)
        wanted = reward + 0.99 * q_t.max(1).values
        return nn.functional.smooth_l1_loss(q_tm1.gather(1, action)[:, 0], wanted)

    forward = compiled(loss, backend)

    def update() -> None:
        optimizer.zero_grad()
        forward().backward()
        optimizer.step()
        after_step(net)

    return update
