"""Read back what a tracker stored on this machine: its own files, not what was given to it."""

import json
import os
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

CLIP = "eval/video"
PRIVATE = {  # no test may send anything, whatever the machine's user set up
    "WANDB_MODE": "offline",
    "WANDB_ERROR_REPORTING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_OFFLINE": "1",
    "PYTHONWARNINGS": "ignore",  # SQLAlchemy warns of what MLflow calls
}


class Stored(NamedTuple):
    """One run in a tracker's store."""

    ids: list[str]  # of the tracker, in the order of the parts
    group: str
    config: dict[str, Any]
    points: list[tuple[int, str, float]]  # agent step, tag, value
    ended: bool
    files: list[str]  # names of attached files
    clips: dict[int, bytes]  # GIFs of evaluations, by agent step

    def of(self, tag: str) -> list[tuple[int, float]]:
        return sorted((step, value) for step, name, value in self.points if name == tag)


def environment(folder: Path) -> dict[str, str]:
    """Variables that put all stores into a folder."""
    return {
        **PRIVATE,
        "WANDB_DIR": str(folder),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "TRACKIO_DIR": str(folder / "trackio"),
    }


def in_their_folder() -> None:
    """Let a process write files of no fixed place, such as MLflow's, into the stores' folder."""
    os.chdir(os.environ["WANDB_DIR"])


def read(tracker: str, folder: Path) -> list[Stored]:
    """The runs that a tracker has in a folder."""
    return _READERS[tracker](folder)


def _of_mlflow(folder: Path) -> list[Stored]:
    base = sqlite3.connect(folder / "mlflow.db")
    rows = base.execute("select run_uuid, status, artifact_uri from runs").fetchall()
    found = []
    for run_id, status, artifacts in rows:
        metrics = base.execute("select step, key, value from metrics where run_uuid=?", [run_id])
        params = base.execute("select key, value from params where run_uuid=?", [run_id])
        tags = dict(base.execute("select key, value from tags where run_uuid=?", [run_id]))
        files = sorted(path.name for path in Path(artifacts).glob("*") if path.is_file())
        gifs = Path(artifacts).glob("eval/video/step*.gif")
        clips = {int(path.stem.removeprefix("step")): path.read_bytes() for path in gifs}
        ended = status == "FINISHED"
        group = tags.get("group", "")
        found.append(Stored([run_id], group, dict(params), list(metrics), ended, files, clips))
    base.close()
    return found


def _of_trackio(folder: Path) -> list[Stored]:
    base = sqlite3.connect(folder / "trackio" / "wnrl.db")
    found = []
    for run_id, text in base.execute("select run_id, config from configs").fetchall():
        rows = base.execute("select step, metrics from metrics where run_id=?", [run_id])
        cells = [(step, tag, x) for step, cell in rows for tag, x in json.loads(cell).items()]
        points = [cell for cell in cells if isinstance(cell[2], int | float)]
        media = folder / "trackio" / "media"
        clips = {
            step: (media / x["file_path"]).read_bytes() for step, tag, x in cells if tag == CLIP
        }
        config = json.loads(text)
        files = [name for (name,) in base.execute("select name from artifacts")]
        found.append(Stored([run_id], config["_Group"] or "", config, points, True, files, clips))
    base.close()
    return found


def _of_wandb(folder: Path) -> list[Stored]:
    """Read the offline files; the parts of a resumed run are one run, as on wandb's server."""
    from wandb.proto import wandb_internal_pb2

    runs: dict[str, Stored] = {}
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        for data in _records(path.read_bytes()):
            record: Any = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.HasField("run"):
                run_id, group = record.run.run_id, record.run.run_group
                config = {x.key: json.loads(x.value_json) for x in record.run.config.update}
                run = runs.setdefault(run_id, Stored([], group, config, [], False, [], {}))
                if path.name not in run.ids:
                    run.ids.append(path.name)
            elif record.HasField("history"):
                items = record.history.item
                row = {x.key or x.nested_key[0]: json.loads(x.value_json) for x in items}
                step = row.pop("agent_steps", 0)
                numbers = {tag: x for tag, x in row.items() if isinstance(x, int | float)}
                run.points.extend(
                    (step, tag, x) for tag, x in numbers.items() if not tag.startswith("_")
                )
                for x in items:
                    if list(x.nested_key) == [CLIP, "path"]:
                        file = path.parent / "files" / json.loads(x.value_json)
                        run.clips[step] = file.read_bytes()
                run.files.extend(tag for tag, x in row.items() if isinstance(x, dict))
            elif record.HasField("exit"):
                runs[run_id] = run = run._replace(ended=record.exit.exit_code == 0)
    return list(runs.values())


def _records(data: bytes) -> list[bytes]:
    """The records of a wandb file: LevelDB's log format after seven bytes of its own."""
    block, position, records, begun = 32_768, 7, [], b""
    while position + 7 <= len(data):
        if block - position % block < 7:
            position += block - position % block
            continue
        size = int.from_bytes(data[position + 4 : position + 6], "little")
        kind, position = data[position + 6], position + 7
        begun += data[position : position + size]
        position += size
        if kind in (1, 4):  # full, last
            records.append(begun)
            begun = b""
    return records


_READERS = {"mlflow": _of_mlflow, "trackio": _of_trackio, "wandb": _of_wandb}
