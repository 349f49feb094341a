"""A file's fingerprint is of its bytes, and why a write failed is told."""

import errno
import hashlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch

import wnrl.train.storage.atomic_files
from wnrl.train.storage.atomic_files import (
    fingerprint,
    make_directory,
    remove_directory,
    replace_text,
    write_file,
)


def test_the_fingerprint_made_while_writing_is_that_of_the_file(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float32)

    def fill(file: BinaryIO) -> None:
        file.write(b"head")
        assert file.write(array.data) == 24  # bytes, not elements
        torch.save({"x": torch.zeros(1000)}, file)

    written = write_file(tmp_path / "file", fill)
    content = (tmp_path / "file").read_bytes()
    assert content.startswith(b"head" + array.tobytes())
    assert written == (len(content), hashlib.sha256(content).hexdigest())
    assert fingerprint(tmp_path / "file") == written


def test_a_failed_write_inside_torch_save_is_told_as_the_disks_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch.save itself raises a RuntimeError about positions in an archive."""
    real = wnrl.train.storage.atomic_files._HashingFile

    class FullDisk:
        def __init__(self, file: BinaryIO) -> None:
            self.file, self.left = file, 2

        def write(self, data: bytes) -> int:
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(data)

        def flush(self) -> None:
            self.file.flush()

    monkeypatch.setattr(
        wnrl.train.storage.atomic_files, "_HashingFile", lambda file: real(FullDisk(file))
    )  # type: ignore[arg-type]
    with pytest.raises(OSError, match="No space left"):
        write_file(tmp_path / "file", lambda file: torch.save({"x": torch.zeros(9)}, file))


def test_a_mistake_of_the_writer_is_told_as_it_is(tmp_path: Path) -> None:
    def fill(file: BinaryIO) -> None:
        raise KeyError("row")

    with pytest.raises(KeyError, match="row"):
        write_file(tmp_path / "file", fill)


def test_a_folder_is_removed_whatever_an_earlier_removal_left(tmp_path: Path) -> None:
    folder = tmp_path / "a/b"
    make_directory(folder)
    make_directory(folder)
    (folder / "file").write_bytes(b"x")
    make_directory(tmp_path / "a/b.tmp/old")
    remove_directory(folder)
    assert list((tmp_path / "a").iterdir()) == []
    make_directory(tmp_path / "a/b.tmp/old")
    remove_directory(tmp_path / "a/b.tmp")
    assert list((tmp_path / "a").iterdir()) == []


def test_a_text_that_cannot_be_replaced_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_text(tmp_path / "text", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["text"]
