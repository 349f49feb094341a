"""A checkpoint is whole or not there, whatever happens while it is written."""

import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch

import wnrl.train.storage.checkpoint_manifest
from wnrl._settings import UsageError
from wnrl.rl.held_rows import RingRows
from wnrl.train.storage.checkpoint import CheckpointError, Checkpoints
from wnrl.train.untrusted import torch_file
from wnrl.train.untrusted.torch_file import load_plain


class Rows:
    """A replay of one number per row, row k holding 10 k; the ring keeps `capacity` rows."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.total_rows = 0
        self.held: dict[int, int] = {}

    @property
    def oldest_row(self) -> int:
        return max(0, self.total_rows - self.capacity)

    def add(self, count: int) -> None:
        for row in range(self.total_rows, self.total_rows + count):
            self.held[row] = 10 * row
        self.total_rows += count
        self.held = {row: value for row, value in self.held.items() if row >= self.oldest_row}

    def hold_rows(self, start: int, stop: int) -> RingRows:
        values = np.array([self.held[row] for row in range(start, stop)], np.int64)
        return RingRows(start, [values], [])

    def read_rows(self, file: BinaryIO, start: int, stop: int) -> None:
        values = np.lib.format.read_array(file, allow_pickle=False).tolist()
        for row, value in zip(range(start, stop), values, strict=True):
            if row >= self.oldest_row:
                self.held[row] = value


def weights(value: float) -> dict[str, torch.Tensor]:
    return {"layer.weight": torch.full((2, 3), value), "layer.bias": torch.full((2,), value)}


def save(checkpoints: Checkpoints, step: int, replay: Rows | None = None) -> Path:
    state = {"step": step, "moments": torch.full((4,), float(step))}
    return checkpoints.save(step, state, weights(float(step)), replay)


def segments(run_dir: Path) -> list[str]:
    return sorted(path.name for path in (run_dir / "checkpoints/replay").iterdir())


def fail_at(monkeypatch: pytest.MonkeyPatch, name: str, call: int, code: int) -> None:
    """Make the call-th (from 1) use of os.<name> fail."""
    real, calls = getattr(os, name), []

    def failing(*arguments: Any) -> Any:
        calls.append(name)
        if len(calls) == call:
            raise OSError(code, os.strerror(code))
        return real(*arguments)

    monkeypatch.setattr(os, name, failing)


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    generator = np.random.Generator(np.random.PCG64(3))
    state = {
        "generator": generator.bit_generator.state,
        "nested": [1, 2.5, None, True, ("a", torch.arange(3))],
        "adam": torch.optim.Adam([torch.nn.Parameter(torch.ones(2))]).state_dict(),
        "module": torch.nn.BatchNorm2d(2).state_dict(),
    }
    path = Checkpoints(tmp_path).save(4000, state, weights(1.0))
    assert path == tmp_path / "checkpoints/step_000004000"
    saved = Checkpoints(tmp_path).latest()
    assert saved is not None
    assert (saved.step, saved.path) == (4000, path)
    loaded = saved.state()
    other = np.random.Generator(np.random.PCG64(0))
    other.bit_generator.state = loaded["generator"]
    assert other.integers(1 << 60) == generator.integers(1 << 60)
    assert loaded["nested"][:4] == [1, 2.5, None, True]
    assert loaded["nested"][4][1].tolist() == [0, 1, 2]
    assert loaded["adam"] == state["adam"]
    assert loaded["module"].keys() == state["module"].keys()  # type: ignore[attr-defined]
    assert saved.network()["layer.weight"].tolist() == [[1.0] * 3] * 2


def test_a_folder_without_checkpoints_has_no_latest(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path).latest() is None
    assert list(tmp_path.iterdir()) == []


def test_equal_weights_give_equal_files_wherever_they_lay(tmp_path: Path) -> None:
    storage = torch.cat([torch.full((6,), 2.0), torch.full((94,), 7.0)])
    view = {
        "layer.weight": torch.nn.Parameter(storage[:6].view(3, 2).t()),
        "layer.bias": torch.nn.Parameter(storage[1:3]),
    }
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    paths = [
        Checkpoints(tmp_path / "a").save(1, {"x": 1}, weights(2.0)),
        Checkpoints(tmp_path / "b").save(2, {"y": 2}, view),
        Checkpoints(tmp_path / "c").save(3, {}, weights(2.5)),
    ]
    same, also, other = [(path / "network.pt").read_bytes() for path in paths]
    assert same == also
    assert same != other


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (np.zeros(2), r"state\['a'\]\[1\] is a numpy.ndarray"),
        (np.float64(1.0), r"state\['a'\]\[1\] is a numpy.float64"),
        ({Path("x"): 1}, r"a key of state\['a'\]\[1\] is a pathlib"),
        ({1, 2}, r"state\['a'\]\[1\] is a builtins.set"),
    ],
)
def test_a_state_that_could_not_be_loaded_is_refused_when_saved(
    tmp_path: Path, value: object, where: str
) -> None:
    with pytest.raises(TypeError, match=where):
        Checkpoints(tmp_path).save(1, {"a": [0, value]}, weights(0.0))
    assert list(tmp_path.iterdir()) == []


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (5, 999_999_999, 1_000_000_000):  # the last has more digits than the name's nine
        save(checkpoints, step)
    assert checkpoints.steps() == [999_999_999, 1_000_000_000]
    saved = checkpoints.latest()
    assert saved is not None
    assert saved.step == 1_000_000_000


def test_keep_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="came 0"):
        Checkpoints(tmp_path, keep=0)


def test_a_second_save_at_the_same_step_writes_nothing_and_an_earlier_step_is_a_mistake(
    tmp_path: Path,
) -> None:
    checkpoints = Checkpoints(tmp_path)
    path = save(checkpoints, 10)
    before = (path / "manifest.json").stat().st_mtime_ns
    assert save(checkpoints, 10) == path
    assert (path / "manifest.json").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="step 9 after one of step 10"):
        save(checkpoints, 9)


def test_another_runs_folder_is_not_written_to(tmp_path: Path) -> None:
    save(Checkpoints(tmp_path), 10)
    with pytest.raises(UsageError, match="checkpoint of agent step 10: resume that run"):
        save(Checkpoints(tmp_path), 20)


def test_only_new_rows_are_written_and_a_segment_goes_when_no_kept_checkpoint_needs_it(
    tmp_path: Path,
) -> None:
    checkpoints, replay = Checkpoints(tmp_path, keep=2), Rows(capacity=10)
    seen = []
    for step, added in enumerate([4, 4, 0, 4, 4, 30]):
        replay.add(added)
        save(checkpoints, step, replay)
        seen.append(segments(tmp_path))
    first, second = "rows_0_4.npy", "rows_4_8.npy"
    third, fourth = "rows_8_12.npy", "rows_12_16.npy"
    assert seen == [
        [first],
        [first, second],
        [first, second],  # no new row: no new file
        sorted([first, second, third]),  # rows 2 to 11: the first segment is needed in part
        # Now rows 6 to 15, but the checkpoint before this one still begins at row 2.
        sorted([first, second, third, fourth]),
        # Rows 36 to 45: 16 to 35 came and went between two checkpoints. The one before needs 6..15.
        sorted([second, third, fourth, "rows_36_46.npy"]),
    ]


def test_a_segment_that_ends_where_the_oldest_row_begins_is_not_needed(tmp_path: Path) -> None:
    checkpoints, replay = Checkpoints(tmp_path, keep=1), Rows(capacity=10)
    replay.add(4)
    save(checkpoints, 1, replay)
    replay.add(10)  # rows 4 to 13
    save(checkpoints, 2, replay)
    assert segments(tmp_path) == ["rows_4_14.npy"]


def test_a_resumed_replay_is_the_saved_one_and_later_saves_go_on_from_it(tmp_path: Path) -> None:
    checkpoints, replay = Checkpoints(tmp_path), Rows(capacity=10)
    for step in (1, 2, 3):
        replay.add(6)
        save(checkpoints, step, replay)
    replay.add(6)  # lost with the killed process
    again = Checkpoints(tmp_path)
    saved = again.latest()
    assert saved is not None
    restored = Rows(capacity=10)
    restored.total_rows = 18
    again.resume(saved, restored)
    assert restored.held == {row: 10 * row for row in range(8, 18)}
    restored.add(2)
    save(again, 4, restored)
    assert segments(tmp_path) == ["rows_12_18.npy", "rows_18_20.npy", "rows_6_12.npy"]


def test_resume_refuses_a_replay_that_does_not_fit(tmp_path: Path) -> None:
    checkpoints, replay = Checkpoints(tmp_path), Rows(capacity=10)
    replay.add(12)
    save(checkpoints, 1, replay)
    saved = checkpoints.latest()
    assert saved is not None
    with pytest.raises(ValueError, match="holds a replay, but the agent has none"):
        checkpoints.resume(saved)
    with pytest.raises(ValueError, match=r"rows \[0, 0\), .* holds \[2, 12\)"):
        checkpoints.resume(saved, Rows(capacity=10))
    (tmp_path / "b").mkdir()
    save(Checkpoints(tmp_path / "b"), 1)
    without = Checkpoints(tmp_path / "b").latest()
    assert without is not None
    with pytest.raises(ValueError, match="holds no replay, but the agent has one"):
        checkpoints.resume(without, replay)


def corrupt(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


@pytest.mark.parametrize("damage", [corrupt, truncate, Path.unlink])
@pytest.mark.parametrize(
    "name", ["network.pt", "state.pt", "manifest.json", "../replay/rows_4_8.npy"]
)
def test_a_damaged_checkpoint_is_reported_and_the_one_before_is_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, damage: Any
) -> None:
    checkpoints, replay = Checkpoints(tmp_path), Rows(capacity=10)
    for step in (100, 200):
        replay.add(4)
        save(checkpoints, step, replay)
    damage(tmp_path / "checkpoints/step_000000200" / name)
    again = Checkpoints(tmp_path)
    saved = again.latest()
    assert saved is not None
    assert saved.step == 100
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "step_000000200 is broken" in said
    assert Path(name).name in said
    if "rows" in name:  # an evaluation needs no replay
        without = Checkpoints(tmp_path).latest(weights_only=True)
        assert without is not None
        assert without.step == 200

    # The resumed run replaces what the broken future left, segments of the same name included.
    restored = Rows(capacity=10)
    restored.total_rows = 4
    again.resume(saved, restored)
    restored.add(4)
    save(again, 200, restored)
    capsys.readouterr()
    whole = Checkpoints(tmp_path).latest()
    assert whole is not None
    assert whole.step == 200
    assert capsys.readouterr().err == ""


def test_only_what_is_needed_is_loaded_and_only_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(Checkpoints(tmp_path), 100)
    loaded: list[str] = []

    def load(path: Path) -> dict[str, Any]:
        loaded.append(path.name)
        return load_plain(path)

    monkeypatch.setattr(torch_file, "load_plain", load)
    to_resume, to_evaluate = (Checkpoints(tmp_path).latest(weights_only=x) for x in (False, True))
    assert to_resume is not None
    assert to_evaluate is not None
    assert to_resume.state()["step"] == 100
    assert to_evaluate.network().keys() == weights(0).keys()
    assert loaded == ["state.pt", "network.pt"]
    assert to_resume.state()["step"] == 100  # nothing was kept: it may be large
    assert loaded[2:] == ["state.pt"]


def test_when_none_can_be_used_the_error_says_what_was_found(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (100, 200):
        truncate(save(checkpoints, step) / "state.pt")
    with pytest.raises(UsageError, match=r"200: state.pt has \d+ bytes, not .*100: state.pt has"):
        Checkpoints(tmp_path).latest()


def test_a_manifest_that_was_edited_is_not_believed(tmp_path: Path) -> None:
    replay = Rows(capacity=10)
    replay.add(4)
    manifest = save(Checkpoints(tmp_path), 100, replay) / "manifest.json"
    text = manifest.read_text()
    assert '"total_rows": 4' in text
    manifest.write_text(text.replace('"total_rows": 4', '"total_rows": 3'))
    with pytest.raises(UsageError, match="another checksum than when it was written"):
        Checkpoints(tmp_path).latest()


def test_a_manifest_of_another_format_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wnrl.train.storage.checkpoint_manifest, "FORMAT_VERSION", 2)
    save(Checkpoints(tmp_path), 100)
    monkeypatch.undo()
    with pytest.raises(UsageError, match="has format 2, this wnrl reads 1"):
        Checkpoints(tmp_path).latest()


def test_leftovers_of_a_killed_run_go_and_files_of_others_stay(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    (folder / "step_000000100.tmp").mkdir(parents=True)
    (folder / "step_000000100.tmp/state.pt").write_bytes(b"half")
    (folder / "replay").mkdir()
    for name in ("rows_0_5.npy", "rows_5_9.npy.tmp", "notes.txt"):
        (folder / "replay" / name).write_bytes(b"x")
    (folder / "mine.tmp").mkdir()
    assert Checkpoints(tmp_path).latest() is None
    assert (folder / "step_000000100.tmp").exists()  # to look changes nothing
    save(Checkpoints(tmp_path), 100)
    assert sorted(path.name for path in folder.iterdir()) == [
        "mine.tmp",
        "replay",
        "step_000000100",
    ]
    assert segments(tmp_path) == ["notes.txt"]


@pytest.mark.parametrize("call", range(1, 10))
def test_a_failed_sync_leaves_the_older_checkpoint_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    checkpoints, replay = Checkpoints(tmp_path), Rows(capacity=10)
    replay.add(4)
    save(checkpoints, 100, replay)
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    replay.add(4)
    fail_at(monkeypatch, "fsync", call, errno.ENOSPC)
    if call > 7:  # segment, its folder, three files, the checkpoint's folder, the parent
        save(checkpoints, 200, replay)
        return
    with pytest.raises(CheckpointError) as caught:
        save(checkpoints, 200, replay)
    assert str(caught.value) == (
        f"could not write checkpoint {tmp_path}/checkpoints/step_000000200: "
        "No space left on device; the checkpoint of agent step 100 is kept"
    )
    assert isinstance(caught.value.__cause__, OSError)
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before
    monkeypatch.undo()
    replay.add(4)
    save(checkpoints, 300, replay)  # the run went on, and the disk has room again
    assert segments(tmp_path) == ["rows_0_4.npy", "rows_4_12.npy"]
    saved = Checkpoints(tmp_path).latest()
    assert saved is not None
    assert saved.step == 300


def run_script(body: str, *arguments: str) -> str:
    """Run a script that has this file's `Rows` and `save`, in a process of its own."""
    prelude = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    imports = "import os, random, signal, time\nfrom pathlib import Path\n"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            prelude + imports + "from test_checkpoint import *\n" + textwrap.dedent(body),
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_full_disk_is_a_checkpoint_error_that_names_the_one_kept(tmp_path: Path) -> None:
    """A file size limit makes real writes fail in the middle of each kind of file."""
    said = run_script(
        """
        import resource
        run_dir = Path(sys.argv[1])
        checkpoints, replay = Checkpoints(run_dir), Rows(10_000)
        replay.add(10)
        save(checkpoints, 100, replay)
        for what in ("network", "state", "replay"):
            limit = 20_000
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            replay.add(limit if what == "replay" else 1)
            big, small = torch.zeros(limit), torch.zeros(1)
            try:
                checkpoints.save(
                    200,
                    {"x": big if what == "state" else small},
                    {"w": big if what == "network" else small},
                    replay,
                )
            except CheckpointError as error:
                print(what, "|", error)
            assert not list(run_dir.rglob("*.tmp"))
            assert Checkpoints(run_dir).latest().step == 100
        """,
        str(tmp_path),
    )
    lines = said.splitlines()
    assert [line.split(" | ")[0] for line in lines] == ["network", "state", "replay"]
    for line in lines:
        assert line.endswith("File too large; the checkpoint of agent step 100 is kept")


KILLED_RUN = """
    run_dir = Path(sys.argv[1])

    def train(before_save):
        checkpoints = Checkpoints(run_dir)
        saved, replay, step = checkpoints.latest(), Rows(10), 0
        if saved is not None:
            step, replay.total_rows = saved.step, saved.state()["step"]
            checkpoints.resume(saved, replay)
        before_save()
        while True:
            step += 3
            replay.add(3)
            save(checkpoints, step, replay)

    def kill_self():
        os.kill(os.getpid(), signal.SIGKILL)

    def check():
        "The newest is whole, at once: nothing is broken, nothing is older than it must be."
        saved = Checkpoints(run_dir).latest()
        if saved is None:
            return 0
        step = saved.step
        assert saved.state()["moments"].tolist() == [step] * 4
        assert saved.network()["layer.bias"].tolist() == [step] * 2
        replay = Rows(10)
        replay.total_rows = step
        Checkpoints(run_dir).resume(saved, replay)
        assert replay.held == {r: 10 * r for r in range(max(0, step - 10), step)}, replay.held
        return step

    def run_and_kill(before_save, after_s=None):
        child = os.fork()
        if child == 0:
            train(before_save)
        if after_s is not None:
            time.sleep(after_s)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        return check()
"""


def test_a_run_killed_at_any_moment_has_a_whole_newest_checkpoint(tmp_path: Path) -> None:
    said = run_script(
        textwrap.dedent(KILLED_RUN)
        + textwrap.dedent(
            """
            rng = random.Random(0)
            steps = [run_and_kill(lambda: None, rng.uniform(0.0, 0.25)) for _ in range(12)]
            assert steps == sorted(steps), steps
            print(steps[-1])
            """
        ),
        str(tmp_path),
    )
    assert int(said) > 0


@pytest.mark.slow
def test_a_run_killed_before_each_call_that_touches_the_disk_has_a_whole_newest_checkpoint(
    tmp_path: Path,
) -> None:
    """Dies at the k-th sync, rename, replacement or removal, for every k of four saves."""
    said = run_script(
        textwrap.dedent(KILLED_RUN)
        + textwrap.dedent(
            """
            def die_at(call):
                left = [call]
                def counted(real):
                    def wrapped(*arguments, **keywords):
                        left[0] -= 1
                        if left[0] == 0:
                            kill_self()
                        return real(*arguments, **keywords)
                    return wrapped
                def arm():
                    for name in ("fsync", "rename", "replace", "unlink", "rmdir", "mkdir"):
                        setattr(os, name, counted(getattr(os, name)))
                return arm

            steps = [run_and_kill(die_at(call)) for call in range(1, 70)]
            assert steps == sorted(steps), steps
            print(steps[-1])
            """
        ),
        str(tmp_path),
    )
    assert int(said) > 3 * 69  # most of the kills came after at least one more save
