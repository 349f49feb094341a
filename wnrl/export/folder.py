"""From the flags of `wnrl.export` to a folder of files, all written or none."""

import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from wnrl._settings import UsageError
from wnrl.envs.guard.guarded_env import EnvironmentFault
from wnrl.export.card import repository_name
from wnrl.export.formats import CONTENTS, make_export
from wnrl.export.trained_run import load_run
from wnrl.train.exit_codes import ExitCode
from wnrl.train.faults.exit import report_fault
from wnrl.train.foreign_text import quoted, visible
from wnrl.train.storage.atomic_files import make_directory, replacing, sync_directory, write_file


def export_and_print(given: dict[str, Any]) -> ExitCode:
    """Export as the flags of `wnrl.export` say; return the exit code.

    Raises:
        UsageError: a run that cannot be exported, or files that cannot be written.
    """
    out = Path(given["out"])
    check_folder(out)
    try:
        run = load_run(Path(given["run_dir"]), given["checkpoint"])
    except EnvironmentFault as fault:
        return report_fault("wnrl.export", fault)
    made = make_export(run, tuple(given["format"]), hub=given["hub"])
    print(*write(out, made.files), sep="\n")
    for name, why in made.left_out.items():
        print(f"left out {name}: {visible(why)}")
    if given["hub"]:
        print(f"upload it with: hf upload {quoted(repository_name(run))} {quoted(out)} .")
    return ExitCode.DONE


def check_folder(folder: Path) -> None:
    """Raise UsageError unless a folder is empty or does not exist."""
    problem = ""
    try:
        if folder.exists() and not folder.is_dir():
            problem = "is no folder"
        elif folder.is_dir() and any(folder.iterdir()):
            problem = "is not empty"
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    if problem:
        raise UsageError(f"--out {folder} {problem}; name a new or an empty folder")


def write(folder: Path, files: Mapping[str, bytes]) -> Iterator[str]:
    """Write the files, each atomically, and yield a line for each.

    Raises:
        UsageError: a file cannot be written. None is left then.
    """
    check_folder(folder)
    made = not folder.exists()
    written: list[Path] = []
    try:
        make_directory(folder)
        for name, content in files.items():
            with replacing(folder / name) as temporary:
                write_file(temporary, partial(_fill, content))
            written.append(folder / name)
        sync_directory(folder)
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        if made and folder.is_dir():
            folder.rmdir()
        raise UsageError(
            f"cannot write {os.fsdecode(error.filename or folder)}: {error.strerror or error}; "
            "make room, or name another folder with --out"
        ) from None
    for path in written:
        yield f"{visible(path)}: {CONTENTS[path.name]}, {len(files[path.name]):,} bytes"


def _fill(content: bytes, file: BinaryIO) -> None:
    file.write(content)
