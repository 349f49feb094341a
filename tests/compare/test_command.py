"""The whole command with real runs of a toy: it ends, repeats and survives kills."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wnrl.compare import command as compare
from wnrl.compare.folder_lock import locked
from wnrl.train import command
from wnrl.train.storage.run_status import saved_steps

LIMIT_S = 80
RUNS = ["--warmup-steps=200", "--eval-every-steps=0", "--no-wall-time", "--update-period-steps=4"]
GRID = ["--env", "toy/Catch", "--jobs=2", *RUNS, "--norm", "none", "weight"]


def go(*arguments: object) -> int:
    return compare.main([str(argument) for argument in arguments])


def episodes(out: Path) -> dict[str, bytes]:
    return {str(f.relative_to(out)): f.read_bytes() for f in sorted(out.rglob("episodes.csv"))}


def rows_of(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "scores.csv").read_text().splitlines()))


@pytest.mark.slow
def test_a_grid_is_run_reported_and_not_run_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    grid = [*GRID, "--seeds=1", "--steps=600", "--out", out]
    assert go(*grid, "--dry-run", "--no-calibrate") == 0
    output = capsys.readouterr().out
    assert "2 runs of dqn, 0 done: toy/Catch; norm none, weight; 1 seed" in output
    assert f"{out}/toy-Catch/dqn-none-warmup-steps=200-update-period-steps=4/seed1  to do" in output
    assert not out.exists()

    assert go(*grid) == 0
    captured = capsys.readouterr()
    assert captured.err.count(" started") == 2
    assert "1 seed: nothing can be concluded. Run at least 3." in captured.out
    files = ["summary.md", "scores.csv", "verdicts.csv", "curves.csv"]
    files += ["differences.png", "differences.svg", "curves.png", "curves.svg", "report.html"]
    assert captured.out.endswith(f"wrote {', '.join(files)} to {out}\n")
    summary = (out / "summary.md").read_text()
    assert summary in captured.out
    assert "- command: python -m wnrl.compare --env toy/Catch --jobs=2 " in summary
    assert "Not measured: runs trained in parallel" in summary
    scores = rows_of(out)
    assert [row["norm"] for row in scores] == ["none", "weight"]
    assert all(row["done"] == "yes" and float(row["final_return"]) <= 1 for row in scores)
    folders = sorted(path.parent for path in out.rglob("config.json"))
    assert all("done at 60" in (folder / "train.log").read_text() for folder in folders)

    by_hand = tmp_path / "by-hand"
    flags = ["--env=toy/Catch", "--norm=none", "--steps=600", "--no-calibrate", *RUNS]
    assert command.main([*flags, f"--run-dir={by_hand}"]) == 0
    assert (by_hand / "episodes.csv").read_bytes() == (folders[0] / "episodes.csv").read_bytes()

    before = episodes(out), [(out / name).read_bytes() for name in files]
    capsys.readouterr()
    assert go(*grid) == 0
    assert " started" not in capsys.readouterr().err
    assert (episodes(out), [(out / name).read_bytes() for name in files]) == before
    assert go(*grid, "--learning-rate=0.5", "--dry-run") == 2
    assert "--learning-rate 0.5 vs" in capsys.readouterr().err
    assert go(*grid, "--threads=2", "--dry-run") == 2
    assert "seed1 holds a run with other settings: --threads 2 vs 1" in (capsys.readouterr().err)
    assert go(*grid[:-3], "--steps=300", "--out", out) == 2
    assert "was planned with 600 agent steps; give --steps 600" in capsys.readouterr().err


@pytest.mark.slow
def test_the_games_of_minatar_are_a_grid_by_one_name(tmp_path: Path) -> None:
    out = tmp_path / "out"
    runs = ["--agent=pqn", "--num-envs=8", "--rollout-steps=16", "--minibatches=4", "--seeds=1"]
    grid = ["--env", "minatar", "--norm", "none", "--steps=400", "--eval-every-steps=0", *runs]
    assert go(*grid, "--jobs=2", "--out", out) == 0
    games = ["Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders"]
    assert sorted(path.name for path in out.glob("MinAtar*")) == [f"MinAtar-{x}-v1" for x in games]
    assert [row["env"] for row in rows_of(out)] == [f"MinAtar/{x}-v1" for x in games]
    assert all(row["done"] == "yes" for row in rows_of(out))


@pytest.mark.slow
def test_a_run_that_cannot_go_on_is_reported_and_the_others_are_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "dqn-weight-warmup-steps=200-update-period-steps=4"
    broken = tmp_path / "toy-Catch" / name / "seed1"
    broken.mkdir(parents=True)
    (broken / "config.json").write_text("{")
    assert go(*GRID, "--seeds=1", "--steps=300", "--out", tmp_path) == 1
    captured = capsys.readouterr()
    assert f"{broken} failed: wnrl.train: {broken}/config.json cannot be read" in captured.err
    assert f"- {broken.relative_to(tmp_path)}: " in captured.out
    assert "| none | 1 |" in captured.out
    assert "| weight | 0 of 1 (1 failed) |" in captured.out


def test_a_folder_is_one_comparisons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with locked(tmp_path):
        assert go(*GRID, "--seeds=1", "--steps=300", "--out", tmp_path) == 2
    assert "in use by another comparison" in capsys.readouterr().err


class Command:
    """The command in a subprocess, and the processes that it started."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, "-m", "wnrl.compare", *map(str, arguments)]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def children(self) -> dict[int, str]:
        """Return the command lines of its runs, by process id."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return {
            int(pid): Path(f"/proc/{pid}/cmdline").read_text() for pid in listed.read_text().split()
        }


def until(reached: Iterator[bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    for yes in reached:
        if yes:
            return
        assert time.monotonic() < deadline
        time.sleep(0.05)


def has_saved(out: Path, runs: int, steps: int) -> Iterator[bool]:
    """Yield, again and again, whether enough runs have a checkpoint of at least these steps."""
    while True:
        folders = [path.parent for path in out.rglob("config.json")]
        yield sum(saved_steps(folder) >= steps for folder in folders) >= runs


LONG = [*GRID, "--seeds=1", "--steps=1400", "--checkpoint-every-steps=200"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_kills_of_runs_and_of_the_command_change_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert go(*LONG, "--out", whole) == 0

    first = Command(*LONG, "--out", killed)
    until(has_saved(killed, 1, 200))
    os.kill(next(iter(first.children())), signal.SIGKILL)
    until(has_saved(killed, 2, 400))
    children = list(first.children())
    assert children
    first.process.kill()
    output = first.process.communicate()[0]
    assert "ended early: killed by SIGKILL" in output

    second = Command(*LONG, "--out", killed)  # at once: what the first left is still ending
    output = second.process.communicate(timeout=LIMIT_S)[0]
    assert second.process.returncode == 0, output
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    assert len(episodes(whole)) == 2
    assert episodes(killed) == episodes(whole)
    tables = [rows_of(out) for out in (killed, whole)]
    for row in [*tables[0], *tables[1]]:
        del row["act_ms"], row["update_ms"]  # which no two runs share
    assert tables[0] == tables[1]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_to_interrupt_it_leaves_no_process_and_a_checkpoint_of_each_run(
    tmp_path: Path, signum: signal.Signals
) -> None:
    out = tmp_path / "a  b"
    grid = [*GRID, "--seeds=1", "--steps=1e7", "--checkpoint-every-steps=0", "--out", out]
    command = Command(*grid)
    until(
        all(len(text) > 200 for text in episodes(tmp_path).values())
        and len(episodes(tmp_path)) == 2
        for _ in iter(int, 1)
    )
    children = list(command.children())
    assert len(children) == 2
    os.killpg(command.process.pid, signum)  # as a terminal does; each run is asked once
    output = command.process.communicate(timeout=LIMIT_S)[0]
    assert command.process.returncode == 128 + signum
    assert "stopped; to continue, repeat the command: python -m wnrl.compare --env toy" in output
    assert f" --out '{out}'\n" in output
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    folders = [path.parent for path in tmp_path.rglob("config.json")]
    assert len(folders) == 2
    assert all(saved_steps(folder) > 0 for folder in folders)
    assert all(json.loads((f / "config.json").read_text())["parts"] for f in folders)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_second_signal_kills_the_runs(tmp_path: Path) -> None:
    grid = [*GRID, "--seeds=1", "--steps=1e7", "--checkpoint-every-steps=0", "--out", tmp_path]
    command = Command(*grid)
    until(
        all(len(text) > 200 for text in episodes(tmp_path).values())
        and len(episodes(tmp_path)) == 2
        for _ in iter(int, 1)
    )
    children = list(command.children())
    for pid in children:
        os.kill(pid, signal.SIGSTOP)  # a run that cannot write its checkpoint
    command.process.send_signal(signal.SIGTERM)
    assert command.process.stdout is not None
    line = ""
    while "stopping: every run writes a checkpoint; press again to end now" not in line:
        line = command.process.stdout.readline()
        assert line, "it ended at the first signal"
    command.process.send_signal(signal.SIGINT)
    output = command.process.communicate(timeout=LIMIT_S)[0]
    assert command.process.returncode == 128 + signal.SIGTERM
    assert "stopped; to continue, repeat the command" in output
    assert "Traceback" not in output
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="hangs in a POSIX mutex")
def test_a_run_that_hangs_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    wait, out = tmp_path / "wait", tmp_path / "out"
    wait.write_text("step 100 deaf once")
    monkeypatch.setenv("WAIT_FILE", str(wait))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    grid = ["--env=hanging_envs:Waiting-v0", "--agent=a2c", "--num-envs=2", "--steps=260"]
    grid += ["--norm=none", "--seeds=1", "--no-calibrate", "--eval-every-steps=0"]
    grid += ["--checkpoint-every-steps=20", "--hang-timeout-s=2", "--jobs=1"]
    assert go(*grid, "--out", out) == 0
    said = capfd.readouterr().err
    assert "ended early: wnrl.train: hanging_envs:Waiting-v0 hangs: no step for" in said
    assert "started again (retry 1) from agent step " in said
    assert [path.parent.name for path in out.rglob("hang.txt")] == ["seed1"]


@pytest.mark.slow
def test_a_dry_run_measures_time_and_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert go(*GRID, "--seeds=3", "--steps=5000", "--dry-run", "--out", out) == 0
    output = capsys.readouterr().out
    assert "(measured with one run alone on this machine, toy/Catch, without" in output
    assert "memory  up to" in output
    assert output.count("to do") == 6
    assert not out.exists()


def test_an_environment_in_a_file_that_is_no_text_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "grid.toml"
    file.write_text("env = 5\n")
    assert compare.main(["--config", str(file), "--dry-run"]) == 2
    assert capsys.readouterr().err == "wnrl.compare: --env takes text, not 5\n"
