"""The tables of a comparison: scores.csv, a row per run; summary.md, a table per environment."""

import csv
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wnrl.grid import compared
from wnrl.intervals import t_interval, verdict
from wnrl.results import WINDOW_FRACTION, Result
from wnrl.settings import flag_name

_VERSIONS = ("wnrl", "torch", "ale-py", "gymnasium")

Variant = tuple[str, str, tuple[str, ...]]  # environment, normalization, swept values


def variant_of(values: Mapping[str, Any], swept: Sequence[str]) -> Variant:
    """What a run is an instance of, from `wnrl.grid.compared`; `-` where it has no such setting."""
    return (
        str(values["env"]),
        str(values["norm"]),
        tuple(str(values.get(name, "-")) for name in swept),
    )


def write_scores(path: Path, results: Sequence[Result], swept: Sequence[str]) -> None:
    """A row per run, whether done or not.

    Args:
        path: the CSV file, replaced as a whole.
        results: the runs.
        swept: settings with columns of their own.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        of_run: list[Any] = ["run", "env", "agent", "norm", *swept, "seed"]
        measured = ["final_return", "area_under_curve", "max_evaluation", "wall_s"]
        how_far: list[Any] = ["agent_steps", "done", "episodes"]
        writer.writerow([*of_run, *how_far, *measured, "protocol", "commit"])
        for result in results:
            run, values = result.config.run, compared(result.config, swept)
            name = result.folder.relative_to(path.parent)
            settings = [values.get(setting, "") for setting in swept]
            done = "yes" if result.done else "no"
            numbers = [result.final, result.area, result.best_evaluation, result.wall_s]
            scores = ["" if x is None or math.isnan(x) else f"{x:.6g}" for x in numbers]
            of_run = [name, run.env, run.agent, run.norm, *settings, run.seed]
            how_far = [result.agent_steps, done, result.episodes]
            writer.writerow([*of_run, *how_far, *scores, result.protocol, " ".join(result.commits)])
    os.replace(temporary, path)


def summarize(
    results: Sequence[Result],
    planned: Sequence[Variant],
    problems: Mapping[str, str],
    swept: Sequence[str],
) -> str:
    """The summary, in Markdown.

    Args:
        results: all runs that are there; tables are of those that are done and have a score.
        planned: variants that were asked for; one without a run has a line of its own.
        problems: runs by name that are missing or not done, and why.
        swept: settings that were varied beside environment, normalization and seed.
    """
    scored: dict[Variant, list[Result]] = {variant: [] for variant in planned}
    for result in results:
        runs = scored.setdefault(variant_of(compared(result.config, swept), swept), [])
        if result.done and not math.isnan(result.final):
            runs.append(result)
    lines = ["# Comparison", "", *_head(results), ""]
    for env in dict.fromkeys(variant[0] for variant in scored):
        own = {variant: runs for variant, runs in scored.items() if variant[0] == env}
        lines += [f"## {env}", "", *_table(own, swept), ""]
        said = verdict(min(len(runs) for runs in own.values()))
        lines += [f"**{said}**", ""] if said else []
    lines += [
        f"Final return: mean raw return of the training episodes that ended in the last "
        f"{WINDOW_FRACTION:.0%} of the agent steps (none there: in as many before the last one "
        "that ended). Area: the mean height of that trailing mean over the whole run. Intervals: "
        "95%, Student's t over seeds. Maximum: each run's best evaluation, averaged over seeds; it "
        "grows with the number of evaluations and stands here for comparison with papers alone.",
        "",
    ]
    if problems:
        lines += ["## Not in the tables", ""]
        lines += [f"- {name}: {why}" for name, why in problems.items()]
        lines.append("")
    return "\n".join(lines)


def _head(results: Sequence[Result]) -> list[str]:
    def each(values: Sequence[str]) -> str:
        return ", ".join(dict.fromkeys(values)) or "-"

    configs = [result.config for result in results]
    versions = [
        " ".join(f"{name} {x.versions[name]}" for name in _VERSIONS if name in x.versions)
        for x in results
    ]
    settings = {
        flag_name(name): value
        for config in configs
        for name, value in config.departures.items()
        if name in config.explicit and all(c.values.get(name) == value for c in configs)
    }
    facts = {
        "agent": each([config.run.agent for config in configs]),
        "protocol": each([result.protocol for result in results]),
        "agent steps": each([f"{config.run.steps:,}" for config in configs]),
        "settings": each([f"--{name} {value}" for name, value in settings.items()]),
        "commit": each([commit for result in results for commit in result.commits]),
        "versions": each(versions),
    }
    return [f"- {name}: {value}" for name, value in facts.items()]


def _table(scored: Mapping[Variant, Sequence[Result]], swept: Sequence[str]) -> list[str]:
    columns = ["norm", *(flag_name(name) for name in swept), "seeds", "final return", "area"]
    columns.append("maximum over evaluations")
    rows = [columns, ["---"] * len(columns)]
    for (_, norm, values), runs in scored.items():
        best = [run.best_evaluation for run in runs if run.best_evaluation is not None]
        final, area = [run.final for run in runs], [run.area for run in runs]
        highest = f"{sum(best) / len(best):.4g}" if best and len(best) == len(runs) else "-"
        rows.append([norm, *values, str(len(runs)), _estimate(final), _estimate(area), highest])
    return [f"| {' | '.join(cells)} |" for cells in rows]


def _estimate(values: Sequence[float]) -> str:
    """`12.3 [10.1, 14.5]`, without an interval where there is none."""
    if not values:
        return "-"
    interval = t_interval(values)
    if math.isnan(interval.low):
        return f"{interval.mean:.4g} (no interval)"
    return f"{interval.mean:.4g} [{interval.low:.4g}, {interval.high:.4g}]"
