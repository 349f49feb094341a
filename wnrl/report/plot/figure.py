"""The learning curves of runs: a panel per environment, a line per folder of seeds."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from wnrl._settings import UsageError
from wnrl.report.analyze import mean_curve
from wnrl.report.comparison import Curve, Variant
from wnrl.report.figures.curves import (
    NO_BANDS,
    THIN,
    WHAT,
    clipped,
    lines_of,
    lines_panel,
    panel_style,
)
from wnrl.report.figures.image_files import save
from wnrl.report.figures.layout import WIDE, in_rows
from wnrl.report.figures.sheet import Sheet
from wnrl.report.figures.style import Look, drawing, look_of
from wnrl.report.number_format import counted
from wnrl.report.run_result import Result, find_runs, read_result
from wnrl.train.foreign_text import visible
from wnrl.train.storage.atomic_files import storage_errors
from wnrl.train.storage.run_folder import CONFIG
from wnrl.train.untrusted.runs_near import runs_near

Lines = Mapping[Variant, Sequence[Result]]  # of one environment: the runs of each line


def draw(folders: Sequence[Path], out: Path) -> str:
    """Draw the runs in some folders; return what was drawn, in one line.

    Raises:
        UsageError: a folder has no run, or none that can be read; or no episode has ended.
        StorageError: the picture cannot be written.
    """
    runs = read_runs(folders)
    panels = by_environment(runs)
    with drawing(), storage_errors(out.parent, "name another file with --out"):
        save(sheet_of(panels), out)
    return f"{visible(out)}: {counted(len(runs), 'run')} of {', '.join(panels)}"


def read_runs(folders: Sequence[Path]) -> list[Result]:
    """Return the runs in some folders, each once, in order.

    Raises:
        UsageError: a folder has no run, or one that cannot be read; or no episode has ended.
    """
    found: dict[Path, Path] = {}
    for folder in folders:
        inside = find_runs(folder)
        if not inside:
            raise UsageError(
                f"there is no run in {visible(folder)}; name a folder with a {CONFIG}"
                f"{runs_near(folder, CONFIG)}"
            )
        found |= {path.resolve(): path for path in inside}
    runs = [read_result(path) for path in found.values()]
    if not any(run.episodes for run in runs):
        raise UsageError("no episode of these runs has ended yet; train them longer first")
    return runs


def by_environment(runs: Sequence[Result]) -> dict[str, dict[Variant, list[Result]]]:
    """Return the runs of each line of each environment.

    Runs belong to one line if their folders differ in the seed alone: `dqn-weight/seed1` and
    `dqn-weight/seed2`. Lines are named by their folder, `dqn-weight`, and by as many folders above
    it as tell them apart.
    """
    lines: dict[Path, list[Result]] = defaultdict(list)
    for run in runs:
        folder = run.folder.resolve()
        lines[folder.parent if folder.name == f"seed{run.config.run.seed}" else folder].append(run)
    depth = 1
    while len({line.parts[-depth:] for line in lines}) < len(lines):
        depth += 1
    panels: dict[str, dict[Variant, list[Result]]] = defaultdict(dict)
    for line, its_runs in lines.items():
        name = Variant("/".join(line.parts[-depth:]))
        panels[its_runs[0].config.run.env][name] = its_runs
    return panels


def curves_of(lines: Lines) -> dict[Variant, Curve]:
    """Return the curve of each line of an environment."""
    returns = [run.returns for runs in lines.values() for run in runs]
    return {
        variant: clipped(mean_curve(runs, max(run.config.run.steps for run in runs)), returns)
        for variant, runs in lines.items()
    }


def sheet_of(panels: Mapping[str, Lines]) -> Sheet:
    """Return the figure."""
    look = looks_of(panels)
    columns = WIDE.columns_of(len(panels))
    style = panel_style(look, WIDE, columns)
    several = any(len(runs) > 1 for lines in panels.values() for runs in lines.values())
    return Sheet(
        width_in=WIDE.width_in(columns),
        title="Return during training",
        warning="",
        key=style.key,
        rows=in_rows(
            [
                lines_panel(
                    title=env,
                    notes=("raw return",),
                    warning="",
                    lines=lines_of(curves_of(lines), style),
                    marks=[],
                    style=style,
                )
                for env, lines in panels.items()
            ],
            columns,
        ),
        small_print=(WHAT, THIN) if several else (NO_BANDS,),
    )


def looks_of(panels: Mapping[str, Lines]) -> dict[Variant, Look]:
    """Return each line's look: a normalization's colour, and dashes where it has several lines."""
    norms = {
        variant: runs[0].config.run.norm
        for lines in panels.values()
        for variant, runs in lines.items()
    }
    alike: dict[str, list[Variant]] = defaultdict(list)
    for variant, norm in norms.items():
        alike[norm].append(variant)
    return {
        variant: look_of(norm, alike[norm].index(variant), alike) for variant, norm in norms.items()
    }
