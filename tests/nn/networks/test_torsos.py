"""The table of architectures: names, what each is for, and one's own."""

from collections.abc import Collection
from typing import Any

import pytest
import torch
from torch import Tensor

from wnrl._settings import UsageError
from wnrl.nn import Norm, get_norm, register_network
from wnrl.nn.networks.actor_critic import build_actor_critic
from wnrl.nn.networks.architecture import Architecture, TorsoSettings
from wnrl.nn.networks.minatar import MinAtarTorso
from wnrl.nn.networks.mlp import MLPTorso
from wnrl.nn.networks.nature import NatureTorso
from wnrl.nn.networks.q_network import build_q_network
from wnrl.nn.networks.residual.impala import ImpalaTorso
from wnrl.nn.networks.spec import NetworkSpec
from wnrl.nn.networks.torso import Torso
from wnrl.nn.networks.torsos import NETWORKS, build_torso, get_network, torso_layers
from wnrl.nn.weight_norm.layers import WNLinear

FRAMES, VECTOR = (2, 36, 40), (5,)


class Flat(Torso):
    """One layer without a nonlinearity."""

    def __init__(self, settings: TorsoSettings, norm: Norm, placed: Collection[str] | None) -> None:
        super().__init__(settings.shape, settings.dtype, settings.width)
        own = norm if placed is None or "only" in placed else get_norm("none")
        self.only = own.linear(settings.shape[0], settings.width)

    def forward(self, obs: Tensor) -> Tensor:
        self.check(obs)
        features: Tensor = self.only(obs)
        return features


FLAT = Architecture("flat", "one layer", "-", lambda settings: ("only",), Flat, takes_width=True)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> dict[str, Architecture]:
    """The table, as it was afterwards."""
    copied = dict(NETWORKS)
    monkeypatch.setattr("wnrl.nn.networks.torsos.NETWORKS", copied)
    return copied


def test_the_table_holds_its_records_under_their_own_names() -> None:
    assert list(NETWORKS) == ["nature", "minatar", "impala", "mlp", "simba"]
    assert all(name == each.name for name, each in NETWORKS.items())
    assert all(each.summary and each.paper for each in NETWORKS.values())
    assert [name for name, each in NETWORKS.items() if each.takes_width] == ["impala"]


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "torso"),
    [
        ("auto", FRAMES, "uint8", NatureTorso),
        ("auto", VECTOR, "float32", MLPTorso),
        ("auto", (2, 35, 40), "uint8", MinAtarTorso),
        ("auto", (2, 5, 6), "uint8", MinAtarTorso),
        ("auto", (2, 4, 6), "uint8", MLPTorso),
        ("auto", FRAMES, "float32", NatureTorso),
        ("auto", (2, 35, 40), "float32", MinAtarTorso),
        ("auto", (2, 4, 6), "float32", MLPTorso),
        ("minatar", (2, 5, 6), "float32", MinAtarTorso),
        ("nature", FRAMES, "uint8", NatureTorso),
        ("impala", FRAMES, "uint8", ImpalaTorso),
        ("mlp", FRAMES, "uint8", MLPTorso),
    ],
)
def test_a_name_gives_its_torso_with_the_layers_that_it_says(
    name: str, shape: tuple[int, ...], dtype: str, torso: type[Torso]
) -> None:
    made = build_torso(shape, dtype, norm=get_norm("weight"), network=name, hidden=(6, 7))
    assert type(made) is torso
    names = torso_layers(shape, dtype, network=name, hidden=(6, 7))
    found = [
        key.removeprefix("layers.") for key, m in made.named_modules() if "WN" in repr(type(m))
    ]
    assert tuple(found) == names


def test_ones_own_network_is_built_placed_and_taken_away(table: dict[str, Architecture]) -> None:
    assert register_network(FLAT) is FLAT
    settings: dict[str, Any] = {"norm": get_norm("weight"), "torso": "flat", "width": 7}
    network = build_q_network(NetworkSpec(VECTOR, "float32", 3, **settings), torch.Generator())
    assert isinstance(network.torso, Flat)
    assert isinstance(network.torso.only, WNLinear)
    assert network(torch.ones(2, 5)).shape == (2, 3)
    bare = build_actor_critic(
        NetworkSpec(VECTOR, "float32", 3, **settings, where="policy", separate=True),
        torch.Generator(),
    )
    kinds = [
        type(bare.get_submodule(f"{head}_torso.only")).__name__ for head in ("policy", "value")
    ]
    assert kinds == ["WNLinear", "Linear"]
    with pytest.raises(UsageError, match=r"no such part or layer.*torso \(only\)"):
        build_q_network(
            NetworkSpec(VECTOR, "float32", 3, **settings, where="hidden1"), torch.Generator()
        )
    for name in ("flat", "mlp", "auto", ""):
        with pytest.raises(UsageError, match="is taken or empty"):
            register_network(Architecture(name, "", "", lambda settings: (), Flat))
    del table["flat"]
    with pytest.raises(UsageError, match="unknown network 'flat'"):
        get_network("flat", VECTOR)
    assert "flat" not in NETWORKS


def test_networks_that_cannot_be_are_told_why() -> None:
    with pytest.raises(
        UsageError, match=r"'natur': allowed are auto, nature, .*did you mean natur"
    ):
        torso_layers(VECTOR, "float32", network="natur")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"network": "nature"}, r"nature takes images .* at least 36x36.*\(5,\); use"),
        ({"network": "mlp", "width": 2}, "width 2 does not apply to mlp, only to impala"),
        ({"width": 0}, "width 0 is out of range; it must be at least 1"),
    ]
    for settings, message in cases:
        with pytest.raises(UsageError, match=message):
            build_torso(VECTOR, "float32", norm=get_norm("none"), **settings)
    with pytest.raises(UsageError, match="width 0 is out of range"):
        build_torso(FRAMES, "uint8", norm=get_norm("none"), network="impala", width=0)


@pytest.mark.parametrize("name", ["nature", "minatar", "impala", "mlp", "simba"])
def test_floats_between_0_and_1_are_what_bytes_are_after_division(name: str) -> None:
    pixels = torch.randint(0, 256, (3, *FRAMES), generator=torch.Generator().manual_seed(1))
    features = []
    for dtype, obs in (("uint8", pixels.byte()), ("float32", pixels.float() / 255)):
        torch.manual_seed(2)
        torso = build_torso(FRAMES, dtype, norm=get_norm("none"), network=name)
        features.append(torso(obs))
    assert torch.equal(*features)
