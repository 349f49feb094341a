"""Checkpoints of a run: written atomically, verified before use, and loaded without unpickling.

    RUN/checkpoints/step_000004000/network.pt     the weights alone
                                   state.pt       everything else that moves
                                   manifest.json  sizes, checksums, the replay's segments
    RUN/checkpoints/replay/rows_0_1000.npy        written once, shared by the checkpoints

A checkpoint is written under a name that ends in `.tmp`, synced, and renamed: it exists from the
rename on. Of the replay only the rows since the last checkpoint are written. A thread writes, from
copies, while the training goes on.

Reading deletes nothing. The run that writes to the folder cleans it at each save.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from wnrl._settings import UsageError, cut
from wnrl._settings.later import Later
from wnrl.rl.row_store import RowStore
from wnrl.train.foreign_text import visible
from wnrl.train.storage.atomic_files import (
    StorageError,
    fingerprint,
    remove_directory,
    sync_directory,
    write_file,
)
from wnrl.train.storage.background import Background
from wnrl.train.storage.checkpoint_manifest import (
    MANIFEST,
    NETWORK,
    STATE,
    BrokenCheckpoint,
    Manifest,
    ReplayRows,
    read_manifest,
    write_manifest,
)
from wnrl.train.storage.replay_segments import NewRows, ReplaySegments
from wnrl.train.storage.run_record import EMPTY, Record
from wnrl.train.untrusted.files import is_folder, refuse_special, special

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from wnrl.train.storage import snapshot
    from wnrl.train.untrusted import torch_file
else:
    torch = Later("torch")
    snapshot = Later("wnrl.train.storage.snapshot")
    torch_file = Later("wnrl.train.untrusted.torch_file")

_STEP_NAME = re.compile(r"step_([0-9]{9,18})")
_STEP_LEFTOVER = re.compile(r"step_[0-9]{9,18}\.tmp")


class CheckpointError(StorageError):
    """A checkpoint could not be written; the message says why and which one is kept."""


@dataclass(frozen=True)
class Saved:
    """A checkpoint on disk."""

    path: Path
    manifest: Manifest
    _loaded: dict[str, dict[str, Any]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def step(self) -> int:
        """Agent steps done when it was taken."""
        return self.manifest.step

    def network(self) -> dict[str, Tensor]:
        """Load the weights, on the CPU."""
        return self._take(NETWORK)

    def state(self) -> dict[str, Any]:
        """Load the state that was passed to `Checkpoints.save`, with tensors on the CPU."""
        return self._take(STATE)

    def _take(self, name: str) -> dict[str, Any]:
        """Return a file's content, which is not kept: it may be large."""
        if name not in self._loaded:
            self.load(name)
        return self._loaded.pop(name)

    def load(self, name: str) -> None:
        """Load a file before it is needed.

        Raises:
            BrokenCheckpoint: it holds something else than what was saved.
        """
        try:
            self._loaded[name] = torch_file.load_plain(self.path / name)
        except OSError as error:
            raise BrokenCheckpoint(f"{name}: {error.strerror or error}") from error
        except ValueError as error:
            raise BrokenCheckpoint(f"{name}: {error}") from error


class Content(NamedTuple):
    """What a checkpoint holds besides the replay's rows: copies, which nobody changes."""

    step: int
    state: dict[str, Any]
    network: dict[str, Tensor]


class Checkpoints:
    """The checkpoints of one run.

    To continue from `latest`, restore the run's parts from its `state()`, then call `resume`. Only
    one process may save to a folder; any process may read it.
    """

    def __init__(self, run_dir: Path, keep: int = 2, record: Record = EMPTY) -> None:
        """Nothing is read, written or removed yet.

        Args:
            run_dir: the run's folder.
            keep: number of the newest checkpoints that stay on disk.
            record: what the run is trained with; each checkpoint holds it.

        Raises:
            ValueError: `keep` is below 1.
        """
        if keep < 1:
            raise ValueError(f"keep must be at least 1, came {keep}")
        self._folder = Path(run_dir) / "checkpoints"
        self._segments = ReplaySegments(self._folder / "replay")
        self._keep = keep
        self._record = record
        self._current: Saved | None = None  # the newest one that this process read or wrote
        self._writing: Background | None = None  # the save in progress
        self._clean = False  # whether leftovers of earlier processes are removed

    def steps(self) -> list[int]:
        """Return the agent steps of the checkpoints on disk, valid or not, oldest first.

        Raises:
            UsageError: the folder cannot be read, or is a link, which is not followed.
        """
        try:
            return self._listed()
        except OSError as error:
            raise UsageError(
                f"{self._folder}: {error.strerror}; name the folder of a run with its checkpoints"
            ) from None

    def _listed(self) -> list[int]:
        inside = list(self._folder.iterdir()) if is_folder(self._folder) else []
        names = (_STEP_NAME.fullmatch(path.name) for path in inside)
        return sorted(int(match[1]) for match in names if match)

    def latest(self, *, weights_only: bool = False) -> Saved | None:
        """Return the newest checkpoint whose every byte is as it was written; None without any.

        A damaged one is skipped for the one before it, and named on stderr. What is needed of the
        checkpoint is loaded.

        Args:
            weights_only: for an evaluation, which needs the weights, but neither state nor replay.

        Raises:
            UsageError: there are checkpoints, but none can be used.
        """
        reasons: dict[Path, BrokenCheckpoint] = {}
        for step in reversed(self.steps()):
            try:
                saved = self._read(step)
                self._verify(saved, with_replay=not weights_only)
                saved.load(NETWORK if weights_only else STATE)
            except BrokenCheckpoint as error:
                reasons[self._path(step)] = error
            else:
                for path, reason in reasons.items():
                    line = cut(f"wnrl: checkpoint {path} is broken ({reason})", 250)
                    print(f"{visible(line)}; using {saved.path.name}", file=sys.stderr)
                return saved
        if reasons:
            raise UsageError(
                f"no usable checkpoint in {self._folder}: "
                f"{'; '.join(f'{path.name}: {reason}' for path, reason in reasons.items())}; "
                "restore one from a copy, or start a new run in another folder"
            )
        return None

    def at(self, step: int, *, weights_only: bool = False) -> Saved:
        """Return the checkpoint of an agent step, whole, with what is needed of it loaded.

        Args:
            step: its agent steps.
            weights_only: as in `latest`.

        Raises:
            UsageError: there is none, or it is damaged.
        """
        if step not in (steps := self.steps()):
            there = ", ".join(map(str, steps)) or "none"
            raise UsageError(
                f"{self._folder} has no checkpoint of agent step {step}; it has {there}"
            )
        try:
            saved = self._read(step)
            self._verify(saved, with_replay=not weights_only)
            saved.load(NETWORK if weights_only else STATE)
        except BrokenCheckpoint as error:
            raise UsageError(f"checkpoint {self._path(step)} is broken ({error})") from None
        return saved

    def resume(self, saved: Saved, replay: RowStore | None = None) -> None:
        """Bring back the replay's rows, and let the next `save` follow this checkpoint.

        Args:
            saved: from `latest`.
            replay: the agent's replay, after its `load_state_dict`.

        Raises:
            ValueError: the replay is missing, unexpected, or counts other rows.
        """
        rows = saved.manifest.replay
        if (rows is None) != (replay is None):
            raise ValueError(
                f"{saved.path} holds {'no' if rows is None else 'a'} replay, but the agent has "
                f"{'none' if replay is None else 'one'}"
            )
        if rows is not None and replay is not None:
            self._segments.read(rows, replay)
        self._current = saved

    def save(
        self,
        step: int,
        state: Mapping[str, Any],
        network: Mapping[str, Tensor],
        replay: RowStore | None = None,
        *,
        before: Callable[[], None] = lambda: None,
        wait: bool = True,
    ) -> Path:
        """Write a checkpoint in a thread, then remove what the kept ones do not need.

        The arguments are copied, and the replay's rows held, before this returns: they may change
        at once. The checkpoint exists once it is whole, from the rename of its folder on. A second
        save at the same step writes nothing.

        Args:
            step: agent steps done.
            state: everything that moves, made of tensors and plain values.
            network: the weights; equal weights give equal files, byte for byte.
            replay: the agent's replay, whose new rows are written.
            before: called in the thread; waits until the disk has the other files that the state
                refers to; OSError if it cannot.
            wait: return once the disk has it. If not, the training goes first where there are not
                enough cores, and `poll` or `wait` raise what goes wrong.

        Returns:
            The checkpoint's folder.

        Raises:
            CheckpointError: it, or the save before it, could not be written; the earlier
                checkpoint is intact. After the latter, call it again for this one.
            TypeError: the state holds a value that `torch.load(weights_only=True)` refuses.
            ValueError: the step is before the last checkpoint's.
        """
        self.wait()
        if self._current is not None and step <= self._current.step:
            if step == self._current.step:
                return self._current.path
            raise ValueError(
                f"a checkpoint of agent step {step} after one of step {self._current.step}"
            )
        content = Content(step, snapshot.snapshot(state), snapshot.weights_of(network))
        earlier = None if self._current is None else self._current.manifest.replay
        segments = () if earlier is None else earlier.segments
        rows = None if replay is None else self._segments.hold_new_rows(replay, segments)
        self._writing = Background(lambda: self._save(content, rows, before), gently=not wait)
        if wait:
            self.wait()
        return self._path(step)

    @property
    def writing(self) -> bool:
        """Return whether a thread writes a checkpoint now."""
        return self._writing is not None and not self._writing.ended

    def poll(self) -> None:
        """Raise CheckpointError once if a save that has ended failed. Costs nothing."""
        if self._writing is not None and self._writing.ended:
            self.wait()

    def wait(self) -> None:
        """Wait until the disk has the checkpoint that is being written, if any.

        Raises:
            CheckpointError: it could not be written; the earlier one is intact.
            UsageError: the folder holds another run's checkpoints.
        """
        if self._writing is not None:
            writing = self._writing
            writing.join()
            self._writing = None
            writing.require_success()

    def _save(self, content: Content, rows: NewRows | None, before: Callable[[], None]) -> None:
        """Do the part of a save that may take long; not on the training thread."""
        path = self._path(content.step)
        held = contextlib.nullcontext() if rows is None or rows.held is None else rows.held
        try:
            with held:
                if self._current is None and (old := self._listed()):
                    raise UsageError(
                        f"{self._folder} holds an earlier run's checkpoint of agent step "
                        f"{old[-1]}: resume that run, or choose another folder"
                    )
                before()
                if not self._folder.is_dir():
                    self._folder.mkdir()  # not the run's folder: that may be a mount that is gone
                    sync_directory(self._folder.parent)
                if not self._clean:
                    self._remove_unneeded()
                    self._clean = True
                replay = None if rows is None else self._segments.write(rows)
            self._current = self._write(path, content, replay)
            self._remove_unneeded()
        except OSError as error:
            raise CheckpointError(self._failure(path, error)) from error

    def _write(self, path: Path, content: Content, replay: ReplayRows | None) -> Saved:
        """Write a checkpoint's folder under a temporary name, and rename it."""
        temporary = path.with_name(f"{path.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        files = {
            name: write_file(temporary / name, partial(torch.save, part))
            for name, part in ((NETWORK, content.network), (STATE, content.state))
        }
        manifest = Manifest(content.step, files, replay, self._record)
        write_file(temporary / MANIFEST, lambda file: write_manifest(file, manifest))
        sync_directory(temporary)
        temporary.rename(path)
        sync_directory(self._folder)
        return Saved(path, manifest)

    def _read(self, step: int) -> Saved:
        """Read a checkpoint's manifest; BrokenCheckpoint if it cannot be used."""
        path = self._path(step)
        if kind := special(path):
            raise BrokenCheckpoint(f"it is {kind}")
        manifest = read_manifest(path / MANIFEST)
        if manifest.step != step:
            raise BrokenCheckpoint(f"{MANIFEST} belongs to agent step {manifest.step}")
        return Saved(path, manifest)

    def _verify(self, saved: Saved, *, with_replay: bool) -> None:
        """Raise BrokenCheckpoint unless every file is as it was written."""
        expected = {saved.path / name: content for name, content in saved.manifest.files.items()}
        if with_replay and saved.manifest.replay is not None:
            expected |= self._segments.files(saved.manifest.replay)
        for file, content in expected.items():
            try:
                refuse_special(file.parent)
                refuse_special(file)
                size_bytes = file.stat().st_size
                if size_bytes != content.size_bytes:
                    raise BrokenCheckpoint(
                        f"{file.name} has {size_bytes} bytes, not {content.size_bytes}"
                    )
                if fingerprint(file) != content:
                    raise BrokenCheckpoint(
                        f"{file.name} has another checksum than when it was written"
                    )
            except OSError as error:
                raise BrokenCheckpoint(f"{file.name}: {error.strerror}") from error

    def _remove_unneeded(self) -> None:
        """Remove old checkpoints, later ones that a resume discarded, segments and leftovers."""
        if not self._folder.is_dir():
            return
        newest = -1 if self._current is None else self._current.step
        kept: list[Saved] = []
        for step in reversed(self._listed()):
            try:
                wanted = step <= newest and len(kept) < self._keep
                saved = self._read(step) if wanted else None
            except BrokenCheckpoint:
                saved = None
            if saved is None:
                remove_directory(self._path(step))
            else:
                kept.append(saved)
        for leftover in self._folder.iterdir():
            if _STEP_LEFTOVER.fullmatch(leftover.name):
                remove_directory(leftover)
        replays = [saved.manifest.replay for saved in kept if saved.manifest.replay]
        self._segments.remove_others({s.name for replay in replays for s in replay.segments})

    def _failure(self, path: Path, error: OSError) -> str:
        """Remove what the failed save left; return in one line what happened and what is kept."""
        try:
            self._remove_unneeded()
        except OSError:
            self._clean = False  # the next save tries again
        remaining = "there is no earlier checkpoint"
        if self._current is not None:
            fate = "is kept" if self._current.path.exists() else "is gone"
            remaining = f"the checkpoint of agent step {self._current.step} {fate}"
        return f"could not write checkpoint {path}: {error.strerror or error}; {remaining}"

    def _path(self, step: int) -> Path:
        return self._folder / f"step_{step:09d}"
