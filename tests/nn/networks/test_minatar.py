"""The MinAtar paper's network: its equations, its size, its inputs, and where it is refused."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.nn.networks.minatar import MinAtarTorso
from wnrl.nn.networks.torsos import build_torso
from wnrl.nn.norms.catalogue import NORMS, get_norm

BREAKOUT = (4, 10, 10)


def frames(count: int = 3, shape: tuple[int, ...] = BREAKOUT) -> Tensor:
    generator = torch.Generator().manual_seed(9)
    return torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)


def by_hand(torso: MinAtarTorso, x: Tensor, norms: bool) -> Tensor:
    """h = relu(conv1(x)), features = relu(fc(h)), a normalization before each relu."""

    def normalized(name: str, x: Tensor) -> Tensor:
        return torso.layers.get_submodule(f"{name}_norm")(x) if norms else x

    conv1, fc = torso.layers.get_submodule("conv1"), torso.layers.get_submodule("fc")
    h = nn.functional.conv2d(x, conv1.weight, conv1.bias)  # type: ignore[arg-type]
    h = normalized("conv1", h).relu().flatten(1)
    features = nn.functional.linear(h, fc.weight, fc.bias)  # type: ignore[arg-type]
    return normalized("fc", features).relu()


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_it_computes_the_papers_equations(norm: str) -> None:
    torso = MinAtarTorso(BREAKOUT, "uint8", get_norm(norm))
    expected = by_hand(torso, frames() / 255, norms=norm == "layer")
    torch.testing.assert_close(torso(frames()), expected)


def test_float_observations_are_not_scaled() -> None:
    torso = MinAtarTorso(BREAKOUT, "float32", get_norm("none"))
    obs = frames() / 100
    torch.testing.assert_close(torso(obs), by_hand(torso, obs, norms=False))


def test_breakout_has_16_filters_128_units_and_131_792_parameters() -> None:
    torso = MinAtarTorso(BREAKOUT, "uint8", get_norm("none"))
    conv1, fc = torso.layers.get_submodule("conv1"), torso.layers.get_submodule("fc")
    assert conv1.weight.shape == (16, 4, 3, 3)
    assert fc.weight.shape == (128, 16 * 8 * 8)
    # By hand: 16 (4 * 9 + 1) + 128 (1024 + 1).
    assert sum(p.numel() for p in torso.parameters()) == 592 + 131_200
    assert torso(frames()).shape == (3, 128)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(1, 5, 5), (7, 10, 6)])
def test_it_takes_every_normalization_and_images_from_5x5_on(
    norm: str, shape: tuple[int, ...]
) -> None:
    made = get_norm(norm)
    if norm == "group":
        made = made.with_settings({**dataclasses.asdict(made.settings), "groups": 16})
    torso = build_torso(shape, "uint8", norm=made, network="minatar")
    torso(frames(4, shape)).sum().backward()
    learnt = [p for p in torso.parameters() if p.requires_grad]  # a fixed gain is not
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learnt)


@pytest.mark.parametrize("shape", [(4,), (10, 10), (2, 4, 5), (2, 5, 4)])
def test_other_observations_are_refused_in_one_line(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        UsageError, match=r"network.*minatar takes images .* at least 5x5.* use mlp"
    ):
        build_torso(shape, "uint8", norm=get_norm("none"), network="minatar")
