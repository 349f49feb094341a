"""What a full disk refuses comes later, whole and in order."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from small_disk import small_disk

from wnrl.train.storage.append_file import AppendFile
from wnrl.train.storage.csv_log import CsvLog

PAGE = 4096


def test_a_really_full_disk_gets_every_row_once_it_has_room(tmp_path: Path) -> None:
    rows = [f"{number},{'x' * 300}\n".encode() for number in range(300)]
    with small_disk(tmp_path / "disk", "128k") as disk:
        file = AppendFile(disk.path / "table.csv")
        file.create()
        errors: list[int | None] = []
        for number, row in enumerate(rows):
            if number == 40:
                disk.fill(leave_bytes=2 * PAGE)  # the next rows fit, one of them in part
            if number == 200:
                disk.make_room()
            file.add(row)
            file.flush()
            errors.append(None if file.error is None else file.error.errno)
            on_disk = file.path.read_bytes()
            assert on_disk == b"".join(rows)[: len(on_disk)]
            assert on_disk.endswith(b"\n")  # half a row was cut back
            assert file.size_bytes == len(b"".join(rows[: number + 1]))
        assert set(errors) == {None, errno.ENOSPC}
        assert errors[-100:] == [None] * 100
        assert file.path.read_bytes() == b"".join(rows)
        assert file.pending_bytes == 0


def test_half_a_row_that_could_not_be_cut_back_at_once_is_cut_back_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = AppendFile(tmp_path / "table.csv")
    file.create()
    file.add(b"first\n")
    file.flush()
    write = os.write

    def half(descriptor: int, data: Any) -> int:
        if len(data) < 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[: len(data) - 3])

    def refuse(descriptor: int, length: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as failing:
        failing.setattr(os, "write", half)
        failing.setattr(os, "ftruncate", refuse)
        file.add(b"second\n")
        file.flush()
    assert file.path.read_bytes() == b"first\nseco"
    assert file.error is not None
    assert file.error.errno == errno.ENOSPC
    file.add(b"third\n")
    file.flush()
    assert file.path.read_bytes() == b"first\nsecond\nthird\n"
    assert file.error is None


def test_a_close_that_fails_means_that_nothing_is_sure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network disk may say only then that it is full."""
    file = AppendFile(tmp_path / "table.csv")
    file.create()
    close = os.close

    def refuse(descriptor: int) -> None:
        close(descriptor)
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    with monkeypatch.context() as failing:
        failing.setattr(os, "close", refuse)
        file.add(b"first\n")
        file.flush()
    assert file.pending_bytes == 6
    with pytest.raises(OSError, match="quota"):
        file.sync(6)
    file.flush()
    file.sync(6)
    assert file.path.read_bytes() == b"first\n"


def test_a_file_that_vanished_or_shrank_is_not_begun_again(tmp_path: Path) -> None:
    file = AppendFile(tmp_path / "run" / "table.csv")
    file.path.parent.mkdir()
    file.create()
    file.add(b"first\n")
    file.flush()
    (tmp_path / "run").rename(tmp_path / "away")
    file.add(b"second\n")
    file.flush()
    assert file.error is not None
    assert file.error.errno == errno.ENOENT
    assert not (tmp_path / "run").exists()
    (tmp_path / "away").rename(tmp_path / "run")
    file.flush()
    assert file.path.read_bytes() == b"first\nsecond\n"
    os.truncate(file.path, 3)
    file.add(b"third\n")
    file.flush()
    assert "has 3 bytes, not the 13 written before" in str(file.error)
    assert file.path.read_bytes() == b"fir"


def test_a_table_does_not_write_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("a,b\n1,2\n")
    (tmp_path / "table.csv").symlink_to(tmp_path / "mine")
    log = CsvLog(tmp_path / "table.csv", "a,b\n", resume=True)
    with pytest.raises(OSError, match="symbolic links"):
        log.load_state_dict({"size_bytes": 4})
    assert (tmp_path / "mine").read_text() == "a,b\n1,2\n"


def test_a_checkpoint_waits_until_the_disk_has_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = CsvLog(tmp_path / "table.csv", "a,b\n")
    log.write(1, 2)
    state = log.state_dict()
    synced: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    log.sync(state)
    assert synced == ["table.csv"]
    (tmp_path / "table.csv").unlink()
    log.write(3, 4)
    with pytest.raises(FileNotFoundError):
        log.sync(state)
    with pytest.raises(FileNotFoundError, match=r"table\.csv"):  # the row is not even written
        log.sync(log.state_dict())
