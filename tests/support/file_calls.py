"""The order in which files are synced and renamed: what a power cut cannot take back."""

import os
from pathlib import Path
from typing import Any

import pytest


class FileCalls:
    """Records every fsync, rename and replace of this process, as paths relative to a folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self.calls: list[tuple[str, ...]] = []
        fsync, rename, replace = os.fsync, os.rename, os.replace

        def noted_fsync(descriptor: int) -> None:
            self.calls.append(("sync", self._name(os.readlink(f"/proc/self/fd/{descriptor}"))))
            fsync(descriptor)

        def noted_rename(source: Any, target: Any, **more: Any) -> None:
            self.calls.append(("rename", self._name(source), self._name(target)))
            rename(source, target, **more)

        def noted_replace(source: Any, target: Any, **more: Any) -> None:
            self.calls.append(("rename", self._name(source), self._name(target)))
            replace(source, target, **more)

        monkeypatch.setattr(os, "fsync", noted_fsync)
        monkeypatch.setattr(os, "rename", noted_rename)
        monkeypatch.setattr(os, "replace", noted_replace)

    def _name(self, path: Any) -> str:
        return os.path.relpath(os.fsdecode(path), self._folder)

    def index(self, *call: str) -> int:
        """Return when a call was made; an error if it was not."""
        assert call in self.calls, f"{call} is not among {self.calls}"
        return self.calls.index(call)

    def check_arrival(self, name: str) -> None:
        """Check that a file or folder got its name by one rename, synced before and after.

        Written in place, a kill would leave half of it under its name.
        """
        sources = [call[1] for call in self.calls if call[0] == "rename" and call[2] == name]
        assert len(sources) == 1, f"{name} was not renamed into place once: {self.calls}"
        assert sources[0] != name
        renamed = self.index("rename", sources[0], name)
        assert self.index("sync", sources[0]) < renamed
        parent = os.path.dirname(name) or "."
        assert ("sync", parent) in self.calls[renamed + 1 :], f"{parent} was not synced after"
