"""The command line: flags, files, and what a misspelt one is told."""

from pathlib import Path

import pytest

from wnrl._settings import SettingError, UsageError
from wnrl.compare.flags import parse_compare_flags
from wnrl.config import fields_of, make_config
from wnrl.train import command
from wnrl.train.flags import describe, one_line, parse_train_flags, read_toml, train_parser


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


@pytest.mark.parametrize(
    "text",
    [
        "env_kwargs = 'is_slippery=false map_name=8x8'\n",
        "env_kwargs = ['map_name=8x8', 'is_slippery=false']\n",
        "[env_kwargs]\nmap_name = '8x8'\nis_slippery = false\n",
        "[run]\nenv_kwargs = { map_name = '8x8', is_slippery = false }\n",
    ],
)
def test_arguments_of_the_environment_have_one_text(tmp_path: Path, text: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(f"env = 'FrozenLake-v1'\n{text}")
    _, from_file = parse_train_flags(["--config", str(file)])
    flags = ["--env=FrozenLake-v1", "--env-kwargs", "map_name=8x8", "is_slippery=False", "--seed=1"]
    _, from_flags = parse_train_flags(flags)
    for settings in (from_file, from_flags):
        assert make_config(settings).run.env_kwargs == "is_slippery=false map_name=8x8"
    _, both = parse_train_flags(["--config", str(file), "--env-kwargs=map_name=4x4"])
    assert make_config(both).run.env_kwargs == "map_name=4x4"


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
        (["--lr=1"], "'--lr=1'; .*did you mean --learning-rate.$"),
        (["--total-timesteps=9"], "; did you mean --steps.$"),
        (["--n-envs=9"], "; did you mean --num-envs.$"),
        (["--frameskip=4"], "; did you mean --frame-skip.$"),
        (["--n-steps=5"], "; did you mean --n-step.$"),
        (["--agent=ppo", "--n-steps=5"], "; did you mean --rollout-steps.$"),
        (["--agent=ppo", "--batch-size=5"], "; did you mean --minibatches.$"),
        (["--clip-range=0.1"], "; --clip-range is for agent ppo, not for dqn$"),
        (["--no-clip-range-decay"], "; --clip-range-decay is for agent ppo, not for dqn$"),
        (["--agent=a2c", "--clip-coef=0.1"], "; --clip-range is for agent ppo, not for a2c$"),
        (["--ent-coef=0"], "; --entropy-coef is for agents a2c and ppo, not for dqn$"),
        (["--anneal-lr"], "; --learning-rate-decay is for agents pqn, a2c and ppo, not for dqn$"),
        (["--agent=ppo", "--buffer_size=9"], "; --buffer-size is for agent dqn, not for ppo$"),
        (["--learning_rate=1"], "; did you mean --learning-rate.$"),
        (["--env-id=Pong"], "; did you mean --env.$"),
        (["--cuda"], "; did you mean --device.$"),
        (["-n", "9"], "; did you mean --steps.$"),
        (["--capture-video"], "; wnrl.evaluate RUN_DIR --video play.gif records an episode"),
        (["--seeds=3"], "; a run has one --seed; wnrl.compare takes --seeds$"),
        (["--target-kl=3"], "; wnrl has no such setting$"),
        (["--rainbow"], "lists every flag$"),
        (["--norm=batchnorm"], "did you mean batch.$"),
        (["--agent=sac"], "dqn, pqn, a2c, ppo; wnrl.sb3 has policies for Stable-Baselines3's$"),
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


def test_a_message_is_never_longer_than_a_line() -> None:
    short = UsageError(f"a/{'b' * 200}: is not a number")
    assert one_line(short) == str(short)
    long = one_line(SettingError("norm_eps", f"{'x' * 6000!r} is out of range; it must be under 1"))
    assert len(long) == 280
    assert long.startswith("--norm-eps 'xxx")
    assert long.endswith("xxx' is out of range; it must be under 1")
    many = one_line(UsageError("what came " + "a b " * 2_000 + "what to do"))
    assert len(many) == 280
    assert many.startswith("what came a b")
    assert many.endswith("a b what to do")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xef\xbb\xbfsteps = 5", ""),
        (b"a" + b".a" * 50_000 + b" = 1", "has 100,005 bytes|dots"),
        (b"a" + b".a" * 20_000 + b" = 1", "more than 1000 lines, dots or brackets"),
        (b"x = " + b"[" * 5_000, "more than 1000 lines, dots or brackets"),
        (b"x = " + b"[" * 900, "is not TOML"),
        (b"x = " + b"9" * 5_000, "is not TOML"),
        (b"\xff", "is not TOML"),
    ],
)
def test_a_file_of_settings_is_read_or_refused_at_once(
    content: bytes, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "run.toml"
    file.write_bytes(content)
    if not message:
        assert read_toml(str(file)) == {"steps": 5}
        return
    with pytest.raises(UsageError, match=message):
        read_toml(str(file))


def test_text_that_cannot_be_shown_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("a\x00b", "a\x1b[31m", "a\udcff"):
        with pytest.raises(UsageError, match=r"without control characters"):
            make_config(run_dir=text)
        assert command.main([f"--run-dir={text}"]) == 2
        assert "is not UTF-8 or has control characters" in capsys.readouterr().err


def test_a_setting_of_another_agent_has_the_same_hint_in_python_and_in_a_comparison() -> None:
    with pytest.raises(UsageError, match=r"; clip_range is for agent ppo, not for dqn$"):
        make_config(clip_coef=0.1)
    with pytest.raises(UsageError, match=r"unknown setting 'verbose' of agent dqn; .* lists them$"):
        make_config(verbose=1)  # the hint to a flag would be wrong here
    with pytest.raises(UsageError, match=r"; --clip-range is for agent ppo, not for pqn$"):
        parse_compare_flags(["--agent=pqn", "--clip-range=0.1"])
