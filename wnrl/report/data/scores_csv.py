"""scores.csv: one row per run of a comparison, for programs."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

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
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    for result in results:
        run = result.config.run
        writer.writerow(
            {
                "run": visible(result.folder.relative_to(out)),
                **variant_settings(result.config, swept),
                "agent": run.agent,
                "seed": run.seed,
                "agent_steps": result.agent_steps,
                "done": "yes" if result.done else "no",
                "episodes": result.episodes,
                **_known_numbers(result),
                "protocol": result.protocol,
                "commit": " ".join(result.commits),
                "versions": result.software,
            }
        )
    return file.getvalue()


def _known_numbers(result: Result) -> dict[str, str]:
    numbers = {
        "final_return": result.final,
        "area_under_curve": result.area,
        "mean_evaluation": result.mean_evaluation,
        "max_evaluation": result.best_evaluation,
        "act_ms": result.act_ms,
        "update_ms": result.update_ms,
        "wall_s": result.wall_s,
    }
    return {
        name: f"{value:.6g}"
        for name, value in numbers.items()
        if value is not None and not math.isnan(value)
    }
