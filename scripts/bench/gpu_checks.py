"""What a GPU computes against float64 on the CPU: the step, the op, and updates of all agents.

Each check returns errors by name, each relative to what is named next to its limit.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from gpu_learners import agent_of, configured, drawn_rows, learning
from torch import Tensor, nn

from wnrl.agents.captured import WARM_UP
from wnrl.agents.learner import Learner
from wnrl.agents.target_network import TargetNetwork
from wnrl.config import Config
from wnrl.kernels import reference
from wnrl.kernels.ops import weight_norm_many
from wnrl.optim.weight_norm import WNAdam
from wnrl.train.build import resolve

ALLOWED_STEP = 1e-4  # of the distance moved in three steps of Adam, in float32
ALLOWED_OP = 1e-5  # of the size of a result, in float32
ALLOWED_UPDATE = 1e-2  # of the distance moved in a few updates: sums of thousands of terms
UPDATES = WARM_UP + 3  # of which the last three are replays

Shapes = Sequence[tuple[int, ...]]


def parameters(shapes: Shapes, device: torch.device) -> list[nn.Parameter]:
    """Weights of the shapes and a bias for each, with random gradients."""
    made = [
        nn.Parameter(torch.randn(s, device=device) / math.sqrt(math.prod(s[1:]))) for s in shapes
    ]
    made += [nn.Parameter(torch.randn(s[0], device=device)) for s in shapes]
    for parameter in made:
        parameter.grad = torch.randn_like(parameter)
    return made


def step_error(shapes: Shapes, device: torch.device, max_norm: float | None) -> float:
    """Return the worst error of WNAdam's weights, as a share of the distance moved."""
    fused = parameters(shapes, device)
    wide = [nn.Parameter(parameter.detach().double().cpu()) for parameter in fused]
    start = [parameter.detach().clone() for parameter in wide]
    optimizers = [WNAdam(each, 1e-2, eps=1e-5, max_norm=max_norm) for each in (fused, wide)]
    for _ in range(3):
        for parameter, other in zip(fused, wide, strict=True):
            parameter.grad = torch.randn_like(parameter)
            other.grad = parameter.grad.double().cpu()
        for optimizer in optimizers:
            optimizer.step()
    return max(map(moved_apart, fused, wide, start))


def moved_apart(found: Tensor, truth: Tensor, start: Tensor) -> float:
    """Return ||found - truth|| / ||truth - start||; NaN is infinite."""
    found, truth, start = (x.detach().double().cpu() for x in (found, truth, start))
    error = float((found - truth).norm() / (truth - start).norm().clamp(min=1e-300))
    return math.inf if math.isnan(error) else error


def op_error(shapes: Shapes, device: torch.device) -> float:
    """Return the worst error of w, dL/dv and dL/dg of `weight_norm_many`, as a share of each."""
    vs = [torch.randn(s, device=device, requires_grad=True) for s in shapes]
    gs = [torch.randn(len(v), *[1] * (v.ndim - 1), device=device, requires_grad=True) for v in vs]
    dws = [torch.randn_like(v) for v in vs]
    ws = weight_norm_many(vs, gs)
    results = [*ws, *torch.autograd.grad(ws, [*vs, *gs], dws)]
    wide_vs, wide_gs, wide_dws = ([t.detach().double() for t in each] for each in (vs, gs, dws))
    exact = [reference.effective_weight(v, g) for v, g in zip(wide_vs, wide_gs, strict=True)]
    pairs = [reference.gradients(*each) for each in zip(wide_dws, wide_vs, wide_gs, strict=True)]
    exact += [dv for dv, _ in pairs] + [dg for _, dg in pairs]
    return max(
        moved_apart(result, truth, torch.zeros_like(truth))
        for result, truth in zip(results, exact, strict=True)
    )


def update_error(
    agent: str, norm: str, rows: int, side: int, device: torch.device, *, graphs: bool
) -> float:
    """Return the error of an agent's weights after a few updates.

    It is a share of the distance that the weights moved in float64 on the CPU.
    """
    # A large eps: without, rounding of a gradient near 0 decides the sign of a whole step.
    changes: dict[str, Any] = {"optimizer_eps": 1e-3, "learning_rate": 1e-4}
    if agent == "dqn":
        changes["buffer_size"] = 1_000
    if agent == "a2c":  # its average starts at 1, so that first steps are short: above float32's
        changes["learning_rate"] = 1e-2
    tried = agent_of(configured(agent, norm, graphs=graphs, **changes), device, side)
    truth = in_float64(configured(agent, norm, graphs=False, **changes), side)
    start = {name: x.clone() for name, x in truth.network.state_dict().items()}
    for number in range(UPDATES):
        for each in (tried, truth):
            given = drawn_rows(agent, rows, each.learner.device, number, side)
            learning(agent, each, updates=2)(given)  # in one graph
    found, exact = tried.network.state_dict(), truth.network.state_dict()
    moved = [name for name, x in exact.items() if not torch.equal(x, start[name])]
    return max(moved_apart(found[name], exact[name], start[name]) for name in moved)


def in_float64(config: Config, side: int) -> Any:
    """Return an agent as it starts, on the CPU, with networks and optimizer in float64."""
    agent, parts = agent_of(config, torch.device("cpu"), side), resolve(config)
    network = agent.network.double()
    optimizer = parts.norm.optimizer(network, parts.optimizer)
    agent.learner = Learner(network, optimizer, parts.norm.after_step)
    network.get_submodule("torso.layers").register_forward_pre_hook(_widen)
    if hasattr(agent, "_target"):
        agent._target = TargetNetwork(agent.learner, 1)
    return agent


def _widen(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(x.double() for x in inputs)  # scaled images are float32
