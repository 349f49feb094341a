"""Keep a study's finished runs in small files that fit into the repository.

    python scripts/study/archive.py pack runs/study/a scripts/results/study_a
    python scripts/study/archive.py unpack scripts/results/study_a runs/study/a

Packing adds one archive with the runs that have ended and that no archive of the folder holds.
It keeps the files of a run that a report reads, and the readings of its instruments. It leaves out
weights, TensorBoard's files, the columns of episodes.csv that no report reads, and fractions of
seconds except for the last episode. After unpacking into a new folder, `wnrl.compare` takes the
runs that were done as done: it writes the same report, or goes on with the runs that are missing.
It trains a run that diverged again.
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
from wnrl.train.storage.atomic_files import replacing
from wnrl.train.storage.csv_log import CURVATURE, EPISODES, EVALUATIONS, TIMINGS, WRAPS
from wnrl.train.storage.run_folder import CONFIG
from wnrl.train.storage.run_status import STATUS, RunState, read_status

ENDED = (RunState.DONE, RunState.DIVERGED)
KEPT = (CONFIG, STATUS, EVALUATIONS, TIMINGS, CURVATURE)  # whole, where a run has them
COLUMNS = ("agent_step", "raw_return", "wall_time_s", WRAPS)  # of the episodes
WALL_TIME = 2
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
        return
    if arguments.destination.exists():
        parser.error(f"{arguments.destination} exists; unpack into a new folder")
    held = unpack(arguments.source, arguments.destination)
    print(f"unpacked {held} runs into {arguments.destination}")


def pack(study: Path, archives: Path) -> int:
    """Add an archive with the new runs of a study; return how many there are.

    Args:
        study: folder of the comparison.
        archives: folder of its archives, which is made if it does not exist.
    """
    archives.mkdir(parents=True, exist_ok=True)
    earlier = _archives(archives)
    held = {name for path in earlier.values() for name in _runs_in(path)}
    states = {
        str(config.parent.relative_to(study)): read_status(config.parent).state
        for config in sorted(study.rglob(CONFIG))
    }
    ended = {name: state for name, state in states.items() if state in ENDED and name not in held}
    if not ended:
        return 0
    target = archives / f"runs_{max(earlier, default=0) + 1}.tar.xz"
    with replacing(target) as path, tarfile.open(path, "w:xz", preset=9) as archive:
        for record in sorted(study.rglob(COMPARISON)):
            _add(archive, str(record.relative_to(study)), record.read_bytes())
        for name, state in ended.items():
            for file, content in _kept(study / name):
                _add(archive, f"{name}/{file}", content)
            if state is RunState.DONE:  # by which a comparison knows it
                for checkpoint in (study / name / "checkpoints").iterdir():
                    _add_folder(archive, f"{name}/checkpoints/{checkpoint.name}")
    return len(ended)


def unpack(archives: Path, study: Path) -> int:
    """Write the runs of all archives into a new folder; return how many there are."""
    runs = 0
    for _, path in sorted(_archives(archives).items()):
        with tarfile.open(path) as archive:
            archive.extractall(study, filter="data")
        runs += len(_runs_in(path))
    return runs


def instruments(run: Path) -> list[tuple[str, int, float]]:
    """Return a run's readings (tag, agent step, value) from its table or TensorBoard's files."""
    if (run / INSTRUMENTS).exists():
        with (run / INSTRUMENTS).open(newline="") as file:
            rows = csv.DictReader(file)
            return [(x["tag"], int(x["agent_step"]), float(x["value"])) for x in rows]
    # slow to import
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator: Any = EventAccumulator  # TensorBoard declares no types
    events = accumulator(str(run), {"scalars": 0, "histograms": 1, "tensors": 1}).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag.startswith("norm/")]
    return [(tag, x.step, x.value) for tag in sorted(tags) for x in events.Scalars(tag)]


def _kept(run: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of the files of a run that an archive holds."""
    for name in KEPT:
        if (run / name).exists():
            yield name, (run / name).read_bytes()
    if (run / EPISODES).exists():
        with (run / EPISODES).open(newline="") as file:
            rows = [[row[name] for name in COLUMNS] for row in csv.DictReader(file)]
        for row in rows[:-1]:
            row[WALL_TIME] = str(int(float(row[WALL_TIME])))
        yield EPISODES, _csv(COLUMNS, rows)
    readings = [(tag, step, f"{value:.6g}") for tag, step, value in instruments(run)]
    yield INSTRUMENTS, _csv(("tag", "agent_step", "value"), readings)


def _csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue().encode()


def _archives(folder: Path) -> dict[int, Path]:
    """Return the archives of a folder by their numbers."""
    found = [(ARCHIVE.fullmatch(path.name), path) for path in folder.iterdir()]
    return {int(match[1]): path for match, path in found if match}


def _runs_in(archive: Path) -> list[str]:
    with tarfile.open(archive) as opened:
        names = [Path(name) for name in opened.getnames()]
    return [str(name.parent) for name in names if name.name == CONFIG]


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
