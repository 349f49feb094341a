"""A normalization inside the layer whose output it normalizes."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from wnrl.instruments.activations import activity
from wnrl.nn.networks.data_initialization import init_from_data_
from wnrl.nn.norms.attached import attach_norm_


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    attach_norm_(net, net[0], nn.LayerNorm(4))
    return net


def batch() -> Tensor:
    return torch.randn(16, 3, generator=torch.Generator().manual_seed(1))


def expected(net: nn.Sequential) -> Tensor:
    first, _, last = net
    hidden = nn.functional.linear(batch(), first.weight, first.bias)
    output: Tensor = last(torch.relu(nn.functional.layer_norm(hidden, (4,))))
    return output


def test_a_layer_returns_its_normalized_output() -> None:
    net = network()
    assert torch.equal(net(batch()), expected(net))
    assert [type(layer) for layer in net] == [nn.Linear, nn.ReLU, nn.Linear]


def test_copies_normalize_with_their_own_parameters() -> None:
    net = network()
    for copied in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(copied(batch()), net(batch()))
        with torch.no_grad():
            copied[0].norm.weight.zero_()
        assert torch.equal(net(batch()), expected(net))
        assert not torch.equal(copied(batch()), net(batch()))


def test_hooks_in_another_process_do_not_replace_the_normalization(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = network()
    pickled = pickle.dumps(net)
    monkeypatch.setattr(RemovableHandle, "next_id", 0)  # as where no hook was ever registered
    loaded = pickle.loads(pickled)
    taken = max(loaded[0]._forward_hooks)
    for _ in range(taken + 2):
        loaded[0].register_forward_hook(lambda *_: None)
    assert torch.equal(loaded(batch()), net(batch()))


def test_the_instruments_read_the_output_before_and_after_the_normalization() -> None:
    net = network()
    read = activity(net, batch()).layers["0"]
    raw = nn.functional.linear(batch(), net[0].weight, net[0].bias)  # type: ignore[arg-type]
    assert read.output is not None
    torch.testing.assert_close(read.output.mean, raw.mean(dim=0))
    torch.testing.assert_close(read.preactivation.mean, net[0].norm(raw).mean(dim=0))  # type: ignore[operator,union-attr]


def test_data_initialize_the_layer_and_not_its_normalization() -> None:
    net = network()
    init_from_data_(net, batch())
    raw = nn.functional.linear(batch(), net[0].weight, net[0].bias)  # type: ignore[arg-type]
    torch.testing.assert_close(raw.mean(dim=0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(raw.std(dim=0, correction=0), torch.ones(4))
