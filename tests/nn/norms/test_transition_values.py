"""How a batch is seen: apart with frozen statistics, or jointly with the batch's own."""

import copy

import pytest
import torch
from torch import Tensor, nn

from wnrl.nn.norms.transition_values import (
    Values,
    joint_batch,
    mixed_batches,
    own_batches,
    restored_buffers,
    separate_batches,
)

ALL = (separate_batches, own_batches, mixed_batches, joint_batch)
EACH = pytest.mark.parametrize("values", ALL, ids=lambda values: type(values).__name__)


class Counted(nn.Module):
    """One unit of batch normalization before two fixed weights; counts its forwards."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1, eps=1e-12)
        self.weight = nn.Parameter(torch.tensor([[1.0], [-1.0]]))
        self.seen: list[tuple[int, bool]] = []  # (samples, training)

    def forward(self, obs: Tensor) -> Tensor:
        self.seen.append((len(obs), self.training))
        return self.norm(obs) @ self.weight.T  # type: ignore[no-any-return]  # a Module's call


S_TM1 = torch.tensor([[0.0], [2.0]])
S_T = torch.tensor([[4.0], [6.0]])


def networks() -> tuple[Counted, Counted]:
    online = Counted()
    return online, copy.deepcopy(online).requires_grad_(False).eval()


def test_apart_each_end_has_statistics_of_its_own() -> None:
    online, target = networks()
    q = separate_batches(online, target, S_TM1, S_T, select=True)
    assert q.q_tm1[:, 0].tolist() == pytest.approx([-1.0, 1.0])  # mean 1, deviation 1
    assert q.q_t[:, 0].tolist() == pytest.approx([4.0, 6.0])  # running mean 0, deviation 1
    assert q.q_t_selector is not None
    assert q.q_t_selector[:, 0].tolist() == pytest.approx([4.0, 6.0])
    assert (online.seen, target.seen) == ([(2, False), (2, True)], [(2, False)])


def test_jointly_both_ends_share_the_statistics_of_one_forward() -> None:
    online, target = networks()
    q = joint_batch(online, target, S_TM1, S_T, select=True)
    # (0, 2, 4, 6): mean 3, variance 5
    expected = [(value - 3) / 5**0.5 for value in (0, 2, 4, 6)]
    assert q.q_tm1[:, 0].tolist() == pytest.approx(expected[:2])
    assert q.q_t[:, 0].tolist() == pytest.approx(expected[2:])
    assert q.q_t_selector is not None
    assert q.q_t_selector[:, 0].tolist() == pytest.approx(expected[2:])
    assert (online.seen, target.seen) == ([(4, True)], [(4, True)])
    assert online.norm.running_mean is not None
    assert online.norm.running_mean.item() == pytest.approx(0.3)  # of the mixture


def test_each_batch_of_its_own_has_its_own_statistics_and_leaves_no_trace_of_the_bootstrap() -> (
    None
):
    online, target = networks()
    q = own_batches(online, target, S_TM1, S_T, select=True)
    assert q.q_tm1[:, 0].tolist() == pytest.approx([-1.0, 1.0])  # mean 1, deviation 1
    assert q.q_t[:, 0].tolist() == pytest.approx([-1.0, 1.0])  # mean 5, deviation 1
    assert q.q_t_selector is not None
    assert q.q_t_selector[:, 0].tolist() == pytest.approx([-1.0, 1.0])
    assert (online.seen, target.seen) == ([(2, True), (2, True)], [(2, True)])
    assert online.norm.running_mean is not None
    assert online.norm.running_mean.item() == pytest.approx(0.1)  # of s_tm1 alone, one update
    assert online.norm.num_batches_tracked is not None
    assert online.norm.num_batches_tracked.item() == 1


def test_mixed_the_bootstrap_alone_has_the_statistics_of_both_ends() -> None:
    online, target = networks()
    q = mixed_batches(online, target, S_TM1, S_T, select=True)
    assert q.q_tm1[:, 0].tolist() == pytest.approx([-1.0, 1.0])  # mean 1, deviation 1
    expected = [(value - 3) / 5**0.5 for value in (4, 6)]  # (0, 2, 4, 6): mean 3, variance 5
    assert q.q_t[:, 0].tolist() == pytest.approx(expected)
    assert q.q_t_selector is not None
    assert q.q_t_selector[:, 0].tolist() == pytest.approx(expected)
    assert (online.seen, target.seen) == ([(4, True), (2, True)], [(4, True)])
    assert online.norm.running_mean is not None
    assert online.norm.running_mean.item() == pytest.approx(0.1)


@EACH
def test_the_learning_batch_is_what_the_online_network_takes_in_training_mode(
    values: Values,
) -> None:
    online, target = networks()
    taken: list[Tensor] = []
    online.register_forward_pre_hook(
        lambda network, inputs: taken.append(inputs[0]) if torch.is_grad_enabled() else None
    )
    values(online, target, S_TM1, S_T, select=True)
    (batch,) = taken
    assert torch.equal(values.learning_batch(S_TM1, S_T), batch)


def test_the_selector_is_the_online_networks_and_the_value_the_targets() -> None:
    for values in ALL:
        online, target = networks()
        with torch.no_grad():
            target.weight.mul_(10.0)
        q = values(online, target, S_TM1, S_T, select=True)
        assert q.q_t_selector is not None
        assert torch.allclose(10 * q.q_t_selector, q.q_t)
        assert values(online, target, S_TM1, S_T, select=False).q_t_selector is None


@EACH
def test_the_target_stays_as_it_was_and_the_online_network_learns(
    values: Values,
) -> None:
    online, target = networks()
    buffers = [buffer.clone() for buffer in target.buffers()]
    q = values(online, target, S_TM1, S_T, select=True)
    assert all(map(torch.equal, target.buffers(), buffers))
    assert not target.training
    assert online.training
    assert q.q_tm1.requires_grad
    assert not q.q_t.requires_grad
    assert q.q_t_selector is not None
    assert not q.q_t_selector.requires_grad


def test_buffers_come_back_even_from_an_error() -> None:
    layer = nn.BatchNorm1d(1)

    def fail() -> None:
        with restored_buffers(layer):
            layer(S_T)
            raise RuntimeError("of its own")

    with pytest.raises(RuntimeError, match="of its own"):
        fail()
    assert layer.running_mean is not None
    assert layer.running_mean.item() == 0
