"""The replay of a run on disk: files of rows, each written once and shared by the checkpoints."""

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from wnrl.rl.row_store import RowStore
from wnrl.train.storage.atomic_files import (
    Fingerprint,
    make_directory,
    sync_directory,
    write_file,
)
from wnrl.train.storage.checkpoint_manifest import ReplayRows, Segment, segment_name

_SEGMENT_OR_LEFTOVER = re.compile(r"rows_\d+_\d+\.npy(\.tmp)?")


class ReplaySegments:
    """The folder of a run's replay segments."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read or written yet."""
        self._folder = folder

    def write_new_rows(self, replay: RowStore, earlier: Collection[Segment]) -> ReplayRows:
        """Write the rows that no segment holds yet.

        Args:
            replay: the agent's replay.
            earlier: the segments of the last checkpoint, in order.

        Returns:
            The row range of the replay, and all segments that hold rows of it.
        """
        oldest, total = replay.oldest_row, replay.total_rows
        segments = [segment for segment in earlier if segment.stop > oldest]
        start = max([oldest, *(segment.stop for segment in segments)])
        if start < total:
            make_directory(self._folder)
            path = self._folder / segment_name(start, total)
            temporary = path.with_name(f"{path.name}.tmp")
            content = write_file(temporary, lambda file: replay.write_rows(file, start, total))
            os.replace(temporary, path)
            sync_directory(self._folder)
            segments.append(Segment(start, total, content))
        return ReplayRows(oldest, total, tuple(segments))

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
