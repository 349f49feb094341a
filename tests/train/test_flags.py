"""The command line: flags, files, and what a misspelt one is told."""

from pathlib import Path

import pytest

from wnrl._settings import UsageError
from wnrl.config import fields_of, make_config
from wnrl.train.flags import describe, parse_train_flags, train_parser


def test_flags_become_settings_and_commands() -> None:
    commands, settings = parse_train_flags(
        ["--env", "Pong", "--double", "--no-clip-rewards", "--steps=5", "--overwrite"]
    )
    assert settings == {"env": "Pong", "double": True, "clip_rewards": False, "steps": "5"}
    assert commands == {"overwrite": True}


def test_what_is_not_given_is_absent() -> None:
    assert parse_train_flags([]) == ({}, {})


def test_a_flag_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("env = 'Pong'\nbatch-size = 64\n[run]\nseed = 4\n")
    _, settings = parse_train_flags(["--config", str(file), "--seed", "5"])
    assert settings == {"env": "Pong", "batch_size": 64, "seed": "5"}


def test_parameters_of_the_normalization_are_flags_and_quoted_keys(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("norm = 'batch-renorm'\n\"norm.eps\" = 1e-2\n'norm.r-max' = 2.0\n")
    _, settings = parse_train_flags(["--config", str(file), "--norm.eps=1e-4"])
    config = make_config(settings)
    assert (config.norm.eps, config.norm.r_max, config.norm.d_max) == (1e-4, 2.0, 5.0)
    _, settings = parse_train_flags(["--norm", "spectral", "--norm.leave-smaller"])
    assert make_config(settings).norm.leave_smaller is True


@pytest.mark.parametrize(
    "text",
    [
        "norm = 'group'\n'norm.eps' = 1e-3\n'norm.groups' = 16\n",
        "seed = 1\n[norm]\nname = 'group'\neps = 1e-3\ngroups = 16\n",
        "norm.name = 'group'\nnorm.eps = 1e-3\nnorm.groups = 16\n",
        "norm = { name = 'group', eps = 1e-3, groups = 16 }\n",
        "[run]\nnorm = 'group'\n[norm]\neps = 1e-3\ngroups = 16\n",
        "[run.norm]\nname = 'group'\neps = 1e-3\ngroups = 16\n",
    ],
)
def test_a_table_of_the_normalization_is_its_name_and_parameters(tmp_path: Path, text: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    _, settings = parse_train_flags(["--config", str(file)])
    config = make_config(settings)
    assert (config.run.norm, config.norm.eps, config.norm.groups) == ("group", 1e-3, 16)
    _, settings = parse_train_flags(["--config", str(file), "--norm.groups=8"])
    assert make_config(settings).norm.groups == 8


@pytest.mark.parametrize(
    "text",
    [
        "norm = 'layer'\nnorm.eps = 1e-3\n",
        "norm.eps = 1e-3\nnorm = 'layer'\n",
        "norm = 'layer'\n[norm]\neps = 1e-3\n",
    ],
)
def test_what_toml_forbids_is_told_the_two_forms(tmp_path: Path, text: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=r'"norm.eps" = 1e-3.* name = "layer" in the table .norm'):
        parse_train_flags(["--config", str(file)])


def test_help_lists_the_parameters_of_the_chosen_normalization() -> None:
    text = " ".join(train_parser("dqn", "group").format_help().split())
    assert "the normalization (group): --norm.groups INT groups of channels" in text
    assert "[default 32; source: Wu & He 2018" in text
    assert "--norm.groups" not in train_parser("dqn").format_help()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--lerning-rate", "1"],
            "unknown argument '--lerning-rate'.*did you mean --learning-rate",
        ),
        (["--stepss=4"], "unknown argument '--stepss=4'.*did you mean --steps"),
        (["Breakout"], "unknown argument 'Breakout'"),
        (["--agent", "dqm"], "agent 'dqm' is unknown; allowed: dqn"),
        (["--norm", "gruop"], "norm 'gruop' is unknown; .*did you mean group"),
        (
            ["--norm=group", "--norm.group=4"],
            "norm.group is not a parameter of normalization group, which has groups.*mean groups",
        ),
        (
            ["--norm.eps", "1"],
            "norm.eps is not a parameter of normalization weight, which has no parameters",
        ),
        (["--resume", "there", "--norm.eps=1"], "norm.eps cannot change when a run resumes"),
        (["--steps"], "--steps needs a value"),
        (["--agent"], "python -m wnrl.train --help"),
        (["--config", "nowhere.toml"], "nowhere.toml: No such file"),
    ],
)
def test_a_wrong_argument_is_told_the_nearest(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_train_flags(arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps = ", "is not TOML: [^;]*$"),
        ("steps = 1\n[run]\nsteps = 2\n", "'steps' is in the file twice"),
        ("[run]\nnorm = 'group'\n[norm]\nname = 'layer'\n", "'norm' is in the file twice"),
        ("[norm]\nr-max = 2\nr_max = 3\n", "'norm.r_max' is in the file twice"),
        (
            "[norm]\nnorm = 'layer'\n",
            "the table .norm. names the normalization `norm`; call it `name`",
        ),
        ("[norm]\nname = 3\n", "norm takes text, not 3"),
        ("[norm]\nname = 'wieght'\n", "did you mean weight"),
    ],
)
def test_a_wrong_file_is_told_why(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        parse_train_flags(["--config", str(file)])


def test_an_agent_of_a_file_is_checked_too(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    for value in ("3", "['dqn']", "'dqm'"):
        file.write_text(f"agent = {value}\n")
        with pytest.raises(UsageError, match=r"agent .* is unknown; allowed: dqn"):
            parse_train_flags(["--config", str(file)])


def test_help_lists_every_setting_with_default_unit_and_source() -> None:
    text = " ".join(train_parser("dqn").format_help().split())
    for name, field in fields_of("dqn").items():
        assert f"--{name.replace('_', '-')}" in text
        assert field.metadata["source"], name
        assert " ".join(describe(field).split()) in text, name
    assert "capacity of the replay [default 100_000 transitions; source: SB3 zoo" in text


def test_the_flags_that_help_names_for_other_environments_are_their_defaults() -> None:
    text = train_parser("dqn").format_help()
    flags = text.split("On other environments they are:")[1].split()
    assert make_config(parse_train_flags(flags)[1], env="CartPole-v1").agent == (
        make_config(env="CartPole-v1").agent
    )
    assert make_config(parse_train_flags(flags)[1]).agent == make_config(env="CartPole-v1").agent


def test_a_flag_of_another_agent_is_told_where_the_flags_of_this_one_are() -> None:
    with pytest.raises(
        UsageError, match=r"'--recurrent'; `python -m wnrl.train --agent a2c --help`"
    ):
        parse_train_flags(["--agent", "a2c", "--recurrent"])
