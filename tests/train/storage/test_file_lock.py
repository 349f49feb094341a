"""A lock is busy only when another process holds it, and then names that process."""

import errno
import fcntl
import json
import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from wnrl._settings import UsageError
from wnrl.compare.folder_lock import locked
from wnrl.train.storage.file_lock import Busy, FileLock, read_owner
from wnrl.train.storage.run_folder import RunDirectory, in_use

NO_LOCKS = [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS]


@pytest.mark.parametrize("code", NO_LOCKS)
def test_a_file_system_without_locks_is_said_to_be_one_and_not_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(UsageError) as caught, RunDirectory(tmp_path / "run"):
        pass
    assert str(caught.value) == (
        f"run folder {tmp_path}/run: its file system has no locks; choose another folder with "
        "--run-dir"
    )
    for shared in (False, True):
        refused = pytest.raises(UsageError, match=r": its file system has no locks; choose another")
        with refused, locked(tmp_path, shared=shared):
            pass
    assert not in_use(tmp_path / "run")


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EACCES])
def test_both_errors_of_a_held_lock_are_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(Busy):
        FileLock(tmp_path / "lock").acquire()


def test_a_folder_in_use_names_its_owner(tmp_path: Path) -> None:
    owner = rf"process {os.getpid()} on {re.escape(socket.gethostname())} since \d{{4}}-.* UTC"
    with RunDirectory(tmp_path):
        refused = pytest.raises(UsageError, match=rf"in use by {owner}; wait for it")
        with refused, RunDirectory(tmp_path):
            pass
    with locked(tmp_path):
        refused = pytest.raises(UsageError, match=rf"in use by another comparison, {owner}; wait")
        with refused, locked(tmp_path):
            pass


OWNER = {"pid": 7, "host": "node-1", "since": "2026-01-02 03:04:05 UTC"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "7",
        "[]",
        "[" * 100_000,
        json.dumps({**OWNER, "pid": True}),
        json.dumps({**OWNER, "pid": -1}),
        json.dumps({**OWNER, "pid": 10**400}),
        json.dumps({**OWNER, "host": "node\x1b[31m"}),
        json.dumps({**OWNER, "host": 7}),
        json.dumps({**OWNER, "host": "n" * 300}),
        json.dumps({**OWNER, "since": "yesterday\nwnrl: all is well"}),
    ],
)
def test_a_lock_file_with_other_content_names_nobody(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lock"
    path.write_text(json.dumps(OWNER))
    assert read_owner(path) == "process 7 on node-1 since 2026-01-02 03:04:05 UTC"
    path.write_text(text)
    assert read_owner(path) == "another process"


def test_a_lock_on_a_file_that_its_owner_removed_is_taken_on_the_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "lock", fcntl.flock

    def remove_first(descriptor: int, operation: int) -> Any:
        monkeypatch.setattr(fcntl, "flock", real)
        path.unlink()  # the last owner did, between our open and our lock
        return real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    lock = FileLock(path)
    lock.acquire(timeout_s=5.0)
    assert FileLock(path).owner() == read_owner(path) != "another process"
    lock.release()
    lock.release()
    assert FileLock(path).owner() is None


def test_a_lock_does_not_write_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("mine")
    (tmp_path / ".lock").symlink_to(tmp_path / "target")
    with pytest.raises(UsageError, match="is a symbolic link"), RunDirectory(tmp_path):
        pass
    assert (tmp_path / "target").read_text() == "mine"
