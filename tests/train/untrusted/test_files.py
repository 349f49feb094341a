"""Files of a stranger: links, pipes, huge and deep ones, read or refused and never waited for."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from wnrl.train.storage.train_log import last_line, open_log
from wnrl.train.untrusted.files import is_folder, open_regular, read_bytes, read_text, special


def _link(path: Path) -> None:
    target = path.with_name("target")
    target.write_text("mine")
    path.symlink_to(target)


def _socket(path: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.close()


SPECIAL = pytest.mark.parametrize(
    ("make", "kind"),
    [(_link, "a symbolic link"), (os.mkfifo, "a named pipe"), (_socket, "a socket")],
)


@SPECIAL
def test_what_is_no_file_is_neither_read_nor_written(
    make: Callable[[Path], None], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    path = Path("x")
    make(path)
    assert kind in special(path)
    for use in (lambda: read_bytes(path, 100), lambda: open_log(path), lambda: is_folder(path)):
        with pytest.raises(OSError, match=f"it is {kind}"):
            use()
    assert last_line(path) == ""
    assert kind != "a symbolic link" or Path("target").read_text() == "mine"


def test_a_folder_and_a_device_are_no_regular_files(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="not a regular file"):
        read_bytes(tmp_path, 100)
    with pytest.raises(OSError, match="it is a device"):
        open_regular(Path("/dev/zero"))


def test_a_link_that_appears_after_the_look_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _link(tmp_path / "x")
    monkeypatch.setattr("wnrl.train.untrusted.files.special", lambda path: "")
    with pytest.raises(OSError):
        read_bytes(tmp_path / "x", 100)


def test_a_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert read_bytes(path, 5) == b"12345"
    with pytest.raises(OSError, match="it has 5 bytes, and at most 4 are read"):
        read_bytes(path, 4)


def test_a_text_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\xef\xbb\xbfa = 1")
    assert read_text(path, 100) == "a = 1"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="utf-8"):
        read_text(path, 100)
