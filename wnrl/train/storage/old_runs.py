"""Reads runs of earlier versions.

Runs from before evaluations.csv, timings.csv and status.json have their evaluations and times only
in TensorBoard's event files. Checkpoints from before the instruments, or from before layers had
names, are converted when they are loaded. Networks accept layers by number themselves
(`wnrl.nn.networks.named_layers`).
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from wnrl._settings import UsageError
from wnrl._settings.later import Later
from wnrl.train.storage.atomic_files import replace_text
from wnrl.train.storage.csv_log import EPISODES, EVALUATIONS, HEADERS, TIMINGS
from wnrl.train.storage.train_log import tail
from wnrl.train.untrusted.files import special

if TYPE_CHECKING:
    from torch import nn

    from wnrl.nn.networks import named_layers
else:
    named_layers = Later("wnrl.nn.networks.named_layers")

_RECENT_EPISODES = 100


class Scalars(NamedTuple):
    """The scalars that are tables today: value by agent step, rising."""

    mean_return: dict[int, float]  # raw, of each evaluation
    mean_length: dict[int, float]  # in agent steps, of each evaluation
    act_ms: dict[int, float]
    update_ms: dict[int, float]


_TAGS = ("eval/mean_reward", "eval/mean_ep_length", "time/act_ms", "time/update_ms")


def read_scalars(run_dir: Path) -> Scalars:
    """Read the event files of a run as TensorBoard shows them.

    Raises:
        UsageError: a file cannot be read.
    """
    if not next(run_dir.glob("events.out.tfevents.*"), None):
        return Scalars({}, {}, {}, {})
    for file in run_dir.glob("*tfevents*"):  # TensorBoard opens them all
        if kind := special(file):
            raise UsageError(f"{file} is {kind}; remove it")
    # slow to import
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator: Any = EventAccumulator  # TensorBoard declares no types
    events = accumulator(str(run_dir), {"scalars": 0, "histograms": 1, "tensors": 1})
    try:
        tags = events.Reload().Tags()["scalars"]
    except OSError as error:
        path = os.fsdecode(error.filename or run_dir)
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # a damaged record can fail in any part of TensorBoard
        raise UsageError(
            f"the event files of {run_dir} are damaged ({type(error).__name__}); restore them from "
            "a copy, or remove them"
        ) from None

    def values(tag: str) -> dict[int, float]:
        newest = {x.step: x.value for x in events.Scalars(tag)} if tag in tags else {}
        return dict(sorted(newest.items()))

    return Scalars(*map(values, _TAGS))


def mean_return(run_dir: Path) -> float | None:
    """Return the mean raw return of the last 100 episodes; None before the first."""
    returns = [
        float(row[2])
        for row in csv.reader(tail(run_dir / EPISODES).splitlines()[-_RECENT_EPISODES:])
        if len(row) in (5, 6) and row[0].isdigit()  # neither the header nor half a row
    ]
    return math.fsum(returns) / len(returns) if returns else None


def is_progress_line(line: str) -> bool:
    """Return whether the last line of train.log only says how far the run was."""
    return line.startswith("step ")


def migrate(
    state: dict[str, Any],
    run_dir: Path,
    agent_step: int,
    network: nn.Module,
    instruments: Mapping[str, Any],
    eval_episodes: int,
) -> None:
    """Convert the state of a checkpoint to today's form, in place.

    Writes the tables that the run does not have yet, from its event files up to the checkpoint.

    Args:
        state: as it was loaded.
        run_dir: the run's folder.
        agent_step: agent steps at the checkpoint.
        network: the run's network, whose layers have names.
        instruments: the state of instruments that have read nothing yet.
        eval_episodes: episodes per evaluation.
    """
    state.setdefault("instruments", instruments)
    state["instruments"] = {
        name: named_layers.with_names(network, part) if isinstance(part, Mapping) else part
        for name, part in state["instruments"].items()
    }
    recorder = state["recorder"]
    if "evaluations" in recorder:
        return
    scalars = read_scalars(run_dir)
    evaluations = [
        f"{step},{eval_episodes},{value},{scalars.mean_length[step]}"
        for step, value in scalars.mean_return.items()
        if step <= agent_step and step in scalars.mean_length
    ]
    timings = [
        f"{step},{value:.6g},{scalars.update_ms.get(step, math.nan):.6g}".replace("nan", "")
        for step, value in scalars.act_ms.items()
        if step <= agent_step
    ]
    recorder["evaluations"] = _write_table(run_dir / EVALUATIONS, evaluations)
    recorder["timings"] = _write_table(run_dir / TIMINGS, timings)


def _write_table(path: Path, rows: Sequence[str]) -> dict[str, int]:
    """Write a table; return the state of its `CsvLog`."""
    text = HEADERS[path.name] + "".join(f"{row}\n" for row in rows)
    replace_text(path, text)
    return {"size_bytes": len(text)}
