"""Policy classes with a normalization in their name, as RL Baselines3 Zoo loads them."""

import importlib
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sb3_models import IN_SB3, OFF_POLICY, STEPS
from stable_baselines3 import DQN, SAC

from wnrl.nn import NORMS, get_norm, register_norm
from wnrl.sb3 import WNSACPolicy, policies

DOCS = Path(__file__).parents[2] / "docs" / "sb3.md"
SMALL = {"net_arch": [32, 32]}


def by_name(name: str) -> Any:
    """Import a class as the zoo does in `rl_zoo3.utils.get_class_by_name`."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("norm", IN_SB3)
def test_every_normalization_has_a_class_that_needs_no_arguments(norm: str) -> None:
    kind = by_name(f"wnrl.sb3.zoo.WNSACPolicy_{norm.replace('-', '_')}")
    assert issubclass(kind, WNSACPolicy)
    model = SAC(kind, "Pendulum-v1", device="cpu", **OFF_POLICY)
    assert model.policy.norm == norm
    assert pickle.loads(pickle.dumps(kind)) is kind


def test_policy_kwargs_that_are_replaced_as_a_whole_keep_the_normalization() -> None:
    kind = by_name("wnrl.sb3.zoo.WNSACPolicy_layer")
    model = SAC(kind, "Pendulum-v1", device="cpu", policy_kwargs=SMALL, **OFF_POLICY).learn(STEPS)
    assert model.policy.actor.latent_pi[0].norm.normalized_shape == (32,)
    other = {"norm": "rms", "norm_where": "critic", **SMALL}
    policy = SAC(kind, "Pendulum-v1", device="cpu", policy_kwargs=other, **OFF_POLICY).policy
    assert (policy.norm, policy.norm_where) == ("rms", "critic")


def test_every_policy_has_its_classes() -> None:
    contrib = importlib.import_module("wnrl.sb3.contrib")
    names = [n for m in (policies, contrib) for n in vars(m) if n.startswith("WN")]
    assert len(names) == 12 + 10
    for name in names:
        assert by_name(f"wnrl.sb3.zoo.{name}_spectral").norm == "spectral"


def test_a_normalization_of_ones_own_has_a_class_too() -> None:
    register_norm(get_norm("layer").derived("layer-of-a-zoo"))
    try:
        kind = by_name("wnrl.sb3.zoo.WNMlpPolicy_layer_of_a_zoo")
        assert DQN(kind, "CartPole-v1", buffer_size=10).policy.norm == "layer-of-a-zoo"
    finally:
        del NORMS["layer-of-a-zoo"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("WNSACPolicy_wieght", "'wieght' is unknown; allowed are none, weight, .*mean weight"),
        ("WNSakPolicy_weight", "'WNSakPolicy' is unknown; .*did you mean WNSACPolicy"),
        ("WNSACPolicy", "has no attribute 'WNSACPolicy'"),
    ],
)
def test_an_unknown_name_is_told_in_one_sentence(name: str, sentence: str) -> None:
    with pytest.raises(AttributeError, match=sentence) as caught:
        by_name(f"wnrl.sb3.zoo.{name}")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_model_with_such_a_policy_loads_in_another_process(tmp_path: Path) -> None:
    kind = by_name("wnrl.sb3.zoo.WNSACPolicy_layer")
    SAC(kind, "Pendulum-v1", device="cpu", **OFF_POLICY).save(tmp_path / "model.zip")
    code = (
        "import sys; from stable_baselines3 import SAC; "
        "print(type(SAC.load(sys.argv[1], device='cpu').policy).__name__)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "model.zip")]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "WNSACPolicy_layer"


def test_the_recipe_in_the_documentation_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = DOCS.read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    name, *lines = example.splitlines()
    settings = dict(line.strip().split(": ") for line in lines)
    env, kind = name.removesuffix(":"), by_name(settings.pop("policy"))
    assert int(settings.pop("n_timesteps")) > 0
    numbers = {key: float(value) if "." in value else int(value) for key, value in settings.items()}
    model = SAC(kind, env, device="cpu", **{**numbers, **OFF_POLICY}).learn(STEPS)
    assert model.policy.norm == "layer"
    (module,) = re.findall(r"```python\n(# my_policies\.py\n.*?)```", text, flags=re.DOTALL)
    (tmp_path / "my_policies.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    (named,) = re.findall(r"`policy: (my_policies\.\w+)`", text)
    policy = SAC(by_name(named), env, device="cpu", **OFF_POLICY).policy
    assert (policy.norm, policy.norm_where) == ("layer", "critic")
