"""The replay of a run on disk: files of rows, each written once and shared by the checkpoints."""

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from wnrl.rl.held_rows import HeldRows
from wnrl.rl.row_store import RowStore
from wnrl.train.storage.atomic_files import (
    Fingerprint,
    make_directory,
    sync_directory,
    write_file,
)
from wnrl.train.storage.checkpoint_manifest import ReplayRows, Segment, segment_name

_SEGMENT_OR_LEFTOVER = re.compile(r"rows_\d+_\d+\.npy(\.tmp)?")


class NewRows(NamedTuple):
    """The rows of a replay when a checkpoint was taken, with those that no segment holds yet."""

    oldest: int
    start: int  # the first row that no segment holds
    total: int
    segments: tuple[Segment, ...]  # that hold the rows before it
    held: HeldRows | None  # rows [start, total), if there are any


class ReplaySegments:
    """The folder of a run's replay segments."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read or written yet."""
        self._folder = folder

    def hold_new_rows(self, replay: RowStore, earlier: Collection[Segment]) -> "NewRows":
        """Hold the rows that no segment holds yet, so that `write` can write them in a thread.

        Args:
            replay: the agent's replay.
            earlier: the segments of the last checkpoint, in order.
        """
        oldest, total = replay.oldest_row, replay.total_rows
        segments = [segment for segment in earlier if segment.stop > oldest]
        if not all(self._is_there(segment) for segment in segments):
            segments = []  # somebody removed them: write all rows again
        start = max([oldest, *(segment.stop for segment in segments)])
        held = replay.hold_rows(start, total) if start < total else None
        return NewRows(oldest, start, total, tuple(segments), held)

    def write(self, new: "NewRows") -> ReplayRows:
        """Write held rows as a segment.

        Returns:
            The row range of the replay, and all segments that hold rows of it.
        """
        segments = list(new.segments)
        if new.held is not None:
            make_directory(self._folder)
            path = self._folder / segment_name(new.start, new.total)
            temporary = path.with_name(f"{path.name}.tmp")
            content = write_file(temporary, new.held.write)
            os.replace(temporary, path)
            sync_directory(self._folder)
            segments.append(Segment(new.start, new.total, content))
        return ReplayRows(new.oldest, new.total, tuple(segments))

    def _is_there(self, segment: Segment) -> bool:
        try:
            size_bytes = (self._folder / segment.name).stat().st_size
        except OSError:
            return False
        return size_bytes == segment.content.size_bytes

    def read(self, rows: ReplayRows, replay: RowStore) -> None:
        """Bring a checkpoint's rows back.

        Args:
            rows: rows of the checkpoint.
            replay: its `load_state_dict` is done, so that its counters are right.

        Raises:
            ValueError: the replay counts other rows.
        """
        counted = (replay.oldest_row, replay.total_rows)
        if counted != (rows.oldest_row, rows.total_rows):
            raise ValueError(
                f"the replay counts rows [{counted[0]}, {counted[1]}), the checkpoint holds "
                f"[{rows.oldest_row}, {rows.total_rows}): load the replay's state_dict first"
            )
        for segment in rows.segments:
            with (self._folder / segment.name).open("rb") as file:
                replay.read_rows(file, segment.start, segment.stop)

    def files(self, rows: ReplayRows) -> Mapping[Path, Fingerprint]:
        """Return the files that hold a checkpoint's rows, with their fingerprints."""
        return {self._folder / segment.name: segment.content for segment in rows.segments}

    def remove_others(self, needed: Collection[str]) -> None:
        """Remove segments and leftovers.

        Args:
            needed: names of the segments to keep.
        """
        if self._folder.is_dir():
            for file in self._folder.iterdir():
                if _SEGMENT_OR_LEFTOVER.fullmatch(file.name) and file.name not in needed:
                    file.unlink()
