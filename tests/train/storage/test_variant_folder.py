"""Names of variants' folders: whole where they fit, shortened with a hash where they do not."""

from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gymnasium.envs.registration import EnvSpec

from wnrl._settings import flag_name
from wnrl.compare.grid import make_grid
from wnrl.config import Config, make_config
from wnrl.train.run import run_dir_of
from wnrl.train.storage.variant_folder import (
    LONGEST_BYTES,
    folder_name,
    shortened,
    variant_folder,
)

MANY: dict[str, Any] = {
    "learning_rate": "3e-5",
    "batch_size": "48",
    "buffer_size": "12_345",
    "warmup_steps": "777",
    "gamma": "0.987",
    "n_step": "2",
    "epsilon_end": "0.03",
    "epsilon_steps": "4_321",
    "target_period_steps": "1_234",
    "max_grad_norm": "7.5",
    "dueling": True,
}


def run(**changes: Any) -> Config:
    return make_config({"env": "toy/Catch", **MANY, **changes})


def test_a_name_that_fits_is_kept(tmp_path: Path) -> None:
    config = make_config(env="ALE/Pong-v5", gamma=0.9)
    assert variant_folder(tmp_path, config) == tmp_path / "Pong" / "dqn-weight-gamma=0.9"
    assert shortened("x" * LONGEST_BYTES) == "x" * LONGEST_BYTES
    assert shortened("é" * 60) == "é" * 60


def test_a_slash_in_a_value_does_not_make_another_folder(tmp_path: Path) -> None:
    config = make_config(env="FrozenLake-v1", env_kwargs={"map_name": "a/b"})
    folder = tmp_path / "FrozenLake-v1" / "dqn-weight-env-kwargs=map_name=a-b"
    assert variant_folder(tmp_path, config) == folder


def test_a_long_name_keeps_its_first_flags_and_ends_in_a_hash() -> None:
    # Folders with this name exist: the same settings must give it in every version.
    assert folder_name(run()) == (
        "dqn-weight-learning-rate=3e-05-max-grad-norm=7.5-batch-size=48-buffer-size=12345-"
        "warmup-steps=777-etc-9af0523861556d2a"
    )
    assert len(folder_name(run())) <= LONGEST_BYTES < len(run().name)


def test_no_flag_is_cut_in_half() -> None:
    for config in (run(), run(learning_rate="1e-7"), run(agent="dqn", norm_where="hidden1")):
        flags = [f"-{flag_name(name)}={value}" for name, value in config.departures.items()]
        kept = folder_name(config).rpartition("-etc-")[0]
        assert kept in ["dqn-weight" + "".join(flags[:k]) for k in range(1, len(flags))]


def test_names_that_differ_at_their_end_alone_have_different_folders() -> None:
    assert len({folder_name(run(hidden=k)) for k in range(1, 201)}) == 200


def test_a_name_without_flags_is_cut_between_characters() -> None:
    assert shortened("ü" * 200).startswith("ü" * 49 + "-etc-")
    assert len(shortened("ü" * 200).encode()) <= LONGEST_BYTES
    assert shortened("ü" * 200) != shortened("ü" * 201)


def test_the_name_of_an_environment_is_shortened_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = f"{'Deep' * 50}Maze-v0"
    monkeypatch.setitem(gymnasium.registry, env, EnvSpec(env))
    assert variant_folder(tmp_path, make_config(env=env)).parent.name == shortened(env)
    (tmp_path / env).mkdir()
    assert variant_folder(tmp_path, make_config(env=env)).parent.name == env


def test_train_and_compare_use_the_same_folder() -> None:
    (planned,) = make_grid(
        MANY, envs=["toy/Catch"], norms=["weight"], sweep={}, seeds=[1], out=Path("runs")
    )
    assert planned.folder == run_dir_of(run())


def test_an_existing_folder_with_the_whole_name_is_used(tmp_path: Path) -> None:
    """Earlier versions made folders with names of up to 255 bytes."""
    whole = tmp_path / "toy-Catch" / run().name
    (whole / "seed1").mkdir(parents=True)
    (planned,) = make_grid(
        MANY, envs=["toy/Catch"], norms=["weight"], sweep={}, seeds=[1], out=tmp_path
    )
    assert planned.folder == whole / "seed1"
    assert variant_folder(tmp_path, run(seed=2)) == whole
    assert variant_folder(tmp_path, run(gamma=0.9)).name == folder_name(run(gamma=0.9))


def test_a_name_that_no_file_system_takes_is_shortened(tmp_path: Path) -> None:
    more = {"hidden": 77, "update_period_steps": 3, "loss": "mse", "clip_rewards": True}
    config = run(**more, optimizer="radam", beta1=0.77, optimizer_eps=1e-3, epsilon_start=0.7)
    assert len(config.name) > 255
    variant_folder(tmp_path, config).mkdir(parents=True)
