"""Checkpoint files of a stranger: what torch.save wrote comes back, anything else is refused."""

import contextlib
import io
import pickle
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from wnrl.train.untrusted.torch_file import load_plain


def saved(value: Any, path: Path) -> Path:
    torch.save(value, path)
    return path


def rewritten(path: Path, change: Callable[[str, bytes], bytes], compression: int = 0) -> Path:
    """Write the archive again with other contents, as somebody with an editor would."""
    with zipfile.ZipFile(path) as archive:
        entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries:
            archive.writestr(name, change(name, content))
    return path


def test_tensors_and_plain_values_come_back(tmp_path: Path) -> None:
    state = {
        "w": torch.arange(6.0).reshape(2, 3).T,
        "empty": torch.zeros(0, dtype=torch.int64),
        "plain": [1, 2.5, "text", None, True, (1, [2]), 2**128 - 1],
        "named": OrderedDict(a={0: 1}),
    }
    loaded = load_plain(saved(state, tmp_path / "x.pt"))
    assert list(loaded) == list(state)
    assert torch.equal(loaded["w"], state["w"])
    assert loaded["empty"].dtype == torch.int64
    assert loaded["plain"] == state["plain"]
    assert type(loaded["named"]) is OrderedDict
    (tmp_path / "x.pt").write_bytes(b"")  # what was loaded does not live in the file
    assert torch.equal(loaded["w"], state["w"])


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_pickle_is_never_executed(tmp_path: Path) -> None:
    path, canary = saved({"a": 1}, tmp_path / "x.pt"), tmp_path / "canary"
    code = pickle.dumps({"a": Canary(canary)}, protocol=2)
    for content in (code, b"not a pickle", b""):
        rewritten(path, lambda name, old, new=content: new if "data.pkl" in name else old)
        with pytest.raises(ValueError, match="torch cannot load it") as error:
            load_plain(path)
        assert "[1m" not in str(error.value)  # torch's bold
    path.write_bytes(code)
    with pytest.raises(ValueError, match=r"not a file of torch\.save"):
        load_plain(path)
    assert not canary.exists()


def test_a_compressed_file_is_refused_before_it_grows(tmp_path: Path) -> None:
    path = rewritten(
        saved({"w": torch.zeros(1000)}, tmp_path / "x.pt"), lambda _, old: old, zipfile.ZIP_DEFLATED
    )
    with pytest.raises(ValueError, match=r"which torch\.save has not"):
        load_plain(path)


def test_a_tensor_is_never_larger_than_the_file(tmp_path: Path) -> None:
    w = torch.arange(200, dtype=torch.uint8)  # 200 is BININT1 200 in the pickle
    path = saved({"w": w}, tmp_path / "x.pt")

    def larger(name: str, old: bytes) -> bytes:
        return old.replace(b"K\xc8", b"J\xff\xff\xff\x7f") if name.endswith("data.pkl") else old

    with pytest.raises(ValueError, match=r"larger than the file|cannot load it"):
        load_plain(rewritten(path, larger))
    expanded = saved({"w": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "y.pt")
    with pytest.raises(ValueError, match="larger than the file"):
        load_plain(expanded)
    shared = torch.zeros(10_000)
    with pytest.raises(ValueError, match="larger than the file"):
        load_plain(saved({k: shared.view(-1) for k in range(1_000)}, tmp_path / "z.pt"))


def test_values_that_contain_themselves_are_refused(tmp_path: Path) -> None:
    doubled: list[Any] = []
    for _ in range(40):
        doubled = [doubled, doubled]
    loop: list[Any] = []
    loop.append(loop)
    for value in (doubled, loop):
        with pytest.raises(ValueError, match="contain themselves or are nested"):
            load_plain(saved({"a": value}, tmp_path / "x.pt"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "it holds a list, not a dictionary"),
        ({"a": {1, 2}}, "it holds a set"),
        ({"a": Counter()}, "it holds a Counter"),
        ({"a": 2**300}, "it holds a int"),
        ({(1, 2): 3}, "a key that is a tuple"),
        ({"a": torch.nn.Parameter(torch.ones(1))}, "it holds a Parameter"),
    ],
)
def test_other_kinds_are_refused(value: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        load_plain(saved(value, tmp_path / "x.pt"))


def test_every_truncation_and_flip_is_loaded_or_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"w": torch.arange(3.0), "n": [1, "a", None]}, buffer)
    whole, path = buffer.getvalue(), tmp_path / "x.pt"
    for position in range(0, len(whole), 7):
        flipped = bytearray(whole)
        flipped[position] ^= 0x41
        for content in (whole[:position], bytes(flipped)):
            path.write_bytes(content)
            with contextlib.suppress(ValueError):
                load_plain(path)
