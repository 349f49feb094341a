"""Runs in surroundings that are poorer than usual."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from command_processes import CommandProcess, few_files, no_home, nothing

from wnrl.train.storage.checkpoint import Checkpoints
from wnrl.train.storage.csv_log import EPISODES

SHORT = ["--env=toy/Catch", "--warmup-steps=200", "--eval-every-steps=100", "--steps=300"]
SHORT += ["--no-wall-time"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "environment"),
    [
        (few_files, {}),
        (no_home, {}),
        (nothing, {"TMPDIR": "/nowhere"}),
    ],
    ids=["64 open files", "no HOME", "no TMPDIR"],
)
def test_a_run_trains_and_is_evaluated(
    tmp_path: Path, before: Callable[[], None], environment: Mapping[str, str]
) -> None:
    run = tmp_path / "Läufe mit Leerzeichen" / "run"
    arguments = [*SHORT, f"--run-dir={run}"]
    train = CommandProcess("train", *arguments, folder=tmp_path, before=before, **environment)
    assert train.wait() == 0, train.err
    assert Checkpoints(run).latest() is not None
    assert len((run / EPISODES).read_text().splitlines()) > 20
    evaluate = CommandProcess(
        "evaluate", run, "--episodes=3", folder=tmp_path, before=before, **environment
    )
    assert evaluate.wait() == 0, evaluate.err
    assert "Traceback" not in train.err + evaluate.err
