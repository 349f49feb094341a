"""Scalars are read as TensorBoard reads them, also where a run was killed or goes on."""

from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from wnrl.report.event_files import read_scalars
from wnrl.train.log.tensorboard import TensorBoard

CHECKSUM_BYTES = 4  # behind a record, which is whole without it


def write(folder: Path, steps: list[int], value: float, purge_step: int | None = None) -> None:
    board = TensorBoard(folder, purge_step)
    board.describe({"norm": "weight"})
    for step in steps:
        board.metrics(step, {"loss": value + step, "time/act_ms": value})
        board.histograms(step, {"norm_histograms/g": torch.arange(5.0)})
    board.evaluation(steps[-1], [value], [9])
    board.close()
    for path in folder.glob("*.tfevents.*.*"):  # of which two may begin in the same second
        path.rename(folder / f"events.out.tfevents.{len(list(folder.iterdir()))}")


def test_a_resumed_run_reads_as_in_tensorboard(tmp_path: Path) -> None:
    write(tmp_path, [10, 20, 21, 35], 1.0)
    write(tmp_path, [30, 40], 5.0, purge_step=21)  # its checkpoint was taken at step 20
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    tags = events.Tags()["scalars"]
    theirs = {tag: {x.step: x.value for x in events.Scalars(tag)} for tag in tags}
    assert read_scalars(tmp_path, tags) == theirs
    assert theirs["train/loss"] == {10: 11.0, 20: 21.0, 30: 35.0, 40: 45.0}
    assert theirs["eval/mean_reward"] == {40: 5.0}


def test_only_what_is_asked_for_is_read_and_all_of_it_is_answered(tmp_path: Path) -> None:
    assert read_scalars(tmp_path, ["time/act_ms"]) == {"time/act_ms": {}}
    write(tmp_path, [10], 2.0)
    assert read_scalars(tmp_path, ["time/act_ms", "gone"]) == {"time/act_ms": {10: 2.0}, "gone": {}}


def test_what_a_kill_cut_off_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, [10], 2.0)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for lost_bytes in range(CHECKSUM_BYTES + 1, 40):  # within the last record
        path.write_bytes(whole[:-lost_bytes])
        found = read_scalars(tmp_path, ["eval/mean_reward", "eval/mean_ep_length"])
        assert found == {"eval/mean_reward": {10: 2.0}, "eval/mean_ep_length": {}}


@pytest.mark.parametrize("broken", [bytes(100), b"\x03" + bytes(11) + b"\xff\xff\xff" + bytes(9)])
def test_what_a_power_cut_left_hides_nothing_before_it(tmp_path: Path, broken: bytes) -> None:
    write(tmp_path, [10], 2.0)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes() + broken)
    assert read_scalars(tmp_path, ["eval/mean_reward"]) == {"eval/mean_reward": {10: 2.0}}
