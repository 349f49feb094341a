"""Runs from before the tables are read from their event files, and get tables when they resume."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.summary.writer.record_writer import RecordWriter
from torch import nn

from wnrl._settings import UsageError
from wnrl.train.log.tensorboard import TensorBoard
from wnrl.train.storage.csv_log import EVALUATIONS, HEADERS, TIMINGS, CsvLog
from wnrl.train.storage.old_runs import Scalars, migrate, read_scalars

CHECKSUM_BYTES = 4  # after a record


def write(folder: Path, steps: list[int], value: float, purge_step: int | None = None) -> None:
    board = TensorBoard(folder, purge_step)
    board.describe({"norm": "weight"}, "run", ["norm"])
    for step in steps:
        board.metrics(step, {"loss": value + step, "time/act_ms": value})
        board.histograms(step, {"norm_histograms/g": torch.arange(5.0)})
    board.metrics(steps[-1], {"time/update_ms": 2 * value})
    board.evaluation(steps[-1], [value], [9])
    board.close()
    for path in folder.glob("*.tfevents.*.*"):  # two of them may begin in the same second
        path.rename(folder / f"events.out.tfevents.{len(list(folder.iterdir()))}")


def test_a_resumed_part_hides_what_the_part_before_wrote_after_the_checkpoint(
    tmp_path: Path,
) -> None:
    assert read_scalars(tmp_path) == Scalars({}, {}, {}, {})
    write(tmp_path, [10, 20, 35], 1.0)
    write(tmp_path, [30, 40], 5.0, purge_step=21)  # its checkpoint was taken at step 20
    assert read_scalars(tmp_path) == Scalars(
        mean_return={40: 5.0},
        mean_length={40: 9.0},
        act_ms={10: 1.0, 20: 1.0, 30: 5.0, 40: 5.0},
        update_ms={40: 10.0},
    )


def test_what_a_kill_cut_off_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, [10], 2.0)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for lost_bytes in range(CHECKSUM_BYTES + 1, 40):  # within the last record
        path.write_bytes(whole[:-lost_bytes])
        scalars = read_scalars(tmp_path)
        assert (scalars.mean_return, scalars.mean_length) == ({10: 2.0}, {})


@pytest.mark.parametrize("broken", [bytes(100), b"\x03" + bytes(11) + b"\xff\xff\xff" + bytes(9)])
def test_what_a_power_cut_left_hides_nothing_before_it(tmp_path: Path, broken: bytes) -> None:
    write(tmp_path, [10], 2.0)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes() + broken)
    assert read_scalars(tmp_path).mean_return == {10: 2.0}


def test_a_record_that_is_no_event_is_one_line_although_its_checksum_is_right(
    tmp_path: Path,
) -> None:
    with (tmp_path / "events.out.tfevents.1").open("wb") as file:
        RecordWriter(file).write(b"\xff" * 20)
    with pytest.raises(UsageError, match=r"the event files of .* are damaged \(DecodeError\)"):
        read_scalars(tmp_path)


def migrated(state: dict[str, Any], folder: Path, step: int) -> dict[str, Any]:
    migrate(state, folder, step, nn.Identity(), {"updates": 0}, eval_episodes=3)
    return state


def test_a_state_without_tables_gets_them_from_the_event_files(tmp_path: Path) -> None:
    write(tmp_path, [10, 20], 1.0)
    write(tmp_path, [30, 40], 5.0)  # after the checkpoint
    recorder = migrated({"recorder": {"episodes": 4}}, tmp_path, 30)["recorder"]
    assert (tmp_path / EVALUATIONS).read_text() == HEADERS[EVALUATIONS] + "20,3,1.0,9.0\n"
    assert (tmp_path / TIMINGS).read_text() == HEADERS[TIMINGS] + "10,1,\n20,1,2\n30,5,\n"
    for name, table in (("evaluations", EVALUATIONS), ("timings", TIMINGS)):
        log = CsvLog(tmp_path / table, HEADERS[table], resume=True)
        log.load_state_dict(recorder[name])
        assert log.state_dict() == recorder[name]


def test_a_state_without_instruments_gets_ones_that_have_read_nothing(tmp_path: Path) -> None:
    state = {"recorder": {"evaluations": {}, "timings": {}}}
    assert migrated(state, tmp_path, 1)["instruments"] == {"updates": 0}
    kept = {"recorder": {"evaluations": {}, "timings": {}}, "instruments": {"updates": 5}}
    assert migrated(kept, tmp_path, 1)["instruments"] == {"updates": 5}
    assert not list(tmp_path.iterdir())
