"""A checkpoint that a thread writes has the guarantees of one that the training waits for."""

import errno
import gc
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from file_calls import FileCalls

from wnrl._settings import UsageError
from wnrl.config import make_config
from wnrl.rl import npy_rows
from wnrl.rl.replay import Replay
from wnrl.train.run import resume, train
from wnrl.train.storage import checkpoint_manifest
from wnrl.train.storage.atomic_files import fingerprint, write_file
from wnrl.train.storage.background import Background
from wnrl.train.storage.checkpoint import CheckpointError, Checkpoints, Content, Saved
from wnrl.train.storage.checkpoint_manifest import BrokenCheckpoint, Manifest, read_manifest

LIMIT_S = 60.0


class Gate:
    """Holds up the thread of a save until it is opened."""

    def __init__(self) -> None:
        self.reached, self._open = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self._open.wait(LIMIT_S)

    def open(self) -> None:
        self._open.set()


def begin(checkpoints: Checkpoints, step: int, before: Callable[[], None], **state: Any) -> None:
    ones = {"w": torch.ones(2)}
    checkpoints.save(step, {"step": step, **state}, ones, before=before, wait=False)


def test_what_changes_after_the_call_is_not_in_the_checkpoint(tmp_path: Path) -> None:
    checkpoints, gate = Checkpoints(tmp_path), Gate()
    weights, moments, counts = torch.ones(2), torch.zeros(3, 2).t(), [1, {"x": torch.ones(1)}]
    state = {"moments": moments, "counts": counts}
    checkpoints.save(1, state, {"w": weights}, before=gate, wait=False)
    assert gate.reached.wait(LIMIT_S)
    assert checkpoints.steps() == []
    checkpoints.poll()
    for tensor in (weights, moments, counts[1]["x"]):  # type: ignore[index]
        tensor.fill_(7.0)
    counts[0] = 7
    gate.open()
    checkpoints.wait()
    saved = Checkpoints(tmp_path).latest()
    assert saved is not None
    assert saved.network()["w"].tolist() == [1.0, 1.0]
    loaded = saved.state()
    assert loaded["moments"].tolist() == [[0.0] * 3] * 2
    assert loaded["moments"].stride() == (1, 2)
    assert (loaded["counts"][0], loaded["counts"][1]["x"].tolist()) == (1, [1.0])


def test_a_second_save_waits_for_the_first(tmp_path: Path) -> None:
    checkpoints, gate = Checkpoints(tmp_path), Gate()
    begin(checkpoints, 1, gate)
    second = threading.Thread(target=lambda: checkpoints.save(2, {}, {}), daemon=True)
    second.start()
    second.join(0.2)
    assert second.is_alive()
    assert checkpoints.steps() == []
    gate.open()
    second.join(LIMIT_S)
    assert checkpoints.steps() == [1, 2]


def test_an_error_in_the_thread_is_raised_once_and_the_next_save_works(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {}, {})

    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    begin(checkpoints, 2, full)
    with pytest.raises(CheckpointError, match=r"No space left .* of agent step 1 is kept"):
        checkpoints.wait()
    checkpoints.poll()
    begin(checkpoints, 3, full)
    with pytest.raises(CheckpointError, match="step_000000003"):  # not lost in the next save
        begin(checkpoints, 4, lambda: None)
    begin(checkpoints, 4, lambda: None)
    checkpoints.wait()
    assert checkpoints.steps() == [1, 4]


def test_a_system_without_threads_saves_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done = []
    work = Background(lambda: done.append(1))
    work.join()
    work.require_success()
    assert (done, work.ended) == ([1], True)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no niceness of their own")
def test_the_training_goes_first_while_a_thread_writes(tmp_path: Path) -> None:
    checkpoints, nice = Checkpoints(tmp_path), []

    def note() -> None:
        nice.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    begin(checkpoints, 1, note)
    checkpoints.save(2, {}, {}, before=note)  # the training waits for this one
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert nice == [max(own, 10), own]


SETTINGS: dict[str, Any] = {
    "env": "toy/Catch",
    "calibrate": False,
    "wall_time": False,
    "warmup_steps": 100,
    "update_period_steps": 20,
    "batch_size": 16,
    "steps": 600,
    "eval_every_steps": 0,
    "checkpoint_every_steps": 250,
}


def final_network(run_dir: Path) -> bytes:
    saved = Checkpoints(run_dir).latest()
    assert saved is not None
    return (saved.path / "network.pt").read_bytes()


@pytest.mark.parametrize("recurrent", [False, True])
def test_a_replay_that_wraps_while_it_is_written_resumes_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recurrent: bool
) -> None:
    """All rows are new at each checkpoint, and the next one overwrites the oldest of them."""
    settings = {**SETTINGS, "buffer_size": 200, "recurrent": recurrent}
    for _ in train(make_config(settings, run_dir=str(tmp_path / "whole"))):
        pass
    write, add = npy_rows.write_array, Replay.add
    writing = threading.Event()
    overtaken = []

    def slowly(file: Any, array: Any) -> None:
        writing.set()
        time.sleep(2e-4)
        write(file, array)

    def noted(replay: Replay, *row: Any) -> None:
        if replay._held is not None and replay._held._written_until < replay.total_rows:
            overtaken.append(replay.total_rows)
        add(replay, *row)

    monkeypatch.setattr(npy_rows, "CHUNK_BYTES", 400)
    monkeypatch.setattr(npy_rows, "write_array", slowly)
    monkeypatch.setattr(Replay, "add", noted)
    for tick in train(make_config(settings, run_dir=str(tmp_path / "parts"))):
        if tick.agent_steps > 400:
            break
    assert writing.is_set()
    assert overtaken  # rows were added while others were held
    for _ in resume(tmp_path / "parts"):
        pass
    assert final_network(tmp_path / "whole") == final_network(tmp_path / "parts")
    for run in ("whole", "parts"):
        assert (tmp_path / run / "episodes.csv").read_bytes()
    episodes = [(tmp_path / run / "episodes.csv").read_bytes() for run in ("whole", "parts")]
    assert episodes[0] == episodes[1]


def test_a_power_cut_finds_a_checkpoint_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every part is synced before the name that promises it, and every name after it is given."""
    calls = FileCalls(tmp_path, monkeypatch)
    for tick in train(make_config(SETTINGS, steps=300, run_dir=str(tmp_path / "run"))):
        if tick.agent_steps > 280:
            break
    (step,) = Checkpoints(tmp_path / "run").steps()
    saved = Checkpoints(tmp_path / "run").latest()
    assert saved is not None
    assert saved.manifest.replay is not None
    (segment,) = saved.manifest.replay.segments
    name = f"run/checkpoints/step_{step:09d}"
    segment_name = f"run/checkpoints/replay/{segment.name}"
    calls.check_arrival(name)
    calls.check_arrival(segment_name)
    renamed = calls.index("rename", f"{name}.tmp", name)
    for file in ("network.pt", "state.pt", "manifest.json"):
        assert calls.index("sync", f"{name}.tmp/{file}") < renamed
    for table in ("episodes.csv", "evaluations.csv", "timings.csv"):
        assert calls.index("sync", f"run/{table}") < renamed
    assert calls.index("rename", f"{segment_name}.tmp", segment_name) < renamed
    assert calls.index("sync", "run/checkpoints/replay") < renamed
    assert calls.index("sync", "run") < renamed


def test_segments_that_somebody_removed_are_written_again(tmp_path: Path) -> None:
    settings = {**SETTINGS, "steps": 600, "keep_checkpoints": 1}
    segments, removed = tmp_path / "run/checkpoints/replay", False
    for tick in train(make_config(settings, run_dir=str(tmp_path / "run"))):
        if tick.agent_steps > 400 and not removed:
            removed = True
            while (
                Checkpoints(tmp_path / "run").latest() is None
            ):  # until the thread has written one
                time.sleep(0.01)
            for file in segments.iterdir():
                file.unlink()
    saved = Checkpoints(tmp_path / "run").latest()
    assert saved is not None
    assert saved.step == 600


def test_copies_are_freed_without_the_garbage_collector(tmp_path: Path) -> None:
    config = make_config(SETTINGS, steps=600, run_dir=str(tmp_path / "run"))
    gc.collect()
    earlier = held_copies()  # of other tests, if any
    gc.disable()
    try:
        list(train(config))
        copies = held_copies()
    finally:
        gc.enable()
    assert len(Checkpoints(tmp_path / "run").steps()) > 1
    assert copies.keys() <= earlier.keys()


def held_copies() -> dict[int, Content]:
    """The copies of states that anything still refers to, by id."""
    return {id(x): x for x in gc.get_objects() if type(x) is Content}


class Trap:
    """An object whose unpickling would write a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


@pytest.mark.parametrize("part", ["state", "network"])
def test_loading_a_checkpoint_executes_nothing_even_with_the_right_checksums(
    tmp_path: Path, part: str
) -> None:
    path = Checkpoints(tmp_path).save(1, {}, {"w": torch.ones(1)})
    torch.save({"x": Trap(tmp_path / "executed")}, path / f"{part}.pt")
    manifest = read_manifest(path / checkpoint_manifest.MANIFEST)
    files = {**manifest.files, f"{part}.pt": fingerprint(path / f"{part}.pt")}
    forged = Manifest(manifest.step, files, None, manifest.record)
    write_file(
        path / checkpoint_manifest.MANIFEST,
        lambda file: checkpoint_manifest.write_manifest(file, forged),
    )
    with pytest.raises(UsageError, match="Weights only load failed"):
        Checkpoints(tmp_path).latest(weights_only=part == "network")
    with pytest.raises(BrokenCheckpoint, match="Weights only load failed"):
        getattr(Saved(path, forged), part)()
    assert not (tmp_path / "executed").exists()
    torch.load(path / f"{part}.pt", weights_only=False)
    assert (tmp_path / "executed").exists()  # the trap works
