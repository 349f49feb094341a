"""Each tracker has every scalar of a real run, and the run does not know of it."""

import csv
import getpass
import importlib
import json
import signal
import sys
from pathlib import Path

import pytest
from command_processes import CommandProcess
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tracked_points import CLIP, environment, in_their_folder, read

import wnrl.train
from wnrl.config import make_config
from wnrl.train.flags import parse_train_flags
from wnrl.train.tracking.record import TrackedRun

TRACKERS = ("wandb", "mlflow", "trackio")
RUN = [
    "--env=CartPole-v1",
    "--steps=600",
    "--no-calibrate",
    "--no-wall-time",
    "--log-every-steps=100",
    "--eval-every-steps=300",
    "--eval-episodes=2",
    "--checkpoint-every-steps=200",
    "--histogram-every-steps=0",
    "--eval-video",
]
pytestmark = pytest.mark.slow


def train(folder: Path, *arguments: object) -> CommandProcess:
    return CommandProcess("train", *arguments, folder=folder, **environment(folder))


def content(run: Path) -> dict[str, bytes]:
    """The tables, and the weights of the newest checkpoint."""
    weights = max(run.glob("checkpoints/*/network.pt"))
    paths = [run / "episodes.csv", run / "evaluations.csv", weights]
    return {path.name: path.read_bytes() for path in paths}


def column(run: Path, table: str, name: str) -> list[tuple[int, float]]:
    with (run / table).open() as file:
        return sorted((int(row["agent_step"]), float(row[name])) for row in csv.DictReader(file))


def clips(run: Path) -> dict[int, bytes]:
    """The GIFs in TensorBoard's event files, by agent step."""
    events = EventAccumulator(str(run), size_guidance={"images": 0}).Reload()
    return {image.step: image.encoded_image_string for image in events.Images(CLIP)}


@pytest.fixture(scope="module")
def untracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("untracked")
    assert train(folder, *RUN, f"--run-dir={folder / 'run'}").wait() == 0
    return folder / "run"


@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_tracker_has_the_scalars_of_a_run_stopped_and_resumed(
    tracker: str, untracked: Path, tmp_path: Path
) -> None:
    pytest.importorskip(tracker)
    run = tmp_path / "run"
    first = train(tmp_path, *RUN, "--steps=400", "--schedule-steps=600", f"--run-dir={run}",
                  f"--track={tracker}", "--track-group=several")  # fmt: skip
    assert first.wait() == 0, first.err
    assert "gets nothing more" not in first.err
    identity = json.loads((run / "tracker.json").read_text())["id"]
    assert identity in first.err
    resumed = train(tmp_path, f"--resume={run}", "--steps=600")
    assert resumed.wait() == 0, resumed.err
    assert json.loads((run / "tracker.json").read_text())["id"] == identity

    assert content(run) == content(untracked)  # bit for bit
    (stored,) = read(tracker, tmp_path)
    assert stored.group == "several"
    assert stored.ended
    assert (stored.config["env"], str(stored.config["seed"])) == ("CartPole-v1", "1")
    returns = column(run, "episodes.csv", "raw_return")
    assert len(returns) > 10
    assert stored.of("charts/episodic_return") == returns
    assert stored.of("eval/mean_reward") == column(run, "evaluations.csv", "mean_raw_return")
    assert stored.of("train/loss")
    assert stored.clips == clips(run)
    assert len(stored.clips) == 2
    last_step = json.loads((run / "status.json").read_text())["agent_steps"]
    assert stored.of("final/episodes")[-1] == (last_step, len(returns))


def test_ctrl_c_ends_the_run_of_the_tracker_too(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    run = tmp_path / "run"
    process = train(tmp_path, *RUN, "--steps=1_000_000", f"--run-dir={run}", "--track=wandb")
    process.until(lambda: (run / "episodes.csv").exists() and column(run, "episodes.csv", "env"))
    process.send(signal.SIGINT)
    assert process.wait() == 130
    (stored,) = read("wandb", tmp_path)
    assert stored.ended
    assert stored.of("charts/episodic_return") == column(run, "episodes.csv", "raw_return")


def test_trackio_is_silent_and_leaves_the_output_of_the_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("trackio")
    trackio_run = importlib.import_module("wnrl.train.tracking.trackio_run")
    monkeypatch.setattr(trackio_run.utils, "TRACKIO_DIR", tmp_path)
    trackio_run.run.__dict__["print"]("* Run finished")

    class Slow:
        def finish(self) -> None:
            print("the run's own line, meanwhile")

    trackio_run.TrackioRun(Slow(), "a1").close(failed=False)
    assert capsys.readouterr().out == "the run's own line, meanwhile\n"


def test_mlflow_needs_no_name_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(getpass, "getuser", nameless)
    monkeypatch.delitem(sys.modules, "wnrl.train.tracking.mlflow_run", raising=False)
    importlib.import_module("wnrl.train.tracking.mlflow_run")


def test_wandb_waits_for_a_server_no_longer_than_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    wandb_run = importlib.import_module("wnrl.train.tracking.wandb_run")
    monkeypatch.setattr(wandb_run, "_OPEN_S", 0.5)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody answers there
    monkeypatch.setenv("WANDB_API_KEY", 40 * "a")
    with pytest.raises(wandb.errors.CommError):
        wandb_run.open_run(TrackedRun("run", "", {}, None))


@pytest.mark.filterwarnings("ignore")  # SQLAlchemy warns of what MLflow calls
def test_a_store_that_breaks_in_the_middle_costs_one_line(
    untracked: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("mlflow")
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    run, base = tmp_path / "run", tmp_path / "mlflow.db"
    arguments = [*RUN, f"--run-dir={run}", "--track=mlflow"]
    for tick in wnrl.train.train(make_config(parse_train_flags(arguments)[1])):
        if tick.agent_steps >= 300 and base.stat().st_size > 20_000:
            base.write_bytes(b"no database" * 1_000)
    assert column(run, "episodes.csv", "raw_return")[-1][0] > 300
    assert capsys.readouterr().err.count("mlflow gets nothing more") == 1
    assert content(run) == content(untracked)


def test_a_comparison_is_one_group_with_its_report(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    out = tmp_path / "several"
    arguments = ["--env=toy/Catch", "--norm", "none", "layer", "--agent=a2c", "--seeds=1"]
    process = CommandProcess(
        "compare", *arguments, "--jobs=2", "--steps=200", "--track=mlflow", f"--out={out}",
        folder=tmp_path, before=in_their_folder, **environment(tmp_path),
    )  # fmt: skip
    assert process.wait() == 0, process.err
    stored = read("mlflow", tmp_path)
    assert [run.group for run in stored] == ["several"] * 3
    (report,) = (run for run in stored if not run.config)
    assert report.files == ["report.html"]
    runs = {str(run.config["norm"]): run for run in stored if run.config}
    assert runs.keys() == {"none", "layer"}
    for run in runs.values():
        folder = Path(str(run.config["run_dir"]))
        assert run.of("charts/episodic_return") == column(folder, "episodes.csv", "raw_return")
