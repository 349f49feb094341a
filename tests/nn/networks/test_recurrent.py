"""Recurrent networks: sequences equal steps, and nothing crosses the beginning of an episode."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.nn.networks.actor_critic import build_actor_critic
from wnrl.nn.networks.data_initialization import init_from_data_
from wnrl.nn.networks.heads import PolicyValue
from wnrl.nn.networks.initialization import init_orthogonal_, reset_parameters_
from wnrl.nn.networks.q_network import Initialize, build_q_network
from wnrl.nn.networks.recurrent import Recurrent, RecurrentActorCritic, RecurrentQNetwork
from wnrl.nn.networks.spec import NetworkSpec
from wnrl.nn.norms.catalogue import NORMS, get_norm
from wnrl.nn.norms.record import SAME, Norm
from wnrl.nn.norms.weight import weight_normalization
from wnrl.nn.weight_norm.lstm import WNLSTM, State

ROUNDING = {"rtol": 1e-4, "atol": 1e-6}  # float32: a product of matrices of another size
T, B, H = 6, 3, 7
Network = Recurrent[Any]


def build(
    kind: str = "q",
    norm: Norm | None = None,
    seed: int = 0,
    units: int = H,
    initialize: Initialize = reset_parameters_,
    **settings: Any,
) -> Network:
    make: Any = build_q_network if kind.startswith("q") else build_actor_critic
    network = make(
        NetworkSpec(
            (5,),
            "float32",
            4,
            norm=norm or get_norm("none"),
            hidden=(16,),
            lstm_units=units,
            **{"dueling": True} if kind == "q dueling" else {},
            **settings,
        ),
        torch.Generator().manual_seed(seed),
        initialize,
    )
    assert isinstance(network, Recurrent)
    return network


KINDS = pytest.mark.parametrize("kind", ["q", "q dueling", "actor-critic"])
MADE = [("q", "none"), ("q dueling", "weight"), ("actor-critic", "weight"), ("q", "layer")]
NETWORKS = pytest.mark.parametrize(("kind", "norm"), MADE, ids=[" ".join(each) for each in MADE])


def sequences(seed: int = 1, steps: int = T, batch: int = B) -> Tensor:
    return torch.randn(steps, batch, 5, generator=torch.Generator().manual_seed(seed))


def some_state(batch: int = B) -> State:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(1, batch, H, generator=generator), torch.randn(
        1, batch, H, generator=generator
    )


def no_first(steps: int = T, batch: int = B) -> Tensor:
    return torch.zeros(steps, batch, dtype=torch.bool)


def parts(output: Any) -> tuple[Tensor, ...]:
    """All tensors of a network's output."""
    return tuple(output) if isinstance(output, PolicyValue) else (output,)


def close(found: Any, expected: Any) -> None:
    for ours, theirs in zip(parts(found), parts(expected), strict=True):
        torch.testing.assert_close(ours, theirs, **ROUNDING)


def rows(output: Any, which: Any) -> tuple[Tensor, ...]:
    return tuple(part[which] for part in parts(output))


@NETWORKS
def test_a_sequence_is_its_steps_one_by_one(kind: str, norm: str) -> None:
    network, obs, first = build(kind, get_norm(norm)), sequences(), no_first()
    first[0, 2] = first[2, 0] = first[2, 1] = first[5, 1] = True
    output, last = network.unroll(obs, first, some_state())
    shapes = [(T, B, 4), (T, B)] if isinstance(output, PolicyValue) else [(T, B, 4)]
    assert [part.shape for part in parts(output)] == shapes
    state = some_state()
    for t in range(T):
        stepped, state = network.unroll(obs[t : t + 1], first[t : t + 1], state)
        close(rows(stepped, 0), rows(output, t))
    for ours, theirs in zip(last, state, strict=True):
        assert ours.shape == (1, B, H)
        torch.testing.assert_close(ours, theirs, **ROUNDING)


@NETWORKS
def test_a_beginning_is_a_sequence_of_its_own_and_others_go_on(kind: str, norm: str) -> None:
    network, obs, first = build(kind, get_norm(norm)), sequences(), no_first()
    whole, last_whole = network.unroll(obs, first, some_state())
    first[3, 1] = True
    output, last = network.unroll(obs, first, some_state())
    others = [0, 2]
    close(rows(output, (slice(None), others)), rows(whole, (slice(None), others)))
    close(rows(output, (slice(3), 1)), rows(whole, (slice(3), 1)))
    anew, last_anew = network.unroll(obs[3:, 1:2], no_first(T - 3, 1), network.initial_state(1))
    close(rows(output, (slice(3, None), 1)), rows(anew, (slice(None), 0)))
    assert not torch.allclose(parts(output)[0][3:, 1], parts(whole)[0][3:, 1], atol=1e-3)
    for ours, theirs, single in zip(last, last_whole, last_anew, strict=True):
        torch.testing.assert_close(ours[:, others], theirs[:, others], **ROUNDING)
        torch.testing.assert_close(ours[:, 1], single[:, 0], **ROUNDING)


@KINDS
def test_a_state_is_zero_where_a_sequence_begins(kind: str) -> None:
    network, obs, first = build(kind), sequences(), no_first()
    first[0] = True
    nan = (torch.full((1, B, H), torch.nan),) * 2  # of whatever was there before
    output, _ = network.unroll(obs, first, nan)
    close(output, network.unroll(obs, no_first(), network.initial_state(B))[0])
    close(rows(output, 0), parts(network(obs[0])))
    assert network.lstm_units == H
    assert all(part.shape == (1, 2, H) and not part.any() for part in network.initial_state(2))


@KINDS
def test_no_gradient_crosses_a_beginning(kind: str) -> None:
    network, first = build(kind), no_first()
    first[3, 1] = True
    obs, state = sequences().requires_grad_(), tuple(s.requires_grad_() for s in some_state())
    output, _ = network.unroll(obs, first, state)  # type: ignore[arg-type]  # a pair
    parts(output)[-1][T - 1].sum().backward()
    assert obs.grad is not None
    reached = obs.grad.abs().sum(dim=2) > 0  # (T, B)
    expected = torch.ones(T, B, dtype=torch.bool)
    expected[:3, 1] = False
    assert torch.equal(reached, expected)
    for part in state:
        assert part.grad is not None
        assert part.grad.abs().sum(dim=2).ne(0).tolist() == [[True, False, True]]


@NETWORKS
def test_a_sequence_does_not_depend_on_those_beside_it(kind: str, norm: str) -> None:
    network, obs, first = build(kind, get_norm(norm)), sequences(batch=4), no_first(T, 4)
    first[1, 0] = first[4, 2] = first[4, 3] = True
    h, c = some_state(4)
    output, (last_h, _) = network.unroll(obs, first, (h, c))
    for b in range(4):
        one = slice(b, b + 1)
        alone, (alone_h, _) = network.unroll(obs[:, one], first[:, one], (h[:, one], c[:, one]))
        close(rows(output, (slice(None), one)), parts(alone))
        torch.testing.assert_close(last_h[:, one], alone_h, **ROUNDING)


def test_the_lstm_is_called_once_for_each_step_at_which_something_begins() -> None:
    network, obs, first, lengths = build(), sequences(), no_first(), []
    hook = network.lstm.register_forward_hook(
        lambda lstm, inputs, output: lengths.append(len(inputs[0]))
    )
    first[0, 1] = first[2, 0] = first[2, 1] = first[5, 2] = True
    network.unroll(obs, first, some_state())
    assert lengths == [2, 3, 1]
    hook.remove()


def test_what_is_not_a_batch_of_sequences_raises() -> None:
    network, obs = build(), sequences()
    for first in (no_first(T, B + 1), no_first().float(), no_first()[0]):
        with pytest.raises(ValueError, match=r"first is .* expected \(T, B\) bool"):
            network.unroll(obs, first, some_state())


@pytest.mark.parametrize("name", ["weight w", "weight gv", "weight-mean"])
@KINDS
def test_with_orthogonal_weights_it_starts_at_the_plain_networks_function(
    kind: str, name: str
) -> None:
    def orthogonal(network: nn.Module, generator: torch.Generator) -> None:
        assert isinstance(network, RecurrentQNetwork | RecurrentActorCritic)
        init_orthogonal_(network, generator, gains={network.lstm: 1.0})

    norm = NORMS[name] if name in NORMS else weight_normalization(name.removeprefix("weight "))
    plain = build(kind, initialize=orthogonal).eval()
    ours = build(kind, norm, initialize=orthogonal).eval()
    assert isinstance(ours.lstm, WNLSTM)
    first = no_first()
    first[3, 1] = True
    close(ours.unroll(sequences(), first, some_state())[0],
          plain.unroll(sequences(), first, some_state())[0])  # fmt: skip
    gates = ours.lstm.effective_weight("weight_hh_l0").detach().chunk(4)
    for gate in gates:
        torch.testing.assert_close(gate @ gate.T, torch.eye(H), rtol=0, atol=1e-6)  # a float32 QR


@KINDS
def test_torchs_distributions_start_every_storage_at_the_plain_networks_function(kind: str) -> None:
    plain, obs = build(kind), sequences()[0]
    for storage in ("w", "gv"):
        close(build(kind, weight_normalization(storage))(obs), plain(obs))
    assert not torch.equal(parts(build(kind, seed=1)(obs))[0], parts(plain(obs))[0])


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("torso", ["WNLinear", "WNLSTM"]),
        ("lstm", ["Linear", "WNLSTM"]),
        ("penultimate", ["Linear", "WNLSTM"]),
        ("hidden1", ["WNLinear", "LSTM"]),
        ("all", ["WNLinear", "WNLSTM"]),
    ],
)
@KINDS
def test_the_lstm_is_a_hidden_layer_of_weight_norm(
    kind: str, where: str, expected: list[str]
) -> None:
    network = build(kind, get_norm("weight"), where=where)
    assert [type(network.torso.layers.hidden1).__name__, type(network.lstm).__name__] == expected  # type: ignore[union-attr]
    heads = [m for name, m in network.named_modules() if name.split(".")[0] in
             ("head", "policy", "value") and isinstance(m, nn.Linear)]  # fmt: skip
    assert all((type(head) is not nn.Linear) == (where == "all") for head in heads)


WITH_LSTM = [
    "weight",
    "weight-mean",
    "weight-fixed-v",
    "weight-capped-v",
    "weight-fixed-gain",
    "weight-log-gain",
]


@pytest.mark.parametrize(
    "name", [name for name, norm in NORMS.items() if not norm.normalizes_lstms]
)
def test_a_normalization_without_an_lstm_passes_it_by_and_says_so_when_it_is_named(
    name: str,
) -> None:
    norm = get_norm(name)
    if name == "group":
        norm = norm.with_settings({"groups": 4})
    for where in ("torso", "penultimate"):
        network = build("actor-critic", norm, where=where)
        assert type(network.lstm) is nn.LSTM
        assert repr(network.torso) == repr(build("q", norm, where="hidden1").torso)
    if norm.has_place:
        with pytest.raises(UsageError, match=f"'lstm': normalization {name} has no LSTM.*are "
                           f"{', '.join(WITH_LSTM)}$"):  # fmt: skip
            build("actor-critic", norm, where="torso,lstm")
    else:
        assert type(build("q", norm, where="lstm").lstm) is nn.LSTM


def test_one_torso_and_units_above_0() -> None:
    with pytest.raises(UsageError, match="lstm_units 7 with separate torsos"):
        build("actor-critic", separate=True)
    for kind in ("q", "actor-critic"):
        with pytest.raises(UsageError, match="lstm_units is -1"):
            build(kind, units=-1)


@pytest.mark.parametrize("name", ["none", "weight", "batch"])
def test_data_reach_the_layers_before_the_lstm(name: str) -> None:
    network, batch = build("actor-critic", get_norm(name)), sequences(batch=64)[0]
    before = {key: value.clone() for key, value in network.lstm.state_dict().items()}
    report = init_from_data_(network, batch, sigma_floor=1e-6)
    assert [layer.name for layer in report.layers] == ["torso.layers.hidden1"]
    assert all(torch.equal(before[key], value) for key, value in network.lstm.state_dict().items())


def test_weight_norm_of_an_lstm_starts_as_none_says() -> None:
    assert [name for name, norm in NORMS.items() if norm.normalizes_lstms] == WITH_LSTM
    assert get_norm("weight").start == SAME
    assert get_norm("weight").in_storage("gv").lstm(2, 3).storage == "gv"  # type: ignore[attr-defined]
    assert get_norm("layer").in_storage("gv").lstm == nn.LSTM
