"""Keep a study's finished runs in small files that fit into the repository.

    python scripts/study/archive.py pack runs/study/a scripts/results/study_a
    python scripts/study/archive.py unpack scripts/results/study_a runs/study/a

Packing adds one archive with the runs that have ended and that no archive of the folder holds.
It keeps the files of a run that a report reads, and the readings of its instruments. It leaves out
weights, TensorBoard's files, the columns of episodes.csv that no report reads, and fractions of
seconds except for the last episode. After unpacking, `wnrl.compare` takes the runs as finished: it
writes the same report, or goes on with the runs that are missing.
"""

import argparse
import csv
import io
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wnrl.report.run_result import COMPARISON
from wnrl.train.storage.run_status import RunState, read_status

ENDED = (RunState.DONE, RunState.DIVERGED)
TABLES = ("config.json", "status.json", "evaluations.csv", "timings.csv")
EPISODES = "episodes.csv"
COLUMNS = ("agent_step", "raw_return", "wall_time_s")
INSTRUMENTS = "instruments.csv"
ARCHIVE = re.compile(r"runs_(\d+)\.tar\.xz")


def main() -> None:
    """Pack or unpack the runs of a study."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("action", choices=["pack", "unpack"])
    parser.add_argument("source", type=Path, help="folder to read")
    parser.add_argument("destination", type=Path, help="folder to write")
    arguments = parser.parse_args()
    if arguments.action == "pack":
        added = pack(arguments.source, arguments.destination)
        print(f"packed {added} runs into {arguments.destination}")
    else:
        held = unpack(arguments.source, arguments.destination)
        print(f"unpacked {held} runs into {arguments.destination}")


def pack(study: Path, archives: Path) -> int:
    """Add an archive with the new runs of a study; return how many there are.

    Args:
        study: folder of the comparison.
        archives: folder of its archives, which is made if it does not exist.
    """
    archives.mkdir(parents=True, exist_ok=True)
    held = {name for path in _archives(archives) for name in _runs_in(path)}
    ended = {
        str(config.parent.relative_to(study)): config.parent
        for config in sorted(study.rglob("config.json"))
        if read_status(config.parent).state in ENDED
    }
    new = {name: folder for name, folder in ended.items() if name not in held}
    if not new:
        return 0
    number = len(_archives(archives)) + 1
    with tarfile.open(archives / f"runs_{number}.tar.xz", "w:xz", preset=9) as archive:
        for record in sorted(study.rglob(COMPARISON)):
            _add(archive, str(record.relative_to(study)), record.read_bytes())
        for name, folder in new.items():
            for file, content in _kept(folder):
                _add(archive, f"{name}/{file}", content)
            for checkpoint in (folder / "checkpoints").iterdir():
                _add_folder(archive, f"{name}/checkpoints/{checkpoint.name}")
    return len(new)


def unpack(archives: Path, study: Path) -> int:
    """Write the runs of all archives into the folder of a comparison; return how many there are."""
    runs = 0
    for path in _archives(archives):
        with tarfile.open(path) as archive:
            archive.extractall(study, filter="data")
        runs += len(_runs_in(path))
    return runs


def instruments(run: Path) -> list[tuple[str, int, float]]:
    """Return a run's readings (tag, agent step, value) of instruments from TensorBoard's files."""
    # slow to import
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator: Any = EventAccumulator  # TensorBoard declares no types
    events = accumulator(str(run), {"scalars": 0, "histograms": 1, "tensors": 1}).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag.startswith("norm/")]
    return [(tag, x.step, x.value) for tag in sorted(tags) for x in events.Scalars(tag)]


def _kept(run: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of the files of a run that an archive holds."""
    for name in TABLES:
        if (run / name).exists():
            yield name, (run / name).read_bytes()
    with (run / EPISODES).open(newline="") as file:
        rows = [[row[name] for name in COLUMNS] for row in csv.DictReader(file)]
    for row in rows[:-1]:
        row[-1] = str(int(float(row[-1])))
    yield EPISODES, _csv(COLUMNS, rows)
    readings = [(tag, step, f"{value:.6g}") for tag, step, value in instruments(run)]
    yield INSTRUMENTS, _csv(("tag", "agent_step", "value"), readings)


def _csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue().encode()


def _archives(folder: Path) -> list[Path]:
    """Return the archives of a folder in the order in which they were made."""
    numbered = [(match, path) for path in folder.iterdir() if (match := ARCHIVE.match(path.name))]
    return [path for _, path in sorted((int(match[1]), path) for match, path in numbered)]


def _runs_in(archive: Path) -> list[str]:
    with tarfile.open(archive) as opened:
        names = [Path(name) for name in opened.getnames()]
    return [str(name.parent) for name in names if name.name == "config.json"]


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _add_folder(archive: tarfile.TarFile, name: str) -> None:
    member = tarfile.TarInfo(name)
    member.type = tarfile.DIRTYPE
    member.mode = 0o755
    archive.addfile(member)


if __name__ == "__main__":
    main()
