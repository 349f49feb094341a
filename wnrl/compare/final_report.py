"""Write the report of a comparison: summary, scores, figures, page and mean curves."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from wnrl._settings import UsageError
from wnrl.compare.flags import CompareOptions
from wnrl.compare.live_mean import write_means
from wnrl.report.analyze import compare_runs
from wnrl.report.cost import with_cost
from wnrl.report.data.comparison_csv import curves_csv, verdicts_csv
from wnrl.report.data.downloads import downloads
from wnrl.report.data.scores_csv import scores_csv
from wnrl.report.figures import write_figures
from wnrl.report.find_runs import take_inventory
from wnrl.report.page import write_page
from wnrl.report.run_differences import check_baseline
from wnrl.report.summary import summary_markdown
from wnrl.report.verdicts.staged import with_stages
from wnrl.train.foreign_text import quoted, visible
from wnrl.train.storage.atomic_files import replace_text

_SEED = 0  # for resampling, so that the same runs always give the same report


def write_report(
    out: Path,
    options: CompareOptions,
    swept: Sequence[str] = (),
    failed: Mapping[str, str] | None = None,
) -> None:
    """Print the summary of the runs in a folder, and write the report there.

    Args:
        out: the folder.
        options: the baseline and the margin, if they are given.
        swept: settings that vary in the runs, besides those recorded by a comparison in the folder.
        failed: why a run failed, by its folder.

    Raises:
        UsageError: the folder holds no run, the runs differ in more than what is compared, or a
            file cannot be written.
    """
    inventory = take_inventory(out, swept, failed or {})
    record = inventory.record
    norms = {variant.norm for _, variant in inventory.planned}
    check_baseline(options.baseline, norms | {x.config.run.norm for x in inventory.results})
    question = options.question(record.question)
    comparison = compare_runs(
        # The baseline comes first in every table and picture.
        sorted(inventory.results, key=lambda run: run.config.run.norm != question.baseline),
        sorted(inventory.planned, key=lambda planned: planned[1].norm != question.baseline),
        inventory.problems,
        inventory.swept,
        np.random.default_rng(_SEED),
        question=question,
        missing=inventory.missing,
        tuned=record.tuned,
    )
    comparison = with_stages(with_cost(comparison, record.at_a_time), record.stages)
    command = "; then ".join(record.commands) or "-"
    comparison = dataclasses.replace(comparison, facts={"command": command, **comparison.facts})
    summary = summary_markdown(comparison)
    print(summary)  # first, in case a file cannot be written
    texts = {
        "summary.md": summary,
        "scores.csv": scores_csv(out, inventory.results, inventory.swept),
        "verdicts.csv": verdicts_csv(comparison),
        "curves.csv": curves_csv(comparison),
    }
    written = [out / name for name in texts]
    try:
        for path, text in zip(written, texts.values(), strict=True):
            replace_text(path, text)
        files = downloads(out, inventory.results, texts)
        written += [*write_figures(out, comparison), write_page(out, comparison, files)]
        # Last, because these lie in the run folders, which may belong to somebody else.
        write_means(out, inventory.results, inventory.swept)
    except OSError as error:
        raise UsageError(
            f"cannot write {error.filename or out}: {error.strerror or error}; fix this, then "
            f"make the report with --report-only {quoted(out)}"
        ) from None
    print(f"wrote {', '.join(path.name for path in written)} to {visible(out)}")
