"""The readings of a checkpoint, as a table on the screen and as files."""

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wnrl._settings import UsageError
from wnrl.curvature.next_update import NextUpdate, next_update
from wnrl.envs.guard.guarded_env import EnvironmentFault
from wnrl.instruments.curvature import Effort, measure
from wnrl.instruments.curvature.measure import ALL, RATIO_OF, Readings
from wnrl.train.exit_codes import ExitCode
from wnrl.train.faults.exit import report_fault
from wnrl.train.foreign_text import visible
from wnrl.train.storage.atomic_files import replace_text, storage_errors

HEADER = ("agent_steps", "quantity", "where", "value")
_MATRICES = (("hessian", "Hessian"), ("gauss_newton", "Gauss-Newton"))
_SPECTRUM = (
    ("largest", "largest eigenvalue"),
    ("smallest", "smallest eigenvalue"),
    ("mean_magnitude", "mean |eigenvalue|"),
    ("condition", "condition: largest / mean |eigenvalue|"),
    (f"top{RATIO_OF}_ratio", f"1st / {RATIO_OF}th largest eigenvalue"),
)
_ALL_LAYERS = "all layers"
_CAUTION = (
    "Sharpness depends on the parametrization: w and (g, v) differ for the same network, and the",
    "same function has other eigenvalues after a rescaling. The adaptive sharpness (Kwon et al.",
    "2021) does not change with factors that leave the function alone. Eigenvalues are Ritz",
    "values, inside the true spectrum; means are estimates.",
)


def measure_and_print(given: dict[str, Any]) -> ExitCode:
    """Measure as the flags of `wnrl.curvature` say; return the exit code.

    Raises:
        UsageError: a run that cannot be measured, or files that cannot be written.
    """
    try:
        update = next_update(
            Path(given["run_dir"]),
            given["rows"],
            checkpoint=given["checkpoint"],
            seed=given["seed"],
        )
    except EnvironmentFault as fault:
        return report_fault("wnrl.curvature", fault)
    if given["small_rows"] > update.problem.rows // 2:
        raise UsageError(
            f"--small-rows {given['small_rows']} is more than half of the {update.problem.rows} "
            "transitions that there are; give less"
        )
    effort = Effort(given["iterations"], given["small_rows"], given["seed"])
    readings = measure(update.network, update.problem, update.vectors, effort)
    print(*_described(given["run_dir"], update), *shown(readings), *_CAUTION, sep="\n", flush=True)
    if given["out"]:
        print(*write(Path(given["out"]), update.agent_steps, readings), sep="\n", flush=True)
    return ExitCode.DONE


def _described(run_dir: str, update: NextUpdate) -> Iterator[str]:
    run = update.config.run
    yield (
        f"{visible(run_dir)} at {update.agent_steps:,} agent steps: {run.agent} with norm "
        f"{run.norm} on {run.env}"
    )
    yield f"loss: what the next update of {run.agent} minimizes, its targets fixed"
    yield f"data: {update.problem.rows} transitions, {update.data}"


def shown(readings: Readings) -> Iterator[str]:
    """Yield the lines of the table."""
    yield ""
    yield f"{'':52}{'in w':>12}{'in (g, v)':>12}"
    for matrix, name in _MATRICES:
        for quantity, meaning in _SPECTRUM:
            cells = (_cell(readings[f"{matrix}_{quantity}/{where}"]) for where in ("w", "gv"))
            yield f"{f'{name}, {meaning}':52}" + "".join(f"{cell:>12}" for cell in cells)
    yield f"{'adaptive sharpness':52}{_cell(readings['adaptive_sharpness/w']):>12}"
    yield ""
    layers = [tag.split("/", 1)[1] for tag in readings if tag.startswith("noise_scale/")]
    width = max(map(len, (*layers, _ALL_LAYERS)))
    yield (
        f"{'':{width}}{'noise scale':>13}{'|gradient|^2':>14}"
        f"{'noise directions':>18}{'after eq. 4':>13}{'removed':>9}"
    )
    for layer in layers:
        row = (
            f"{_cell(readings[f'noise_scale/{layer}']):>13}",
            f"{_cell(readings[f'gradient_squared/{layer}']):>14}",
            f"{_cell(readings.get(f'covariance_rank_w/{layer}')):>18}",
            f"{_cell(readings.get(f'covariance_rank_v/{layer}')):>13}",
            f"{_cell(readings.get(f'covariance_removed/{layer}')):>9}",
        )
        yield f"{_ALL_LAYERS if layer == ALL else layer:{width}}" + "".join(row)
    yield ""


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if math.isfinite(value) else str(value)


def write(folder: Path, agent_steps: int, readings: Readings) -> list[str]:
    """Write the readings as a table and as JSON, NaN as null; return the files' names.

    Raises:
        UsageError: the folder is missing.
        StorageError: a file cannot be written.
    """
    if not folder.is_dir():
        raise UsageError(f"--out {visible(folder)} is no folder; make it, or name another")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for tag, value in readings.items():
        writer.writerow((agent_steps, *tag.split("/", 1), f"{value:.9g}"))
    finite = {tag: value if math.isfinite(value) else None for tag, value in readings.items()}
    document = json.dumps({"agent_steps": agent_steps, "readings": finite}, indent=2)
    stem = folder / f"curvature_step_{agent_steps:09d}"
    with storage_errors(folder, "choose another folder with --out"):
        for suffix, content in ((".csv", text.getvalue()), (".json", f"{document}\n")):
            replace_text(stem.with_suffix(suffix), content)
    return [visible(stem.with_suffix(suffix)) for suffix in (".csv", ".json")]
