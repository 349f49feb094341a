"""Mutations of what a stranger may hand over: bytes, JSON, tables, checkpoints, command lines.

Every function takes a `random.Random`, so that an input is known by its seed.
"""

import hashlib
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch

CANARY = "canary_module"  # makes a file when it is imported

TEXTS = (
    "",
    "0",
    "-1",
    "nan",
    "inf",
    "1e400",
    "1e300",
    "9" * 5_000,
    "9" * 30,
    "a" * 6_000,
    "a b " * 2_000,
    "a\x00b",
    "\ud800",
    "\x1b[31m",
    "a\nb",
    "é🎮",
    "../../outside",
    "/etc/passwd",
    ".",
    "[" * 300,
    f"{CANARY}:CartPole-v1",
    f"{CANARY}:X-v0",
    ":",
    "a:b:c",
    "$(touch x)",
    "%s%n",
    "none",
    "weight",
    "1.5",
    "true",
    "cuda:99",
    "Breakout",
    "Combat",
)


def value(random: Random) -> Any:
    """Return a value of any type that JSON can hold."""
    number = random.choice((0, -1, 1, 2, 2**31, 2**63, 2**64, 10**25, 1.5, -0.0, 1e308))
    special = random.choice((float("nan"), float("inf"), None, True, False))
    deep: Any = []
    for _ in range(random.choice((1, 60, 900))):
        deep = random.choice(([deep], {"a": deep}))
    container = random.choice(([], {}, [1], ["a"], {"a": 1}, [[]], [None] * 3, deep))
    return random.choice((number, special, container, random.choice(TEXTS)))


def in_tree(random: Random, tree: Any, new: Callable[[Random], Any] = value) -> Any:
    """Return a tree of dictionaries and lists with one place replaced, removed or added."""
    if not isinstance(tree, dict | list) or not tree or random.random() < 0.05:
        return new(random)
    copy: Any = tree.copy()
    key = random.choice(list(copy)) if isinstance(copy, dict) else random.randrange(len(copy))
    action = random.random()
    if action < 0.1:
        del copy[key]
    elif action < 0.2 and isinstance(copy, dict):
        copy[random.choice((*TEXTS[:3], TEXTS[9], "extra"))] = new(random)
    elif action < 0.2:
        copy.insert(key, new(random))
    elif isinstance(copy[key], dict | list) and action < 0.9:
        copy[key] = in_tree(random, copy[key], new)
    else:
        copy[key] = new(random)
    return copy


def in_bytes(random: Random, content: bytes) -> bytes:
    """Return damaged content of a file."""
    at = random.randrange(len(content) + 1)
    choice = random.randrange(9)
    if choice == 0:
        return content[:at]
    if choice == 1 and content:
        flipped = bytearray(content)
        flipped[min(at, len(content) - 1)] ^= 1 << random.randrange(8)
        return bytes(flipped)
    if choice == 2:
        return content[:at] + b"\x00" + content[at:]
    if choice == 3:
        return content[:at] + b"\xff\xfe" + content[at:]
    if choice == 4:
        return b"\xef\xbb\xbf" + content
    if choice == 5:
        return content[:at] + random.choice((b"[", b'{"a":', b"(")) * 100_000 + content[at:]
    if choice == 6:
        return content[:at] + b"9" * 5_000 + content[at:]
    if choice == 7:
        return content + content
    return random.choice((b"", b"null", b"5", b"[]", b"{}", b'"a"', b"NaN", random.randbytes(50)))


def in_json(random: Random, path: Path) -> None:
    """Damage a JSON file: its values, or its bytes."""
    if random.random() < 0.7:
        path.write_text(json.dumps(in_tree(random, json.loads(path.read_text()))))
    else:
        path.write_bytes(in_bytes(random, path.read_bytes()))


def in_table(random: Random, path: Path) -> None:
    """Damage a CSV file: a cell, a line, or its bytes."""
    lines = [line.split(",") for line in path.read_text().splitlines()]
    choice = random.random()
    if choice < 0.6 and lines:
        line = random.choice(lines)
        cell = random.choice(TEXTS).replace("\ud800", "x")
        line[random.randrange(len(line))] = random.choice((cell, '"', "1e308", "-5"))
    elif choice < 0.8 and lines:
        random.shuffle(lines)
    else:
        path.write_bytes(in_bytes(random, path.read_bytes()))
        return
    path.write_text("".join(",".join(line) + "\n" for line in lines))


def in_place(random: Random, path: Path, outside: Path) -> None:
    """Replace a file or folder by a link, a pipe, a folder, a huge file, or nothing."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    target = random.choice((outside, outside / "file", outside / "missing"))
    choice = random.randrange(5)
    if choice == 0:
        path.symlink_to(target)
    elif choice == 1:
        os.mkfifo(path)
    elif choice == 2:
        path.mkdir()
    elif choice == 3:
        with path.open("wb") as file:
            file.truncate(2**33)  # sparse


def in_manifest(random: Random, checkpoint: Path) -> None:
    """Damage a manifest, mostly with a checksum that fits again."""
    path = checkpoint / "manifest.json"
    if random.random() < 0.3:
        in_json(random, path)
        return
    body = json.loads(path.read_text())
    del body["checksum"]
    body = in_tree(random, body)
    write_manifest(path, body)


def write_manifest(path: Path, body: Any) -> None:
    """Write a manifest with the checksum that its writer would compute."""
    if isinstance(body, dict):
        checksum = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        body = {**body, "checksum": checksum}
    path.write_text(json.dumps(body))


class _Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def in_checkpoint(random: Random, checkpoint: Path, canary: Path) -> None:
    """Damage network.pt, state.pt or a segment, with a manifest that fits again."""
    segments = sorted((checkpoint.parent / "replay").glob("*"))
    files = [checkpoint / "network.pt", *[checkpoint / "state.pt"] * 3, *segments[-1:]]
    path = random.choice(files)
    choice = random.random()
    if choice < 0.5 and path.suffix == ".pt":
        tree = torch.load(path, weights_only=True)
        for _ in range(random.choice((1, 1, 3))):
            tree = in_tree(random, tree, _state_value)
        torch.save(tree, path)
    elif choice < 0.8 and path.suffix == ".pt":
        _in_archive(random, path, canary)
    elif choice < 0.95:
        path.write_bytes(in_bytes(random, path.read_bytes()))
    else:
        path.unlink()
    body = json.loads((checkpoint / "manifest.json").read_text())
    del body["checksum"]
    content = path.read_bytes() if path.exists() else b""
    fits = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    if path.suffix == ".pt":
        body["files"][path.name] = fits
    else:
        body["replay"]["segments"][-1] |= fits
    write_manifest(checkpoint / "manifest.json", body)


def _state_value(random: Random) -> Any:
    tensors = (torch.zeros(0), torch.ones(3, 4), torch.tensor([2**60]), torch.zeros(1).expand(9**9))
    return random.choice((*tensors, value(random), value(random), (1, "a"), b"bytes", {1}, 2**400))


def _in_archive(random: Random, path: Path, canary: Path) -> None:
    """Change an entry of the archive, or compress it."""
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    name = random.choice(list(entries))
    if random.random() < 0.7:
        name = next(each for each in entries if each.endswith("data.pkl"))
        code = pickle.dumps({"a": _Canary(canary)}, 2)
        entries[name] = random.choice((code, code, in_bytes(random, entries[name])))
    else:
        entries[name] = in_bytes(random, entries[name])
    compression = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(path, "w", compression) as archive:
        for each, content in entries.items():
            archive.writestr(each, content)


def command_line(random: Random, flags: list[str], values: list[str]) -> list[str]:
    """Return flags of a command with values of any kind."""
    line = []
    for _ in range(random.randrange(1, 5)):
        flag = random.choice(flags)
        flag = random.choice((flag, flag, flag, flag[:-1], f"{flag}x", flag.replace("--", "-")))
        # A person may name any module; the system gives bytes that are not UTF-8 as surrogates.
        texts = [t.replace("\ud800", "\udcff") for t in TEXTS if CANARY not in t]
        given = random.choice((*texts, *values, str(random.randrange(-5, 1_000))))
        line += random.choice(([f"{flag}={given}"], [flag, given], [flag], [given]))
    return line


def toml(random: Random, names: list[str], values: list[str]) -> bytes:
    """Return a TOML file of settings with values of any kind, or its damaged bytes."""
    lines = []
    for _ in range(random.randrange(1, 6)):
        name = random.choice(
            (*names, *names, '"norm.eps"', "norm.eps", "extra", '""', '"a\\u0000"')
        )
        text = json.dumps(random.choice((*TEXTS, *values)).replace("\ud800", ""))
        number = random.choice(
            ("1", "-1", "1e400", "nan", "9" * 5_000, "0x7f", "1979-05-27", "true")
        )
        nested = random.choice(("[]", "{}", "[" * 2_000, "{a=" * 2_000, "[[1]]", "{a.b.c = 1}"))
        lines.append(f"{name} = {random.choice((text, text, number, number, nested))}")
        lines.append(
            random.choice(("", "", "", "[norm]", "[a.b]", "[[a]]", "a." * 30_000 + "b = 1"))
        )
    content = "\n".join(lines).encode()
    return in_bytes(random, content) if random.random() < 0.3 else content
