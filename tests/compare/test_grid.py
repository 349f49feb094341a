"""Runs of a grid: their order, folders and configurations, and how one is started."""

from pathlib import Path
from typing import Any

import pytest

from wnrl._settings import UsageError
from wnrl.compare.grid import PlannedRun, make_grid, train_arguments
from wnrl.config import Config, make_config
from wnrl.train.flags import parse_train_flags

OUT = Path("out")


def grid(sweep: dict[str, list[str]] | None = None, **given: Any) -> list[PlannedRun]:
    arguments: dict[str, Any] = {"envs": ["Breakout"], "norms": ["none", "weight"], "seeds": [1, 2]}
    settings = {name: value for name, value in given.items() if name not in arguments}
    arguments |= {name: value for name, value in given.items() if name in arguments}
    return make_grid(settings, sweep=sweep or {}, out=OUT, **arguments)


def folders(planned: list[PlannedRun]) -> list[str]:
    return [str(each.folder) for each in planned]


def test_every_normalization_has_a_first_seed_before_any_has_a_second() -> None:
    assert folders(grid(envs=["Breakout", "toy/Catch"], steps=1000)) == [
        "out/Breakout/dqn-none-schedule-steps=1000/seed1",
        "out/Breakout/dqn-weight-schedule-steps=1000/seed1",
        "out/toy-Catch/dqn-none/seed1",
        "out/toy-Catch/dqn-weight/seed1",
        "out/Breakout/dqn-none-schedule-steps=1000/seed2",
        "out/Breakout/dqn-weight-schedule-steps=1000/seed2",
        "out/toy-Catch/dqn-none/seed2",
        "out/toy-Catch/dqn-weight/seed2",
    ]


def test_a_sweep_is_a_product_and_the_default_has_its_usual_folder() -> None:
    swept = {"learning_rate": ["1e-4", "3e-4"], "batch_size": ["32", "64"]}
    assert folders(grid(swept, norms=["none"], seeds=[1])) == [
        "out/Breakout/dqn-none/seed1",
        "out/Breakout/dqn-none-batch-size=64/seed1",
        "out/Breakout/dqn-none-learning-rate=0.0003/seed1",
        "out/Breakout/dqn-none-learning-rate=0.0003-batch-size=64/seed1",
    ]
    assert [p.config.agent.double for p in grid({"double": ["on", "off"]}, norms=["none"])] == [
        True,
        False,
        True,
        False,
    ]


def test_arguments_of_environments_can_be_swept_and_reach_the_run() -> None:
    swept = grid({"env_kwargs": ["map_name=4x4", "map_name=8x8"]}, envs=["FrozenLake-v1"])
    assert folders(swept)[::2][:2] == [
        "out/FrozenLake-v1/dqn-none-env-kwargs=map_name=4x4/seed1",
        "out/FrozenLake-v1/dqn-none-env-kwargs=map_name=8x8/seed1",
    ]
    several = {"desc": ["SF", "FG"], "is_slippery": False}
    (planned,) = grid(envs=["FrozenLake-v1"], norms=["none"], seeds=[1], env_kwargs=several)
    arguments = train_arguments(planned, resume=False)
    _, settings = parse_train_flags(arguments)
    assert make_config(settings).run.env_kwargs == 'desc=["SF","FG"] is_slippery=false'
    assert make_config(settings).name == planned.config.name


def test_what_is_the_same_run_is_run_once() -> None:
    assert len(grid(envs=["Breakout", "breakout", "ALE/Breakout-v5"])) == 4
    swept = grid({"v_norm": ["weight", "paper"]}, seeds=[1])
    assert folders(swept) == [
        "out/Breakout/dqn-none/seed1",
        "out/Breakout/dqn-weight/seed1",
        "out/Breakout/dqn-weight-v-norm=paper/seed1",
    ]


def test_parameters_go_to_the_normalizations_that_have_them() -> None:
    settings = {"norm.groups": "16"}
    made = make_grid(
        settings, envs=["Breakout"], norms=["none", "group"], sweep={}, seeds=[1], out=OUT
    )
    assert folders(made)[1] == "out/Breakout/dqn-group-norm.groups=16/seed1"
    swept = {"norm.groups": ["8", "16"]}
    made = make_grid(
        {}, envs=["Breakout"], norms=["none", "group"], sweep=swept, seeds=[1], out=OUT
    )
    assert len(made) == 3
    with pytest.raises(UsageError, match=r"norm\.groups is not a parameter of normalization none"):
        make_grid(settings, envs=["Breakout"], norms=["none"], sweep={}, seeds=[1], out=OUT)


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"norm": ["none"]}, "--norm itself takes several"),
        ({"seed": ["1"]}, "--seeds gives the number of seeds"),
        ({"threads": ["1"]}, "is the same in all runs"),
        ({"eval_episodes": ["1"]}, "does not change what is learned"),
        ({"learning_rat": ["1"]}, "did you mean learning_rate"),
        ({"learning_rate": ["fast"]}, "learning_rate takes a number, not 'fast'"),
        ({"steps": ["5"]}, "cannot be swept"),
    ],
)
def test_a_setting_that_cannot_be_swept_is_refused_with_the_reason(
    sweep: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        grid(sweep)


def test_what_is_set_is_not_swept_too() -> None:
    with pytest.raises(UsageError, match="batch_size is both set for all runs and swept"):
        grid({"batch_size": ["32"]}, batch_size="64")


def as_trained(planned: PlannedRun) -> Config:
    commands, settings = parse_train_flags(train_arguments(planned, resume=False))
    assert commands == {}
    return make_config(settings)


@pytest.mark.parametrize(
    "given",
    [
        {"preset": "paper", "double": False, "learning_rate": "1e-3", "steps": "1e6"},
        {"agent": "ppo", "recurrent": True, "progress_every_s": "inf", "envs": ["toy/Catch"]},
        {"norms": ["group"], "norm.groups": "16", "norm_where": "conv1,fc", "threads": "3"},
    ],
)
def test_a_run_is_begun_with_the_settings_that_were_planned(given: dict[str, Any]) -> None:
    for planned in grid(**given):
        started, config = as_trained(planned), planned.config
        assert started.values == config.values
        assert started.name == config.name


def test_a_replay_that_does_not_fit_is_refused_and_not_made_smaller() -> None:
    assert "buffer_size" in as_trained(grid()[0]).explicit


def test_a_run_that_goes_on_is_told_only_what_may_change() -> None:
    planned = grid(steps="1_000", batch_size="64", eval_episodes="3")[0]
    assert train_arguments(planned, resume=True) == [
        f"--resume={planned.folder}",
        "--no-calibrate",
        "--eval-episodes=3",
        "--steps=1000",
    ]
