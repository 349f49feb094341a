"""The command as a user meets it, on toy environments; the real emulator is in test_kills."""

import json
import os
import re
from collections import OrderedDict
from functools import partial
from pathlib import Path

import pytest
from agent_runs import forget_records
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from wnrl import evaluate
from wnrl.config import make_config
from wnrl.envs.call_order import HEARTBEAT
from wnrl.nn.norms.catalogue import NORMS
from wnrl.nn.norms.record import KINDS
from wnrl.optim.normalizing_step import NormalizingOptimizer
from wnrl.train import command
from wnrl.train import run as train
from wnrl.train.build import build_env, build_network, resolve
from wnrl.train.exit_codes import ExitCode
from wnrl.train.storage.checkpoint import Checkpoints
from wnrl.train.storage.run_folder import read_config
from wnrl.train.storage.run_status import RunState, read_status

# An update every 4 agent steps: learning takes most of the time of a run.
SHORT = ["--env=toy/Catch", "--warmup-steps=200", "--update-period-steps=4"]
FAST = [*SHORT, "--no-calibrate", "--eval-every-steps=0"]


def go(*arguments: object) -> int:
    return command.main([str(argument) for argument in arguments])


def final_network(run_dir: Path) -> bytes:
    saved = Checkpoints(run_dir).latest()
    assert saved is not None
    return (saved.path / "network.pt").read_bytes()


@pytest.fixture
def short_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "measure_speed", partial(train.measure_speed, budget_s=0.2))


@pytest.mark.usefixtures("short_calibration")
def test_a_run_ends_by_itself_and_leaves_what_it_should(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    arguments = ["--steps=600", "--log-every-steps=100", "--histogram-every-steps=300"]
    assert go(*SHORT, "--eval-every-steps=400", *arguments, f"--run-dir={run}") == 0
    out, err = capsys.readouterr()
    assert "dqn with norm weight on toy/Catch, seed 1, to 600 agent steps" in out
    assert "memory" in out
    assert "steps per second" in out
    assert "done at 60" in out
    assert "evaluation at step 40" in err

    config = json.loads((run / "config.json").read_text())
    assert config["run"]["env"] == "toy/Catch"
    assert config["run"]["threads"] == 1
    assert config["versions"]["torch"]
    assert "commit" in config
    assert [part["from_agent_step"] for part in config["parts"]] == [0]
    lines = (run / "episodes.csv").read_text().splitlines()
    assert lines[0] == "agent_step,env,raw_return,length,wall_time_s,score_wraps"
    assert len(lines) > 50
    evaluations = (run / "evaluations.csv").read_text().splitlines()
    assert evaluations[0] == "agent_step,episodes,mean_raw_return,mean_length"
    ((step, episodes, mean, length),) = (line.split(",") for line in evaluations[1:])
    assert 400 <= int(step) < 500
    assert (int(episodes), -1 <= float(mean) <= 1, float(length)) == (10, True, 9.0)
    timings = [line.split(",") for line in (run / "timings.csv").read_text().splitlines()]
    assert timings[0] == ["agent_step", "act_ms", "update_ms"]
    assert [int(step) // 100 for step, _, _ in timings[1:]] == [1, 2, 3, 4, 5, 6]
    assert all(float(act_ms) > 0 for _, act_ms, _ in timings[1:])
    status = read_status(run)
    assert (status.state, status.total_steps, status.error) == (RunState.DONE, 600, "")
    assert status.agent_steps == Checkpoints(run).steps()[-1]
    assert status.episodes == len(lines) - 1
    returns = [float(line.split(",")[2]) for line in lines[-100:] if line != lines[0]]
    assert status.mean_return == pytest.approx(sum(returns) / len(returns))

    events = EventAccumulator(str(run), size_guidance={"histograms": 0})
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {
        "rollout/ep_rew_mean",
        "rollout/ep_len_mean",
        "rollout/exploration_rate",
        "time/fps",
        "train/loss",
        "charts/episodic_return",
        "eval/mean_reward",
    } <= tags
    assert "norm_histograms/g/torso.layers.hidden1" in events.Tags()["histograms"]
    assert len(events.Scalars("charts/episodic_return")) == len(lines) - 1

    assert evaluate.main([str(run), "--episodes", "7"]) == 0
    assert "7 episodes, raw return mean" in capsys.readouterr().out


def test_a_run_shorter_than_every_interval_is_logged_at_its_end(tmp_path: Path) -> None:
    assert go(*FAST, "--steps=300", f"--run-dir={tmp_path}") == 0
    events = EventAccumulator(str(tmp_path), size_guidance={"histograms": 0})
    events.Reload()
    assert "train/loss" in events.Tags()["scalars"]
    assert "norm_histograms/v_norm/torso.layers.hidden1" in events.Tags()["histograms"]


def test_the_first_update_does_not_wait_for_a_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiling takes seconds: the watchdog expects no step meanwhile."""
    expected = []
    prepare = NormalizingOptimizer.prepare

    def noted(self: NormalizingOptimizer) -> None:
        expected.append(HEARTBEAT.expected)
        prepare(self)

    monkeypatch.setattr(NormalizingOptimizer, "prepare", noted)
    run = ["--env=toy/Catch", "--steps=40", "--warmup-steps=20", "--no-calibrate"]
    assert go(*run, f"--run-dir={tmp_path / 'run'}") == 0
    assert expected == [False]


def test_resume_goes_on_bit_for_bit_and_may_go_further(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run = [*FAST, "--no-wall-time", "--eval-every-steps=200", "--schedule-steps=500"]
    assert go(*run, "--steps=900", f"--run-dir={whole}") == 0
    assert go(*run, "--steps=500", f"--run-dir={parts}") == 0
    assert go("--resume", parts, "--steps", "900") == 0
    for table in ("episodes.csv", "evaluations.csv"):
        assert (whole / table).read_bytes() == (parts / table).read_bytes()
    assert final_network(whole) == final_network(parts)


@pytest.mark.parametrize("norm", ["none", "weight", "batch", "layer"])
def test_a_run_from_when_layers_had_numbers_goes_on_and_is_evaluated(
    tmp_path: Path, norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run = [*FAST, f"--norm={norm}", "--no-wall-time", "--instruments-every-updates=5"]
    run.append("--schedule-steps=400")
    assert go(*run, "--steps=400", f"--run-dir={whole}") == 0
    with monkeypatch.context() as earlier:

        def numbered(layers: "OrderedDict[str, nn.Module]") -> nn.Sequential:
            return nn.Sequential(*layers.values())

        earlier.setattr("wnrl.nn.networks.mlp.NamedLayers", numbered)
        assert go(*run, "--steps=300", f"--run-dir={parts}") == 0
    saved = Checkpoints(parts).latest()
    assert saved is not None
    assert "torso.layers.1.weight" in saved.network()
    first = list(saved.state()["instruments"]["first"])
    assert "preactivation_std/torso.layers.1" in first
    played = evaluate.evaluate_run(parts, 3)
    assert played.agent_steps == saved.step

    assert go("--resume", parts, "--steps=400") == 0
    assert final_network(whole) == final_network(parts)
    finished = [Checkpoints(path).latest() for path in (whole, parts)]
    noted = [each.state()["instruments"]["first"] for each in finished if each is not None]
    assert list(noted[0]) == list(noted[1])
    assert all(noted[0][tag].equal(noted[1][tag]) for tag in noted[0])
    again = evaluate.evaluate_run(parts, 3)
    assert again.episodes == evaluate.evaluate_run(whole, 3).episodes


def test_a_state_that_cannot_be_read_is_one_line_that_names_its_commit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert go(*FAST, "--steps=250", f"--run-dir={tmp_path}") == 0
    file = tmp_path / "config.json"
    saved = json.loads(file.read_text())
    saved["agent"]["hidden"] = 7  # as if networks were built otherwise since
    saved["parts"][0]["commit"] = "0123abcd"
    file.write_text(json.dumps(saved))
    forget_records(tmp_path)
    capsys.readouterr()
    for call in (
        partial(go, "--resume", tmp_path, "--steps=300"),
        partial(evaluate.main, [str(tmp_path)]),
    ):
        assert call() == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "commit 0123abcd wrote, cannot be read by this version (RuntimeError: " in err
        assert "size mismatch for torso.layers.hidden1.weight" in err
        status = read_status(tmp_path)
        assert status.state is RunState.FAILED
        assert status.error in err
    assert json.loads(file.read_text()) == saved


def test_a_run_killed_before_its_first_checkpoint_starts_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert go(*FAST, "--no-wall-time", "--steps=400", f"--run-dir={whole}") == 0
    ticks = train.train(
        make_config(
            env="toy/Catch",
            warmup_steps=200,
            update_period_steps=4,
            calibrate=False,
            eval_every_steps=0,
            wall_time=False,
            steps=400,
            run_dir=str(killed),
        )
    )
    for _ in range(30):
        next(ticks)
        assert read_status(killed, running=True).state is RunState.RUNNING
    ticks.close()
    assert read_status(killed).state is RunState.STOPPED
    assert go("--resume", killed) == 0
    assert "has no checkpoint yet" in capsys.readouterr().out
    assert (whole / "episodes.csv").read_bytes() == (killed / "episodes.csv").read_bytes()


def test_rows_after_the_last_checkpoint_are_written_once(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    settings = {"env": "toy/Catch", "warmup_steps": 200, "calibrate": False, "wall_time": False}
    settings |= {"update_period_steps": 4, "steps": 500}
    settings |= {"eval_every_steps": 200, "checkpoint_every_steps": 300}
    for _ in train.train(make_config(settings, run_dir=str(whole))):
        pass
    for tick in train.train(make_config(settings, run_dir=str(killed))):
        if tick.agent_steps > 450:
            break
    assert Checkpoints(killed).steps()[-1] < 400  # before the second evaluation
    assert len((killed / "evaluations.csv").read_text().splitlines()) == 3
    assert go("--resume", killed) == 0
    for table in ("episodes.csv", "evaluations.csv"):
        assert (whole / table).read_bytes() == (killed / table).read_bytes()


def test_a_finished_run_says_so_when_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert go(*FAST, "--steps=300", f"--run-dir={run}") == 0
    before = final_network(run)
    capsys.readouterr()
    assert go("--resume", run) == 0
    assert "already done at 30" in capsys.readouterr().out
    assert read_status(run).state is RunState.DONE
    assert final_network(run) == before


def test_a_run_that_was_made_longer_remembers_it(tmp_path: Path) -> None:
    assert go(*FAST, "--steps=300", f"--run-dir={tmp_path}") == 0
    assert go("--resume", tmp_path, "--steps=400") == 0
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["run"]["steps"] == 400
    assert [part["from_agent_step"] >= 300 for part in config["parts"]] == [False, True]


@pytest.mark.parametrize(
    "wrong",
    [["--buffer-size=1e15"], ["--norm=batch", "--batch-size=1"], ["--device=cuda:99"]],
)
def test_what_cannot_be_run_overwrites_nothing(tmp_path: Path, wrong: list[str]) -> None:
    assert go(*FAST, "--steps=250", f"--run-dir={tmp_path}") == 0
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    status = read_status(tmp_path)
    assert go(*FAST, "--steps=250", "--overwrite", f"--run-dir={tmp_path}", *wrong) == 2
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before
    assert read_status(tmp_path) == status
    assert go("--resume", tmp_path, "--steps=300") == 0


def test_an_evaluation_that_was_given_up_is_made_up_for_when_the_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_config(
        env="toy/Catch", steps=400, calibrate=False, eval_every_steps=200, run_dir=str(tmp_path)
    )
    asked = []

    def stop_in_the_first_evaluation() -> bool:
        asked.append(len(asked))
        return len(asked) > 60  # after step 200 comes the evaluation, which asks each step too

    *_, last = train.train(config, should_stop=stop_in_the_first_evaluation)
    assert 200 <= last.agent_steps < 300
    assert "evaluation at step" not in capsys.readouterr().err
    assert go("--resume", tmp_path) == 0
    assert capsys.readouterr().err.count("evaluation at step") == 2


@pytest.mark.usefixtures("short_calibration")
def test_calibration_ends_even_if_no_update_is_ever_due(tmp_path: Path) -> None:
    arguments = ["--update-period-steps=1e9", "--n-step=40", "--num-envs=1", "--steps=300"]
    assert go("--env=toy/Catch", *arguments, f"--run-dir={tmp_path}") == 0


def test_a_folder_that_holds_a_run_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    (run / "mine").mkdir(parents=True)
    assert go(*FAST, "--steps=250", f"--run-dir={run}") == 0
    before = (run / "episodes.csv").read_bytes()
    capsys.readouterr()
    assert go(*FAST, "--steps=250", f"--run-dir={run}") == 2
    assert "already holds a run; continue it with --resume" in capsys.readouterr().err
    assert (run / "episodes.csv").read_bytes() == before
    assert go(*FAST, "--steps=250", "--seed=2", "--overwrite", f"--run-dir={run}") == 0
    assert (run / "episodes.csv").read_bytes() != before
    assert (run / "mine").is_dir()


def test_two_processes_do_not_share_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ticks = train.train(make_config(env="toy/Catch", calibrate=False, run_dir=str(tmp_path)))
    next(ticks)
    assert go(*FAST, f"--run-dir={tmp_path}", "--overwrite") == ExitCode.IN_USE == 5
    assert "in use by process" in capsys.readouterr().err
    ticks.close()


def test_a_run_no_longer_than_its_warm_up_says_that_it_learns_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert go(*FAST, "--steps=200", f"--run-dir={tmp_path}") == 0
    assert "nothing will be learnt: 200 steps end within" in capsys.readouterr().out


def test_data_dependent_initialization_is_reported_and_changes_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, data = tmp_path / "plain", tmp_path / "data"
    for norm in ("none", "weight", "batch", "layer"):
        for init, run in (("default", plain), ("data", data)):
            arguments = [f"--norm={norm}", f"--init={init}", "--steps=230", "--overwrite"]
            assert go(*FAST, *arguments, f"--run-dir={run}") == 0
        assert "data-dependent in 2 layers" in capsys.readouterr().out
        assert final_network(plain) != final_network(data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env=Braekout"], "Breakout"),
        (["--env=combat"], "combat"),
        (["--norm=wieght"], "did you mean weight"),
        (["--lerning-rate=1"], "did you mean --learning-rate"),
        (["--device=cuda:99"], "cuda:99"),
        (["--resume=nowhere"], "no run in nowhere"),
        (["--steps=-1"], "at least 1 agent step"),
        (["--buffer-size=1e15"], "--buffer-size"),
        (["--buffer-size=3"], "too small"),
        (
            ["--norm=batch", "--batch-size=1"],
            "--norm batch needs batches of at least 2, and this run learns from 1",
        ),
        (["--threads=1e12"], "--threads 1_000_000_000_000 is out of range"),
        (["--agent"], "python -m wnrl.train --help"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    env = [] if any("--env" in a or "--resume" in a for a in arguments) else ["--env=toy/Catch"]
    assert go(*env, "--no-calibrate", *arguments) == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert message in err
    assert not list(tmp_path.rglob("config.json")), out
    assert not list(tmp_path.rglob(".lock"))


def test_what_is_fixed_in_a_run_cannot_change_when_it_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert go(*FAST, "--steps=250", f"--run-dir={tmp_path}") == 0
    assert go("--resume", tmp_path, "--batch-size", "16") == 2
    assert "--batch-size cannot change when a run resumes" in capsys.readouterr().err


def test_list_norms_prints_the_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    assert go("--list-norms") == 0
    out = capsys.readouterr().out
    for norm in NORMS.values():
        assert f"{norm.name}: {norm.summary}\n  paper  {norm.paper}" in out
        assert f"  start  with the same seed, {norm.start}\n  layers {norm.where}" in out
    groups = re.split(r"^Normalizes (.*):\n", out, flags=re.MULTILINE)[1:]
    listed = {
        kind: re.findall(r"^([a-z0-9-]+): ", text, flags=re.MULTILINE)
        for kind, text in zip(groups[::2], groups[1::2], strict=True)
    }
    assert list(listed) == list(KINDS)
    for kind, names in listed.items():
        assert names == [norm.name for norm in NORMS.values() if norm.kind == kind]
    assert listed["weights after the step"][:2] == ["projection", "nap"]
    assert listed["nothing"][:3] == ["none", "dyt", "derf"]
    assert (
        "  --norm.groups  groups of channels; must divide the channels of every layer [default 32"
        in out
    )


def test_parameters_and_places_hold_on_resume_and_in_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    chosen = ["--norm=nap", "--norm.eps=0.25", "--norm.final-rate=0.5", "--norm-where=penultimate"]
    run = [*FAST, *chosen, "--no-wall-time", "--schedule-steps=500"]
    assert go(*run, "--steps=500", f"--run-dir={whole}") == 0
    assert go(*run, "--steps=350", f"--run-dir={parts}") == 0
    assert go("--resume", parts, "--steps=500") == 0
    assert final_network(whole) == final_network(parts)
    saved = json.loads((parts / "config.json").read_text())
    assert saved["norm"] == {"eps": 0.25, "final_rate": 0.5}
    assert saved["run"]["norm_where"] == "penultimate"
    events = EventAccumulator(str(whole)).Reload()
    (shown,) = events.Tensors("config/text_summary")
    assert b"| norm_parameters | eps=0.25, final_rate=0.5 |" in shown.tensor_proto.string_val[0]
    assert evaluate.main([str(parts), "--episodes", "2"]) == 0
    restored = resolve(read_config(parts))
    network, _ = build_network(restored, build_env(restored))
    assert "hidden2_norm): LayerNorm((128,), eps=0.25" in repr(network)
    assert "hidden1_norm" not in repr(network)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--norm=grup"], "--norm 'grup' is unknown"),
        (
            ["--norm=layer", "--norm.groups=4"],
            "--norm.groups is not a parameter of normalization layer",
        ),
        (["--norm=group", "--norm.groups=0"], "--norm.groups 0 is out of range"),
        (["--norm=group", "--norm.groups=7"], "--norm.groups 7 does not divide a layer of 128"),
        (["--norm-where=policy"], "this network has no policy head"),
        (["--norm=batch", "--norm-where=all"], "puts batch on the output layer 'head'"),
        (
            ["--norm=batch", "--batch-size=1"],
            "--norm batch needs batches of at least 2, and this run learns from 1",
        ),
        (
            ["--norm=nap", "--steps=200"],
            "200 leaves norm nap, which follows the schedule, no update after warmup_steps",
        ),
    ],
)
def test_a_normalization_that_cannot_be_is_one_line_before_anything_is_said_or_claimed(
    arguments: list[str],
    line: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert go(*FAST, *arguments) == 2
    out, said = capsys.readouterr()
    assert out == ""
    assert line in said
    assert said.count("\n") == 1
    assert not os.listdir(tmp_path)


def test_a_schedule_is_checked_when_a_run_begins_and_not_when_it_goes_on(tmp_path: Path) -> None:
    # One from before the check has no update in its schedule; --steps alone would have none either.
    assert go(*FAST, "--norm=nap", "--steps=300", f"--run-dir={tmp_path}") == 0
    file = tmp_path / "config.json"
    saved = json.loads(file.read_text())
    saved["run"]["schedule_steps"] = 200
    file.write_text(json.dumps(saved))
    forget_records(tmp_path)
    assert go("--resume", tmp_path, "--steps=350") == 0
    assert evaluate.main([str(tmp_path), "--episodes=1"]) == 0


def test_data_dependent_initialization_says_where_the_scale_is_fixed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert go(*FAST, "--norm=spectral", "--init=data", "--steps=210", f"--run-dir={tmp_path}") == 0
    assert (
        "only the mean, since the normalization fixes the scale: torso.layers.hidden1, "
        "torso.layers.hidden2"
    ) in capsys.readouterr().out


def test_the_folder_is_named_by_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert go(*FAST, "--steps=210", "--seed=4", "--norm=layer") == 0
    name = "dqn-layer-warmup-steps=200-update-period-steps=4"
    assert (Path("runs") / "toy-Catch" / name / "seed4" / "config.json").exists()
    assert os.listdir(tmp_path) == ["runs"]
