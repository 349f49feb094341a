"""Run Stable-Baselines3's own tests on the policies of `wnrl.sb3`.

Downloads the source distribution of the installed version and runs its tests of policies. In them
`"MlpPolicy"`, `"CnnPolicy"` and `"MultiInputPolicy"` of DQN, PPO and A2C mean the policies of
`wnrl.sb3`. Tests of other algorithms are left out.

    python scripts/run_sb3_tests.py [--norm weight | --stock] [--tests test_save_load ...]
        [--source FOLDER] [-- ARGUMENTS OF PYTEST]
"""

import argparse
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.policies import BasePolicy

from wnrl.sb3 import policies

TESTS = (
    "test_callbacks",
    "test_cnn",
    "test_custom_policy",
    "test_deterministic",
    "test_dict_env",
    "test_distributions",
    "test_n_step_replay",
    "test_predict",
    "test_run",
    "test_save_load",
    "test_sde",
    "test_spaces",
    "test_tensorboard",
    "test_train_eval_mode",
    "test_utils",
)
OTHERS = "SAC or TD3 or DDPG or Her"  # algorithms and buffers without a policy in wnrl.sb3
ACTOR_CRITICS: dict[str, type[BasePolicy]] = {
    "MlpPolicy": policies.WNActorCriticMlpPolicy,
    "CnnPolicy": policies.WNActorCriticCnnPolicy,
    "MultiInputPolicy": policies.WNActorCriticMultiInputPolicy,
}
VALUES: dict[str, type[BasePolicy]] = {
    "MlpPolicy": policies.WNMlpPolicy,
    "CnnPolicy": policies.WNCnnPolicy,
    "MultiInputPolicy": policies.WNMultiInputPolicy,
}


def replace_policies(norm: str) -> None:
    """Make the stock names mean the policies of `wnrl.sb3`, with this default normalization."""
    PPO.policy_aliases = A2C.policy_aliases = ACTOR_CRITICS
    DQN.policy_aliases = VALUES
    defaults = policies.NormalizedPolicy.__init__.__kwdefaults__
    assert defaults is not None
    defaults["norm"] = norm


def download(folder: Path) -> Path:
    """Download and unpack the source distribution of the installed version; return its folder."""
    name = f"stable_baselines3=={version('stable-baselines3')}"
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
    parser.add_argument("--norm", default="weight", help="normalization of the policies")
    parser.add_argument("--stock", action="store_true", help="stock policies, for comparison")
    parser.add_argument(
        "--tests", nargs="+", default=TESTS, metavar="FILE", help="test files to run"
    )
    parser.add_argument("--source", type=Path, help="an unpacked source distribution")
    parser.add_argument("pytest", nargs="*", help="arguments of pytest")
    arguments = parser.parse_args()
    if not arguments.stock:
        replace_policies(arguments.norm)
    with tempfile.TemporaryDirectory() as folder:
        source = arguments.source or download(Path(folder))
        chosen = [str(source / "tests" / f"{name}.py") for name in arguments.tests]
        return int(
            pytest.main(
                [
                    "--quiet",
                    "-k",
                    f"not ({OTHERS})",
                    *["--rootdir", str(source), "-c", str(source / "pyproject.toml")],
                    *["-p", "no:cacheprovider"],
                    *chosen,
                    *arguments.pytest,
                ]
            )
        )


if __name__ == "__main__":
    sys.exit(main())
