"""NaN and infinity are found wherever a learner carries them."""

import math

import pytest
import torch
from agent_runs import walked

from wnrl.agents.learner import Learner
from wnrl.train.faults.finite import NotFiniteLearning, check_metrics, check_weights


def learner(**changes: object) -> Learner:
    agent, _ = walked("dqn", 120, warmup_steps=50, **changes)
    found: Learner = agent.learner
    assert found.updates > 0
    return found


@pytest.mark.parametrize("norm", ["none", "weight", "batch", "spectral"])
def test_a_healthy_learner_passes(norm: str) -> None:
    check_weights(learner(norm=norm))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_weight_that_is_not_finite_is_named(value: float) -> None:
    found = learner()
    with torch.no_grad():
        next(found.network.parameters()).view(-1)[3] = value
    with pytest.raises(NotFiniteLearning, match=r"^weight torso\.layers\.hidden1\.weight holds"):
        check_weights(found)


def test_large_weights_whose_sum_is_infinite_are_finite() -> None:
    found = learner()
    with torch.no_grad():
        next(found.network.parameters()).fill_(3e38)
    check_weights(found)


@pytest.mark.parametrize("norm", ["none", "weight"])
def test_a_moment_of_the_optimizer_that_is_infinite_is_named(norm: str) -> None:
    found = learner(norm=norm)
    state = found.optimizer.state_dict()
    moments = [
        x for entry in state["state"].values() for x in entry.values()
        if isinstance(x, torch.Tensor) and x.numel() > 1
    ]  # fmt: skip
    moments[-1].view(-1)[0] = math.inf
    found.optimizer.load_state_dict(state)
    with pytest.raises(NotFiniteLearning, match=r"^optimizer state state\."):
        check_weights(found)


@pytest.mark.parametrize("name", ["train/loss", "train/grad_norm"])
def test_a_loss_that_is_not_finite_is_named(name: str) -> None:
    with pytest.raises(NotFiniteLearning, match=f"^{name} is nan"):
        check_metrics({"train/loss": torch.tensor(1.0), name: torch.tensor(math.nan)})


def test_a_ratio_may_be_undefined() -> None:
    check_metrics({"train/loss": torch.tensor(1.0), "train/explained_variance": math.nan})
