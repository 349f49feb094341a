"""Stable-Baselines3's own tests with our policies in the place of its own.

Downloads the source distribution of the installed version and runs those of its tests that say
what a policy is, with `"MlpPolicy"`, `"CnnPolicy"` and `"MultiInputPolicy"` of DQN, PPO and A2C
meaning ours. Those of its other algorithms are left out.

    python scripts/run_sb3_tests.py [--norm weight | --stock] [--source FOLDER] [-- -x ...]
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
OTHERS = "SAC or TD3 or DDPG or Her"  # algorithms and buffers that we have no policy for
ACTOR_CRITICS = {
    "MlpPolicy": policies.WNActorCriticMlpPolicy,
    "CnnPolicy": policies.WNActorCriticCnnPolicy,
    "MultiInputPolicy": policies.WNActorCriticMultiInputPolicy,
}
VALUES = {
    "MlpPolicy": policies.WNMlpPolicy,
    "CnnPolicy": policies.WNCnnPolicy,
    "MultiInputPolicy": policies.WNMultiInputPolicy,
}


def replace_policies(norm: str) -> None:
    """Let the stock names mean our policies, with this normalization by default."""
    PPO.policy_aliases = A2C.policy_aliases = ACTOR_CRITICS
    DQN.policy_aliases = VALUES
    defaults = policies.NormalizedPolicy.__init__.__kwdefaults__
    assert defaults is not None
    defaults["norm"] = norm


def download(folder: Path) -> Path:
    """The source distribution of the installed version, unpacked."""
    name = f"stable_baselines3=={version('stable-baselines3')}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:"]
    subprocess.run([*command, "--dest", str(folder), name], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    (unpacked,) = (path for path in folder.iterdir() if path.is_dir())
    return unpacked


def main() -> int:
    """Run; pytest's exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--norm", default="weight")
    parser.add_argument("--stock", action="store_true", help="its own policies, to compare with")
    parser.add_argument("--source", type=Path, help="an unpacked source distribution")
    parser.add_argument("pytest", nargs="*", help="arguments of pytest")
    arguments = parser.parse_args()
    if not arguments.stock:
        replace_policies(arguments.norm)
    with tempfile.TemporaryDirectory() as folder:
        source = arguments.source or download(Path(folder))
        chosen = [str(source / "tests" / f"{name}.py") for name in TESTS]
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
