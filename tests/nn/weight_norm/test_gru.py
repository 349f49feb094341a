"""GRU and cells: torch's function for every form of input, steps of either storage."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from wnrl.nn import WNGRU, convert_, shared_weights, weight_norm_groups
from wnrl.optim import WNAdam

TRAJECTORY_64 = 1e-9  # rounding after a few updates, whose rules divide by small moments


def inputs(batch_first: bool) -> list[tuple[Tensor | PackedSequence, Tensor | None]]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).double()

    sequence = draw(2, 4, 3) if batch_first else draw(4, 2, 3)
    packed = pack_sequence([draw(2, 3), draw(4, 3)], enforce_sorted=False)
    return [
        (sequence, None),
        (sequence, draw(4, 2, 5)),
        (draw(4, 3), None),
        (draw(4, 3), draw(4, 5)),
        (packed, None),
        (packed, draw(4, 2, 5)),
    ]


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("storage", ["gv", "w"])
def test_a_gru_computes_what_torchs_does(storage: str, batch_first: bool) -> None:
    plain = nn.GRU(3, 5, 2, bidirectional=True, batch_first=batch_first).double()
    layer = convert_(copy.deepcopy(plain), storage=storage)
    assert type(layer) is WNGRU
    for x, h in inputs(batch_first):
        for mine, other in zip(layer(x, h), plain(x, h), strict=True):
            if isinstance(other, PackedSequence):
                assert torch.equal(mine.unsorted_indices, other.unsorted_indices)
                mine, other = mine.data, other.data
            torch.testing.assert_close(mine, other)
    with pytest.raises(ValueError, match=r"input is \(3,\): expected \(T, B, I\) or \(T, I\)"):
        layer(torch.zeros(3))


class Stepped(nn.Module):
    """An LSTM cell over a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for x_t in x:
            state = self.cell(x_t, state)
        assert state is not None
        h: Tensor = state[0]
        return h


class Sequence(nn.Module):
    """A GRU's last state."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.gru(x)[1]
        return h


@pytest.mark.parametrize("kind", [Stepped, Sequence])
def test_both_storages_walk_the_same_trajectory(kind: Any) -> None:
    plain, x = kind().double(), torch.linspace(-1, 1, 24).double().reshape(4, 2, 3)
    computed, stored = (convert_(copy.deepcopy(plain), storage=s) for s in ("gv", "w"))
    optimizers: list[Any] = [
        torch.optim.Adam(computed.parameters(), 0.05),
        WNAdam(weight_norm_groups(stored), 0.05),
    ]
    for _ in range(5):
        for net, optimizer in zip((computed, stored), optimizers, strict=True):
            optimizer.zero_grad()
            with shared_weights(net):
                (net(x) - 0.5).square().sum().backward()
            optimizer.step()
    assert not torch.allclose(computed(x), plain(x))
    torch.testing.assert_close(stored(x), computed(x), rtol=TRAJECTORY_64, atol=TRAJECTORY_64)
