"""Run Stable-Baselines3's own tests on the policies of `wnrl.sb3`, or sb3-contrib's.

Downloads the source distribution of the installed version and runs its tests of policies. In them
the stock names, such as `"MlpPolicy"`, mean the policies of `wnrl.sb3`. A test also fails if its
policy learned and an optimizer changed none of its network's weights.

    python scripts/run_sb3_tests.py [--contrib] [--norm weight | --stock]
        [--tests test_save_load ...] [--source FOLDER] [-- ARGUMENTS OF PYTEST]
"""

import argparse
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from functools import wraps
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import sb3_contrib
import stable_baselines3
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from torch import nn

from wnrl.sb3 import contrib, policies

TESTS = {
    "stable_baselines3": (
        "test_callbacks",
        "test_cnn",
        "test_custom_policy",
        "test_deterministic",
        "test_dict_env",
        "test_distributions",
        "test_identity",
        "test_n_step_replay",
        "test_predict",
        "test_run",
        "test_save_load",
        "test_sde",
        "test_spaces",
        "test_tensorboard",
        "test_train_eval_mode",
        "test_utils",
    ),
    "sb3_contrib": (
        "test_cnn",
        "test_deterministic",
        "test_dict_env",
        "test_identity",
        "test_lstm",
        "test_run",
        "test_save_load",
        "test_train_eval_mode",
    ),
}
OTHERS = "ARS or Maskable or mask"  # without a policy in wnrl.sb3
# For each algorithm, the classes that its stock names mean.
POLICIES: dict[str, dict[str, type[policies.NormalizedPolicy]]] = {
    "DQN": {
        "MlpPolicy": policies.WNMlpPolicy,
        "CnnPolicy": policies.WNCnnPolicy,
        "MultiInputPolicy": policies.WNMultiInputPolicy,
    },
    "PPO": {
        "MlpPolicy": policies.WNActorCriticMlpPolicy,
        "CnnPolicy": policies.WNActorCriticCnnPolicy,
        "MultiInputPolicy": policies.WNActorCriticMultiInputPolicy,
    },
    "SAC": {
        "MlpPolicy": policies.WNSACPolicy,
        "CnnPolicy": policies.WNSACCnnPolicy,
        "MultiInputPolicy": policies.WNSACMultiInputPolicy,
    },
    "TD3": {
        "MlpPolicy": policies.WNTD3Policy,
        "CnnPolicy": policies.WNTD3CnnPolicy,
        "MultiInputPolicy": policies.WNTD3MultiInputPolicy,
    },
    "QRDQN": {
        "MlpPolicy": contrib.WNQRDQNMlpPolicy,
        "CnnPolicy": contrib.WNQRDQNCnnPolicy,
        "MultiInputPolicy": contrib.WNQRDQNMultiInputPolicy,
    },
    "RecurrentPPO": {
        "MlpLstmPolicy": contrib.WNRecurrentMlpPolicy,
        "CnnLstmPolicy": contrib.WNRecurrentCnnPolicy,
        "MultiInputLstmPolicy": contrib.WNRecurrentMultiInputPolicy,
    },
    "TQC": {
        "MlpPolicy": contrib.WNTQCPolicy,
        "CnnPolicy": contrib.WNTQCCnnPolicy,
        "MultiInputPolicy": contrib.WNTQCMultiInputPolicy,
    },
    "CrossQ": {"MlpPolicy": contrib.WNCrossQPolicy},
}
SAME_POLICIES = {"A2C": "PPO", "TRPO": "PPO", "DDPG": "TD3"}


def replace_policies(norm: str) -> None:
    """Make the stock names mean the policies of `wnrl.sb3`, with this default normalization."""
    classes = POLICIES | {name: POLICIES[like] for name, like in SAME_POLICIES.items()}
    for name, kinds in classes.items():
        home: Any = stable_baselines3 if hasattr(stable_baselines3, name) else sb3_contrib
        getattr(home, name).policy_aliases = kinds
    policies.NormalizedPolicy.norm = norm


def check_steps() -> None:
    """Let `learn` fail if a policy was updated and an optimizer changed none of its weights."""
    for algorithm in (OnPolicyAlgorithm, OffPolicyAlgorithm):
        method: Any = algorithm.learn
        setattr(algorithm, "learn", checked(method))  # noqa: B010  # mypy: a method is assigned


def checked(learn: Callable[..., Any]) -> Callable[..., Any]:
    """Return `learn` with this check around it."""

    @wraps(learn)
    def checked_learn(model: BaseAlgorithm, *arguments: Any, **options: Any) -> Any:
        owners = [part for part in model.policy.modules() if _has_optimizer(part)]
        before = [_weights(owner) for owner in owners]
        updates, stepped = _updates(model), set[nn.Module]()
        handles = [
            owner.optimizer.register_step_post_hook(_add(owner, stepped)) for owner in owners
        ]
        learned = learn(model, *arguments, **options)
        for handle in handles:
            handle.remove()
        if _updates(model) > updates and not stepped:
            raise AssertionError(f"no optimizer of {type(model.policy).__name__} was stepped")
        for owner, old in zip(owners, before, strict=True):
            if owner in stepped and all(map(torch.equal, old, _weights(owner))):
                raise AssertionError(
                    f"the optimizer of {type(owner).__name__} stepped none of its weights"
                )
        return learned

    return checked_learn


def _add(owner: nn.Module, stepped: set[nn.Module]) -> Callable[..., None]:
    return lambda *_: stepped.add(owner)


def _has_optimizer(part: nn.Module) -> bool:
    return isinstance(part.__dict__.get("optimizer"), torch.optim.Optimizer)


def _weights(network: nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in network.parameters() if p.ndim > 1]


def _updates(model: BaseAlgorithm) -> int:
    return int(getattr(model, "_n_updates", 0))


def download(package: str, folder: Path) -> Path:
    """Download and unpack the source distribution of the installed version; return its folder."""
    name = f"{package}=={version(package)}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:"]
    subprocess.run([*command, "--dest", str(folder), name], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    (unpacked,) = (path for path in folder.iterdir() if path.is_dir())
    return unpacked


def main() -> int:
    """Run the tests and return pytest's exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contrib", action="store_true", help="sb3-contrib's tests")
    parser.add_argument("--norm", default="weight", help="normalization of the policies")
    parser.add_argument("--stock", action="store_true", help="stock policies, for comparison")
    parser.add_argument("--tests", nargs="+", metavar="FILE", help="test files to run")
    parser.add_argument("--source", type=Path, help="an unpacked source distribution")
    parser.add_argument("pytest", nargs="*", help="arguments of pytest")
    arguments = parser.parse_args()
    package = "sb3_contrib" if arguments.contrib else "stable_baselines3"
    if not arguments.stock:
        replace_policies(arguments.norm)
    check_steps()
    with tempfile.TemporaryDirectory() as folder:
        source = arguments.source or download(package, Path(folder))
        tests = arguments.tests or TESTS[package]
        return int(
            pytest.main(
                [
                    "--quiet",
                    "-k",
                    f"not ({OTHERS})",
                    *["--rootdir", str(source), "-c", str(source / "pyproject.toml")],
                    *["-p", "no:cacheprovider"],
                    *[str(source / "tests" / f"{name}.py") for name in tests],
                    *arguments.pytest,
                ]
            )
        )


if __name__ == "__main__":
    sys.exit(main())
