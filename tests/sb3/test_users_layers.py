"""What users did to the layers of their extractor, and mistakes in a policy's arguments."""

from typing import Any

import pytest
import torch
from gymnasium import spaces
from sb3_models import STEPS, make
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.sb3 import WNActorCriticMlpPolicy

NORMS = ["none", "weight", "spectral", "layer", "projection", "weight-standardization"]


class Two(BaseFeaturesExtractor):
    """Two layers in a row."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, 4)
        self.a = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.b = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    def forward(self, observations: Tensor) -> Tensor:
        features: Tensor = self.b(self.a(observations))
        return features


class Tied(Two):
    """The two layers share a weight."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space)
        self.b[0].weight = self.a[0].weight


class Frozen(Two):
    """The first layer does not learn."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space)
        self.a[0].weight.requires_grad_(False)


class Watched(Two):
    """Counts calls of the first layer."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space)
        self.calls = 0
        self.a[0].register_forward_hook(self.count)

    def count(self, *_: Any) -> None:
        self.calls += 1


class Spectral(Two):
    """Torch normalizes the first layer."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space)
        torch.nn.utils.spectral_norm(self.a[0])


def of(kind: type, norm: str, **options: Any) -> Any:
    return make("PPO", norm=norm, features_extractor_class=kind, **options)


@pytest.mark.parametrize("norm", NORMS)
def test_a_tie_is_kept(norm: str) -> None:
    model = of(Tied, norm).learn(STEPS)
    extractor = model.policy.features_extractor
    assert extractor.a[0].weight is extractor.b[0].weight


def test_a_tie_that_gains_and_vectors_would_break_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'features_extractor\.a\.0' and .* share a weight"):
        of(Tied, "weight", optimizer_class=torch.optim.AdamW)


@pytest.mark.parametrize("options", [{}, {"optimizer_class": torch.optim.AdamW}])
@pytest.mark.parametrize("norm", [norm for norm in NORMS if norm != "projection"])
def test_a_frozen_layer_stays_as_it_is(norm: str, options: dict[str, Any]) -> None:
    model = of(Frozen, norm, **options)
    one, other = (getattr(model.policy.features_extractor, name)[0] for name in "ab")
    before = [layer.weight.detach().clone() for layer in (one, other)]
    model.learn(STEPS)
    assert torch.equal(one.weight, before[0])
    assert not torch.equal(other.weight, before[1])


def test_a_whole_frozen_layer_has_no_gain_that_learns() -> None:
    class Whole(Two):
        def __init__(self, observation_space: spaces.Box) -> None:
            super().__init__(observation_space)
            self.a.requires_grad_(False)

    model = of(Whole, "weight-standardization").learn(STEPS)
    layer = model.policy.features_extractor.a[0]
    assert torch.equal(layer.gain, torch.ones(4))


@pytest.mark.parametrize("norm", NORMS)
def test_a_hook_of_the_user_is_still_called(norm: str) -> None:
    extractor = of(Watched, norm).policy.features_extractor
    before = extractor.calls
    extractor(torch.rand(2, 4))
    assert extractor.calls == before + 1


@pytest.mark.parametrize("norm", NORMS[1:])
def test_a_layer_that_torch_normalizes_is_named(norm: str) -> None:
    with pytest.raises(UsageError, match=r"'features_extractor\.a\.0', whose weight torch already"):
        of(Spectral, norm)
    of(Spectral, norm, norm_where="features_extractor.b.0").learn(STEPS)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"nrom": "layer"}, "^WNActorCriticMlpPolicy has no argument 'nrom'; did you mean norm"),
        ({"norm_setting": {}}, "no argument 'norm_setting'; did you mean norm_settings"),
        ({"norm_where": ["torso"]}, r"^norm_where is \['torso'\], not text"),
        ({"norm_where": 1}, "^norm_where is 1, not text"),
        ({"norm_settings": "eps"}, "^norm_settings is 'eps', not a dict"),
    ],
)
def test_a_mistake_in_the_arguments_is_one_sentence(options: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        make("PPO", **options)
    assert "\n" not in str(caught.value)


def test_arguments_of_a_users_policy_are_its_own() -> None:
    class Mine(WNActorCriticMlpPolicy):
        def __init__(self, *arguments: Any, norms: int = 0, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.norms = norms

    observations, actions = spaces.Box(-1, 1, (4,)), spaces.Discrete(2)
    assert Mine(observations, actions, lambda _: 1e-3, norms=3).norms == 3
