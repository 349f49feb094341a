"""The check around `learn` in scripts/run_sb3_tests.py: optimizers must change their weights."""

import copy
from typing import Any

import pytest
import torch
from sb3_models import ALGORITHMS, OFF_POLICY, SHORT, STEPS
from script_modules import load_script

from wnrl.sb3 import WNActorCriticMlpPolicy, WNSACPolicy

pytest.importorskip("sb3_contrib")
run_sb3_tests = load_script("run_sb3_tests.py")


class StaleCritic(WNSACPolicy):
    """Its critic's optimizer steps the weights of a copy, as if layers were replaced after it."""

    def _normalize(self) -> None:
        super()._normalize()
        self.critic.optimizer = torch.optim.Adam(copy.deepcopy(self.critic).parameters())


class Stale(WNActorCriticMlpPolicy):
    """The same with one optimizer."""

    def _normalize(self) -> None:
        super()._normalize()
        self.optimizer = torch.optim.Adam(copy.deepcopy(self).parameters())


class Unused(WNSACPolicy):
    """The optimizers that the algorithm steps are others."""

    def _normalize(self) -> None:
        super()._normalize()
        for network in (self.actor, self.critic):
            network.optimizer.step = lambda: None


def learn(algorithm: str, kind: type) -> None:
    settings: dict[str, Any] = SHORT[algorithm] if algorithm == "PPO" else OFF_POLICY
    env = "CartPole-v1" if algorithm == "PPO" else "Pendulum-v1"
    options = {"device": "cpu", "policy_kwargs": {"net_arch": [8]}}
    model = ALGORITHMS[algorithm](kind, env, **options, **settings)
    run_sb3_tests.checked(type(model).learn)(model, STEPS)


@pytest.mark.parametrize(
    ("algorithm", "kind", "sentence"),
    [
        ("SAC", StaleCritic, "the optimizer of ContinuousCritic stepped none of its weights"),
        ("PPO", Stale, "the optimizer of Stale stepped none of its weights"),
        ("SAC", Unused, "no optimizer of Unused was stepped"),
    ],
)
def test_a_policy_whose_optimizer_steps_none_of_its_weights_fails(
    algorithm: str, kind: type, sentence: str
) -> None:
    with pytest.raises(AssertionError, match=sentence):
        learn(algorithm, kind)


@pytest.mark.parametrize("algorithm", ["PPO", "SAC"])
def test_a_policy_that_learns_passes(algorithm: str) -> None:
    learn(algorithm, {"PPO": WNActorCriticMlpPolicy, "SAC": WNSACPolicy}[algorithm])
    learn(algorithm, run_sb3_tests.POLICIES[algorithm]["MlpPolicy"])


def test_the_stock_names_of_every_algorithm_are_replaced() -> None:
    import sb3_contrib
    import stable_baselines3

    known = {**run_sb3_tests.POLICIES}
    known |= {name: known[like] for name, like in run_sb3_tests.SAME_POLICIES.items()}
    for name, kinds in known.items():
        home: Any = stable_baselines3 if hasattr(stable_baselines3, name) else sb3_contrib
        assert kinds.keys() == getattr(home, name).policy_aliases.keys()
        for stock, kind in kinds.items():
            assert issubclass(kind, getattr(home, name).policy_aliases[stock])
            assert name in kind.algorithms
