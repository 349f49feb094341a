"""Features extractors of users, whose forward may use an nn.Sequential in any way."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from gymnasium import spaces
from sb3_models import ALGORITHMS, STEPS, make, same_weights
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from wnrl._settings import UsageError

ACTIVATION_NORMS = ["layer", "group", "batch", "weight-mean", "projection", "nap"]
SETTINGS = {"group": {"groups": 1}}


class Residual(BaseFeaturesExtractor):
    """Indexes, slices and counts its Sequential, and reads a layer's sizes."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, 4)
        self.cnn = nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=4),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(400, 4),
            nn.Tanh(),
        )

    def forward(self, observations: Tensor) -> Tensor:
        assert len(self.cnn) == 7
        assert self.cnn[0].out_channels == self.cnn[2].weight.shape[0] == 4
        assert self.cnn[5].in_features == 400
        x = self.cnn[:2](observations)
        x = self.cnn[3](x + self.cnn[2](x))
        features: Tensor = self.cnn[-1](self.cnn[5](self.cnn[4](x)))
        return features


def residual(norm: str, algorithm: str = "PPO", **options: Any) -> Any:
    return make(
        algorithm,
        "CnnPolicy",
        norm=norm,
        norm_settings=SETTINGS.get(norm),
        features_extractor_class=Residual,
        net_arch=[8],
        **options,
    )


@pytest.mark.parametrize("norm", ACTIVATION_NORMS)
def test_positions_in_a_sequential_mean_what_they_meant(norm: str) -> None:
    extractor = residual(norm).policy.features_extractor.eval()
    one, two, three = (extractor.cnn[i] for i in (0, 2, 5))
    assert all(isinstance(layer, nn.Conv2d) for layer in (one, two))
    assert [name for name, _ in extractor.cnn.named_children()] == [str(i) for i in range(7)]

    for layer in (one, two, three):  # statistics and scales that a missed layer would not have
        for values in (*layer.norm.parameters(), *layer.norm.buffers()):
            if values.is_floating_point():
                values.data.add_(torch.rand(values.shape))

    def normalized(layer: Any, x: Tensor) -> Tensor:
        output: Tensor = layer.norm(layer.forward(x))  # forward does not run hooks
        return output

    obs = torch.rand(3, 1, 40, 40)
    x = torch.relu(normalized(one, obs))
    x = torch.relu(x + normalized(two, x))
    expected = torch.tanh(normalized(three, x.flatten(1)))
    torch.testing.assert_close(extractor(obs), expected)
    assert not torch.allclose(two.forward(x), normalized(two, x))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_indexed_sequential_learns_with_its_normalization(algorithm: str) -> None:
    model = residual("layer", algorithm)
    before = {name: value.clone() for name, value in model.policy.named_parameters()}
    model.learn(STEPS)
    for name, value in model.policy.named_parameters():
        if ".cnn." in name and "target" not in name:
            assert not torch.equal(value, before[name]), name


class Functional(Residual):
    """Reads the weights of one layer without calling it."""

    def forward(self, observations: Tensor) -> Tensor:
        x = self.cnn[1](self.cnn[0](observations))
        x = torch.relu(nn.functional.conv2d(x, self.cnn[2].weight, padding=1))
        features: Tensor = self.cnn[4:](x)
        return features


class FunctionalLinear(Residual):
    """As `Functional`, with a linear layer."""

    def forward(self, observations: Tensor) -> Tensor:
        return nn.functional.linear(self.cnn[:5](observations), self.cnn[5].weight)


@pytest.mark.parametrize(("kind", "layer"), [(Functional, "2"), (FunctionalLinear, "5")])
@pytest.mark.parametrize("algorithm", ["DQN", "PPO"])
def test_a_layer_that_is_not_called_is_named(algorithm: str, kind: type, layer: str) -> None:
    options = {"features_extractor_class": kind, "net_arch": [8]}
    sentence = rf"norm 'layer' would change nothing at 'features_extractor\.cnn\.{layer}'"
    with pytest.raises(UsageError, match=sentence) as caught:
        make(algorithm, "CnnPolicy", norm="layer", **options)
    assert "\n" not in str(caught.value)
    make(algorithm, "CnnPolicy", norm="weight", **options)  # acts on the weight itself


class Twice(Residual):
    """One layer at two positions."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space)
        self.cnn[2] = nn.Conv2d(4, 4, 3, padding=1)
        self.again = nn.Sequential(self.cnn[2], nn.ReLU())

    def forward(self, observations: Tensor) -> Tensor:
        features: Tensor = self.cnn[4:](self.again(self.cnn[:4](observations)))
        return features


def test_a_layer_with_two_places_is_named() -> None:
    sentence = r"'features_extractor\.cnn\.2' has 2 places: use one layer for each"
    with pytest.raises(UsageError, match=sentence):
        make("PPO", "CnnPolicy", norm="layer", features_extractor_class=Twice)
    make("PPO", "CnnPolicy", norm="weight", features_extractor_class=Twice).learn(STEPS)


def rename_as_before(file: Path) -> None:
    """Rewrite a saved model with the names that normalizations had next to their layers."""
    with zipfile.ZipFile(file) as saved:
        members = {name: saved.read(name) for name in saved.namelist()}
    state = torch.load(io.BytesIO(members["policy.pth"]), weights_only=True)
    renamed = {name.replace(".norm.", "_norm."): value for name, value in state.items()}
    assert renamed.keys() != state.keys()
    buffer = io.BytesIO()
    torch.save(renamed, buffer)
    members["policy.pth"] = buffer.getvalue()
    with zipfile.ZipFile(file, "w") as saved:
        for name, content in members.items():
            saved.writestr(name, content)


@pytest.mark.parametrize(
    ("algorithm", "policy", "norm"),
    [
        ("PPO", "CnnPolicy", "layer"),  # whose extractor has three names
        ("DQN", "MlpPolicy", "batch"),  # with buffers and a target
        ("A2C", "MultiInputPolicy", "weight-mean"),
    ],
)
def test_models_saved_under_the_former_names_are_loaded(
    algorithm: str, policy: str, norm: str, tmp_path: Path
) -> None:
    model = make(algorithm, policy, norm=norm).learn(STEPS)
    model.save(tmp_path / "model.zip")
    rename_as_before(tmp_path / "model.zip")
    loaded = ALGORITHMS[algorithm].load(tmp_path / "model.zip", device="cpu")
    assert same_weights(loaded.policy, model.policy)


class Recurrent(Residual):
    """Has a layer that no normalization takes."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space)
        self.gru = nn.GRU(4, 4)

    def forward(self, observations: Tensor) -> Tensor:
        features: Tensor = self.gru(super().forward(observations))[0]
        return features


@pytest.mark.parametrize("norm", ["weight", "layer", "spectral"])
def test_a_layer_that_stays_plain_is_named(norm: str) -> None:
    options = {"features_extractor_class": Recurrent, "net_arch": [8], "norm": norm}
    with pytest.warns(UserWarning, match=r"leaves features_extractor\.gru \(GRU\) plain"):
        make("DQN", "CnnPolicy", **options)
    where = "features_extractor.cnn.0"
    make("DQN", "CnnPolicy", **options, norm_where=where)
    make("DQN", "CnnPolicy", **{**options, "norm": "none"})
