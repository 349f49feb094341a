"""Runs that are killed again and again end as runs that were never stopped, byte for byte.

`pytest tests/train/test_kills.py -m slow --kills 60` is the long form.
"""

import random
from pathlib import Path

import pytest
from kills import differences, run_killed, run_whole

from wnrl.train import evaluation

COMMON = ["--no-wall-time", "--no-calibrate", "--threads=1", "--log-every-steps=100"]
TOY = [
    *COMMON,
    "--env=toy/Catch",
    "--steps=900",
    "--warmup-steps=100",
    "--checkpoint-every-steps=150",
    "--eval-every-steps=200",
]
ATARI = [*COMMON, "--checkpoint-every-steps=300", "--eval-every-steps=600", "--eval-episodes=2"]
DQN = ["--warmup-steps=200", "--buffer-size=1000", "--num-envs=4", "--steps=1600"]
ROLLOUTS = ["--num-envs=4", "--rollout-steps=16", "--steps=1600"]
RECURRENT_DQN = ["--recurrent", "--burn-in-steps=4", "--sequence-steps=8", "--batch-size=8"]
AGENTS = {
    "dqn": ["--env=Breakout", "--norm=weight", *DQN],
    "recurrent-dqn": ["--env=Pong", "--norm=layer", "--protocol=sticky", *DQN, *RECURRENT_DQN],
    "pqn": [
        "--agent=pqn", "--env=Breakout", "--norm=rms", "--protocol=sticky", "--minibatches=4",
        *ROLLOUTS,
    ],
    "a2c": ["--agent=a2c", "--env=Pong", "--norm=batch", *ROLLOUTS],
    "ppo": ["--agent=ppo", "--env=Breakout", "--norm=spectral", "--epochs=2", *ROLLOUTS],
    "recurrent-ppo": [
        "--agent=ppo", "--recurrent", "--env=Pong", "--norm=weight", "--weight-storage=gv",
        "--protocol=sticky", "--epochs=2", *ROLLOUTS,
    ],
    "custom-a2c": [
        "--agent=a2c", "--env=Breakout", "--norm=none", "--mode=12", "--difficulty=1",
        "--sticky=0.1", "--noop-max=4", "--no-fire-reset", "--full-action-space", "--frame-skip=2",
        "--max-episode-steps=120", "--screen-size=42", *ROLLOUTS,
    ],
}  # fmt: skip


@pytest.mark.slow
def test_a_run_killed_in_every_phase_ends_as_one_never_stopped(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_whole(TOY, whole)
    hit = run_killed(TOY, killed, 4, random.Random(1))
    assert sum(hit.values()) >= 3
    assert differences(whole, killed) == []


@pytest.mark.slow
def test_a_minatar_run_killed_in_every_phase_ends_as_one_never_stopped(tmp_path: Path) -> None:
    arguments = [
        *COMMON, "--env=minatar/seaquest", "--agent=pqn", "--minibatches=4", "--eval-episodes=2",
        "--checkpoint-every-steps=300", "--eval-every-steps=600", *ROLLOUTS,
    ]  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_whole(arguments, whole)
    hit = run_killed(arguments, killed, 4, random.Random(1))
    assert sum(hit.values()) >= 3
    assert differences(whole, killed) == []


@pytest.mark.slow
@pytest.mark.parametrize("agent", AGENTS)
def test_an_atari_run_killed_in_every_phase_ends_as_one_never_stopped(
    agent: str, tmp_path: Path, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "MAX_EPISODE_STEPS", 200)  # here and in the forks
    arguments = [*ATARI, *AGENTS[agent]]
    wanted, kills, number = pytestconfig.getoption("--kills"), 0, 0
    whole = tmp_path / "whole"
    run_whole(arguments, whole)
    while kills < wanted:
        number += 1
        run = tmp_path / f"killed{number}"
        hit = run_killed(arguments, run, min(10, wanted - kills), random.Random(number))
        print(agent, dict(hit))
        kills += sum(hit.values())
        assert differences(whole, run) == []
