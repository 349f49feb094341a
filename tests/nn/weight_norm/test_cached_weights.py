"""A scope with weights computed once: what it holds, when it ends, and whom it does not touch."""

import copy
import pickle
import threading

import pytest
import torch
from torch import Tensor, nn

from wnrl.nn.weight_norm import parametrization as normalized
from wnrl.nn.weight_norm.cached_weights import frozen_weights, shared_weights
from wnrl.nn.weight_norm.layers import WNConv2d, WNLinear

ROUNDING = 1e-5  # float32, two ways of summing a row


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shared = WNLinear(6, 6)
        return nn.Sequential(
            WNConv2d(2, 6, 3), nn.Flatten(), shared, nn.ReLU(), shared, nn.Linear(6, 2)
        )


def image() -> Tensor:
    return torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(1))


def test_weights_are_computed_once_for_everything_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = network(), image()
    expected = net(x)
    calls = []
    many = normalized.weight_norm_many

    def counted(vs: list[Tensor], gs: list[Tensor]) -> list[Tensor]:
        calls.append(len(vs))
        return many(vs, gs)

    def never(v: Tensor, g: Tensor) -> Tensor:
        raise AssertionError("a weight was computed inside the scope")

    monkeypatch.setattr(normalized, "weight_norm_many", counted)
    with frozen_weights(net) as same:
        assert same is net
        monkeypatch.setattr(normalized, "weight_norm", never)
        for _ in range(3):
            output = net(x)
            assert torch.allclose(output, expected, rtol=ROUNDING, atol=ROUNDING)
            assert not output.requires_grad
    assert calls == [2]  # one call for the two layers, though one is used twice


def test_steps_inside_are_seen_after_the_scope_only() -> None:
    net, x = network(), image()
    with frozen_weights(net):
        before = net(x)
        net[2].weight_g.mul_(2.0)  # type: ignore[operator,union-attr]  # a Tensor
        assert torch.equal(net(x), before)
    assert not torch.allclose(net(x), before)


def test_the_scope_ends_after_an_exception() -> None:
    net, x = network(), image()

    def fail() -> None:
        with frozen_weights(net):
            raise KeyError("inside")

    with pytest.raises(KeyError):
        fail()
    net[0].weight_g.data.mul_(3.0)  # type: ignore[operator,union-attr]  # a Tensor
    with torch.no_grad():
        assert torch.equal(net(x), copy.deepcopy(net)(x))
    assert net(x).requires_grad


def test_inner_scopes_see_newer_weights_and_give_back_the_outer_ones() -> None:
    net, x = network(), image()
    with frozen_weights(net):
        first = net(x)
        net[2].weight_g.mul_(2.0)  # type: ignore[operator,union-attr]  # a Tensor
        with frozen_weights(net[2]):
            second = net(x)
            assert not torch.allclose(second, first)
        assert torch.equal(net(x), first)
    with torch.no_grad():
        assert torch.allclose(net(x), second, rtol=ROUNDING, atol=ROUNDING)


def test_overlapping_scopes_of_two_threads_leave_nothing_behind() -> None:
    net, x = network(), image()
    entered, left = threading.Event(), threading.Event()

    def other() -> None:
        with frozen_weights(net):
            entered.set()
            left.wait(10)

    thread = threading.Thread(target=other)
    with frozen_weights(net):
        thread.start()
        assert entered.wait(10)
    left.set()
    thread.join()
    net[2].weight_g.data.zero_()  # type: ignore[operator,union-attr]  # a Tensor
    net[2].bias.data.zero_()  # type: ignore[operator,union-attr]  # a Tensor
    with torch.no_grad():
        assert torch.equal(net(x), net[5].bias.expand(4, 2))  # type: ignore[operator,union-attr]  # as above


def test_set_weight_loading_and_moves_end_a_layers_freeze_at_once() -> None:
    for change in ("set", "load", "move"):
        net, x = network(), image()
        other = network()
        other[2].weight_g.data.mul_(2.0)  # type: ignore[operator,union-attr]  # a Tensor
        with frozen_weights(net):
            if change == "set":
                net[2].set_weight_(other[2].weight)  # type: ignore[operator]  # a method
            elif change == "load":
                net.load_state_dict(other.state_dict())
            else:
                net.double()
                assert net(x.double()).dtype == torch.float64
                continue
            assert torch.allclose(net(x), other(x), rtol=ROUNDING, atol=ROUNDING)


def test_with_gradients_on_layers_compute_their_weights() -> None:
    net, x = network(), image()
    with frozen_weights(net):
        net[2].weight_g.mul_(2.0)  # type: ignore[operator,union-attr]  # a Tensor
        with torch.enable_grad():
            output = net(x)
            output.sum().backward()
    assert net[2].weight_v.grad is not None  # type: ignore[union-attr]  # a Tensor
    assert torch.equal(output, net(x))


def test_another_thread_that_learns_is_not_touched() -> None:
    net, x = network(), image()
    outputs: list[Tensor] = []
    with frozen_weights(net):
        thread = threading.Thread(target=lambda: outputs.append(net(x)))
        thread.start()
        thread.join()
    assert outputs[0].requires_grad


def test_copies_and_pickles_made_inside_are_not_frozen() -> None:
    net, x = network(), image()
    with frozen_weights(net):
        for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            other[2].weight_g.mul_(2.0)
            assert not torch.allclose(other(x), net(x))


def test_the_weight_that_is_read_is_the_frozen_one_and_read_only() -> None:
    net = network()
    with frozen_weights(net):
        before = net[2].weight.clone()  # type: ignore[operator,union-attr]  # a Tensor
        net[2].weight_g.mul_(2.0)  # type: ignore[operator,union-attr]  # a Tensor
        assert torch.equal(net[2].weight, before)  # type: ignore[arg-type]  # a Tensor
        with pytest.raises(AttributeError, match="set_weight_"):
            net[2].weight.zero_()  # type: ignore[operator,union-attr]  # a Tensor


def test_an_update_shares_weights_and_has_the_gradients_of_one_that_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net, other, x = network(), network(), image()

    def loss(module: nn.Module) -> Tensor:
        with torch.no_grad():
            wanted = module(x.flip(0))
        value: Tensor = (module(x) - wanted).square().mean() + module(-x).square().mean()
        return value

    loss(other).backward()  # type: ignore[no-untyped-call]  # torch has no annotation for it
    calls = []
    many = normalized.weight_norm_many

    def counted(vs: list[Tensor], gs: list[Tensor]) -> list[Tensor]:
        calls.append(len(vs))
        return many(vs, gs)

    monkeypatch.setattr(normalized, "weight_norm_many", counted)
    monkeypatch.setattr(normalized, "weight_norm", None)
    with shared_weights(net):
        loss(net).backward()  # type: ignore[no-untyped-call]  # as above
    assert calls == [2]  # one call for the two layers and the three forward passes
    for mine, theirs in zip(net.parameters(), other.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        assert torch.allclose(mine.grad, theirs.grad, rtol=ROUNDING, atol=ROUNDING)


def test_weights_shared_without_gradients_do_not_cut_those_of_a_forward_inside() -> None:
    net, x = network(), image()
    with torch.no_grad(), shared_weights(net), torch.enable_grad():
        net(x).sum().backward()
    assert net[2].weight_v.grad is not None  # type: ignore[union-attr]  # a Tensor


def test_networks_without_computed_weights_pass_through() -> None:
    net = nn.Sequential(nn.Linear(3, 2), WNLinear(2, 2, storage="w"))
    with frozen_weights(net):
        assert not net(torch.ones(1, 3)).requires_grad
    assert net(torch.ones(1, 3)).requires_grad
