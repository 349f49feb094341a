"""scores.csv: one row per run of a comparison, for programs."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from wnrl.report.data.csv_text import csv_text, known
from wnrl.report.run_differences import variant_settings
from wnrl.report.run_result import Result
from wnrl.train.foreign_text import visible


def scores_csv(out: Path, results: Sequence[Result], swept: Sequence[str]) -> str:
    """Return one row per run, finished or not, as CSV.

    Args:
        out: the comparison's folder; runs are named relative to it.
        results: the runs.
        swept: settings that get a column each.
    """
    columns = ["run", "env", "agent", "norm", *swept, "seed", "agent_steps", "done", "episodes"]
    columns += ["final_return", "area_under_curve", "mean_evaluation", "max_evaluation"]
    columns += ["act_ms", "update_ms", "wall_s", "protocol", "commit", "versions"]
    return csv_text(columns, _rows(out, results, swept))


def _rows(
    out: Path, results: Sequence[Result], swept: Sequence[str]
) -> Iterator[Mapping[str, Any]]:
    for result in results:
        run = result.config.run
        yield {
            "run": visible(result.folder.relative_to(out)),
            **variant_settings(result.config, swept),
            "agent": run.agent,
            "seed": run.seed,
            "agent_steps": result.agent_steps,
            "done": "yes" if result.done else "no",
            "episodes": result.episodes,
            **known(
                {
                    "final_return": result.final,
                    "area_under_curve": result.area,
                    "mean_evaluation": result.mean_evaluation,
                    "max_evaluation": result.best_evaluation,
                    "act_ms": result.act_ms,
                    "update_ms": result.update_ms,
                    "wall_s": result.wall_s,
                }
            ),
            "protocol": result.protocol,
            "commit": " ".join(result.commits),
            "versions": result.software,
        }
