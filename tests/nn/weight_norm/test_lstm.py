"""WNLSTM: torch's LSTM at equal weights, in both storages, with every option of torch's."""

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from wnrl.kernels.reference import gradients
from wnrl.nn.norms.convert import convert_, fold_
from wnrl.nn.weight_norm.cached_weights import frozen_weights
from wnrl.nn.weight_norm.layers import weight_norm_groups
from wnrl.nn.weight_norm.lstm import WNLSTM
from wnrl.optim.weight_norm import WNAdam

STORAGES = ["gv", "w"]
OPTIONS: dict[str, dict[str, Any]] = {
    "one layer": {},
    "two layers, both directions": {"num_layers": 2, "bidirectional": True, "batch_first": True},
    "dropout": {"num_layers": 2, "dropout": 0.5},
    "no bias": {"bias": False},
    "projections": {"proj_size": 2, "num_layers": 2},
}
ROUNDING_64 = 1e-12  # float64 sums of tens of terms, through tanh and a few steps
# The default implementation is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


def pair(storage: str, **options: Any) -> tuple[nn.LSTM, WNLSTM]:
    """torch's and ours under the same seed: (I, H) = (3, 5), float64."""
    made = []
    for kind, more in ((nn.LSTM, {}), (WNLSTM, {"storage": storage})):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            made.append(kind(3, 5, dtype=torch.float64, **options, **more))
    return made[0], made[1]


def data(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def seeded(lstm: nn.LSTM, *inputs: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)  # of the dropout
        return lstm(*inputs)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("name", OPTIONS)
def test_outputs_states_and_gradients_are_torchs(name: str, storage: str) -> None:
    plain, ours = pair(storage, **OPTIONS[name])
    x = data(4, 2, 3)
    expected, (h, c) = seeded(plain, x)
    output, (own_h, own_c) = seeded(ours, x)
    for mine, theirs in ((output, expected), (own_h, h), (own_c, c)):
        assert torch.allclose(mine, theirs, rtol=ROUNDING_64)
    (expected.square().sum() + c.sum()).backward()
    (output.square().sum() + own_c.sum()).backward()
    for key, parameter in plain.named_parameters():
        assert parameter.grad is not None
        if storage == "gv" and key.startswith("weight"):
            g, v = ours.gv_parameters(key)
            dv, dg = gradients(parameter.grad, v.detach(), g.detach())  # eq. 3
            assert v.grad is not None
            assert g.grad is not None
            assert torch.allclose(v.grad, dv, rtol=1e-9, atol=ROUNDING_64)
            assert torch.allclose(g.grad, dg, rtol=1e-9, atol=ROUNDING_64)
        else:
            own = ours.get_parameter(key).grad
            assert own is not None
            assert torch.allclose(own, parameter.grad, rtol=1e-9, atol=ROUNDING_64)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("batch_first", [False, True])
def test_unbatched_sequences_and_given_states_are_torchs(batch_first: bool, storage: str) -> None:
    plain, ours = pair(storage, batch_first=batch_first)
    for x, state in (
        (data(4, 3), None),
        (data(4, 3), (data(1, 5), data(1, 5))),
        (data(2, 2, 3), (data(1, 2, 5), data(1, 2, 5))),
    ):
        expected, (h, c) = plain(x, state)
        output, (own_h, own_c) = ours(x, state)
        for mine, theirs in ((output, expected), (own_h, h), (own_c, c)):
            assert mine.shape == theirs.shape
            assert torch.allclose(mine, theirs, rtol=ROUNDING_64)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("with_state", [False, True])
def test_packed_sequences_of_unsorted_lengths_are_torchs(with_state: bool, storage: str) -> None:
    plain, ours = pair(storage, bidirectional=True)
    packed = pack_sequence([data(2, 3), data(5, 3), data(3, 3)], enforce_sorted=False)
    state = (data(2, 3, 5), data(2, 3, 5)) if with_state else None
    (expected, (h, c)), (output, (own_h, own_c)) = plain(packed, state), ours(packed, state)
    padded, lengths = pad_packed_sequence(output)
    assert lengths.tolist() == [2, 5, 3]
    assert torch.allclose(padded, pad_packed_sequence(expected)[0], rtol=ROUNDING_64)
    assert torch.allclose(own_h, h, rtol=ROUNDING_64)
    assert torch.allclose(own_c, c, rtol=ROUNDING_64)


def test_inputs_that_do_not_fit_raise_as_in_torch() -> None:
    _, ours = pair("gv")
    with pytest.raises(ValueError, match=r"\(1, 1, 1, 3\)"):
        ours(data(1, 1, 1, 3))
    with pytest.raises(RuntimeError, match="input_size"):
        ours(data(4, 2, 4))
    with pytest.raises(RuntimeError, match=r"hidden\[0\]"):
        ours(data(4, 2, 3), (data(1, 3, 5), data(1, 2, 5)))
    with pytest.raises(ValueError, match="dtype"):
        ours(data(4, 2, 3).float())


def test_every_row_of_every_gate_has_its_own_gain() -> None:
    _, ours = pair("gv", num_layers=2, bias=False)
    shapes = {name: tuple(p.shape) for name, p in ours.named_parameters()}
    assert shapes["weight_ih_l0_g"] == (20, 1)
    assert shapes["weight_ih_l0_v"] == (20, 3)
    assert shapes["weight_hh_l1_v"] == (20, 5)
    assert len(shapes) == 8
    assert torch.allclose(ours.weight_hh_l0.norm(dim=1), ours.weight_hh_l0_g.flatten().abs())
    with pytest.raises(AttributeError, match="set_weight_"):
        nn.init.orthogonal_(ours.weight_hh_l0)
    ours.set_weight_(torch.ones(20, 5), "weight_hh_l0")
    assert torch.equal(ours.weight_hh_l0, torch.ones(20, 5, dtype=torch.float64))


@pytest.mark.parametrize("storage", STORAGES)
def test_copies_pickles_moves_and_plain_checkpoints_keep_the_function(storage: str) -> None:
    plain, ours = pair(storage, num_layers=2)
    x = data(4, 2, 3)
    loaded = WNLSTM(3, 5, 2, storage=storage, dtype=torch.float64)
    loaded.load_state_dict(plain.state_dict())
    with torch.no_grad():  # a stale list of weights would show
        for copied in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours)), loaded):
            assert torch.allclose(copied(x)[0], plain(x)[0], rtol=ROUNDING_64)
            copied.set_weight_(copied.weight_hh_l1 * 2, "weight_hh_l1")
            assert not torch.allclose(copied(x)[0], plain(x)[0])
    single = ours.float()(x.float())[0]
    assert torch.allclose(single.double(), plain(x)[0], atol=1e-5)  # float32 through tanh


def test_torchs_list_of_flat_weights_follows_the_storage() -> None:
    plain, ours = pair("gv")
    for lstm in (ours, copy.deepcopy(ours), convert_(plain)):
        assert lstm._flat_weights[0] is lstm.weight_ih_l0_v
        assert lstm._flat_weights[2] is lstm.bias_ih_l0
        fold_(lstm)
        assert lstm._flat_weights[0] is lstm.weight_ih_l0
        lstm.flatten_parameters()


@pytest.mark.parametrize("storage", STORAGES)
def test_reset_parameters_draws_what_torch_draws(storage: str) -> None:
    plain, ours = pair(storage, bidirectional=True)
    x = data(4, 2, 3)
    for seed in (3, 4):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            ours.reset_parameters()
            torch.manual_seed(seed)
            plain.reset_parameters()  # type: ignore[no-untyped-call]  # torch's has no types
        assert torch.allclose(ours(x)[0], plain(x)[0], rtol=ROUNDING_64)


@pytest.mark.parametrize("storage", STORAGES)
def test_an_lstm_is_exported_with_its_parameters(storage: str) -> None:
    _, ours = pair(storage)
    exported = torch.export.export(ours, (data(4, 2, 3),))
    assert set(exported.state_dict) == set(ours.state_dict())
    x = data(4, 2, 3) * 2
    assert torch.allclose(exported.module()(x)[0], ours(x)[0], rtol=ROUNDING_64)


class Stateless(nn.Module):
    """An LSTM of any kind inside a network."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.lstm = lstm

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.lstm(x)[0]
        return output.square()


def test_torch_compiles_around_an_lstm_and_breaks_its_graph_at_its_own_as_well() -> None:
    plain, *ours = pair("gv")[0], pair("gv")[1], pair("w")[1]
    for lstm in (plain, *ours):
        net, x = Stateless(lstm), data(4, 2, 3)
        torch._dynamo.reset()
        compiled = torch.compile(net, backend="aot_eager")
        assert torch.allclose(compiled(x), net(x), rtol=ROUNDING_64)
        torch._dynamo.reset()
        # When torch no longer raises here, for its own LSTM, ours must compile in one graph too.
        with pytest.raises(torch._dynamo.exc.Unsupported, match="LSTM"):
            torch.compile(net, backend="eager", fullgraph=True)(x)


@pytest.mark.parametrize("storage", STORAGES)
def test_an_lstm_compiles_in_one_graph_where_torch_is_told_to_allow_it(storage: str) -> None:
    _, ours = pair(storage)
    x = data(4, 2, 3)
    with torch._dynamo.config.patch(allow_rnn=True):  # experimental in torch
        torch._dynamo.reset()
        with torch.no_grad():
            acting = torch.compile(ours, backend="aot_eager", fullgraph=True)
            assert torch.allclose(acting(x)[0], ours(x)[0], rtol=ROUNDING_64)
        torch._dynamo.reset()
        compiled = torch.compile(ours, backend="eager", fullgraph=True)
        parameters = list(ours.parameters())
        found, expected = (
            torch.autograd.grad(net(x)[0].square().sum(), parameters) for net in (compiled, ours)
        )
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-9, atol=ROUNDING_64)


@pytest.mark.parametrize("storage", STORAGES)
def test_state_dicts_are_saved_and_loaded_as_weights_only(storage: str) -> None:
    _, ours = pair(storage, num_layers=2, bidirectional=True)
    buffer = io.BytesIO()
    torch.save(ours.state_dict(), buffer)
    buffer.seek(0)
    other = WNLSTM(3, 5, 2, bidirectional=True, storage=storage, dtype=torch.float64)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    x = data(4, 2, 3)
    assert torch.equal(other(x)[0], ours(x)[0])


def test_stored_weights_are_the_optimizers_and_its_steps_are_seen() -> None:
    _, ours = pair("w")
    marked, rest = weight_norm_groups(ours)
    assert marked["weight_norm"] is True
    assert [tuple(p.shape) for p in marked["params"]] == [(20, 3), (20, 5)]
    assert [tuple(p.shape) for p in rest["params"]] == [(20,), (20,)]
    optimizer, x = WNAdam(weight_norm_groups(ours), lr=0.1), data(4, 2, 3)
    before = ours(x)[0].square().sum()
    before.backward()
    optimizer.step()
    assert ours(x)[0].square().sum() < before


def test_frozen_weights_reach_an_lstm() -> None:
    _, ours = pair("gv")
    x = data(4, 2, 3)
    expected = ours(x)[0].detach()
    with frozen_weights(ours):
        ours.weight_hh_l0_g.mul_(3.0)
        assert torch.allclose(ours(x)[0], expected, rtol=ROUNDING_64)
    assert not torch.allclose(ours(x)[0], expected)
