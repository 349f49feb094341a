"""Links in the page to the data that it is made from; a link holds the whole file."""

import base64
import gzip
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from wnrl.report.run_result import Result
from wnrl.train.foreign_text import visible

MOST_BYTES = 4_000_000  # of a file in a page, in base64; the episodes are compressed first
TABLES = {
    "scores.csv": "One row per run: scores, times, and the versions and commit that made it.",
    "verdicts.csv": "One row per comparison in a game: its difference, interval, p and verdict.",
    "curves.csv": "The points of the learning curves, with their intervals.",
}
_ROW_BYTES = 5  # a row takes at least so many, so that far too many are not compressed in vain


class Download(NamedTuple):
    """A file in a page."""

    name: str
    what: str  # one sentence
    href: str  # empty if the file is too large for a page


def downloads(out: Path, results: Sequence[Result], texts: Mapping[str, str]) -> list[Download]:
    """Return the tables of a report and the episodes of all runs.

    Args:
        out: the comparison's folder; runs are named relative to it.
        results: the runs.
        texts: the report's files by name, of which those in `TABLES` are taken.
    """
    if not results:
        return []
    episodes = ""
    if _ROW_BYTES * sum(result.episodes for result in results) <= MOST_BYTES:
        episodes = _base64(gzip.compress(_episodes_csv(out, results).encode(), mtime=0))
    if len(episodes) > MOST_BYTES or not episodes:
        episodes_link = Download(
            "episodes.csv.gz",
            "The episodes are too many for this page: each run's folder has its own episodes.csv.",
            "",
        )
    else:
        episodes_link = Download(
            "episodes.csv.gz",
            "Agent step and raw return of every training episode; run names are those of "
            "scores.csv.",
            f"data:application/gzip;base64,{episodes}",
        )
    tables = {name: _base64(texts[name].encode()) for name in TABLES if name in texts}
    return [
        *(
            Download(name, TABLES[name], f"data:text/csv;base64,{content}")
            for name, content in tables.items()
            if len(content) <= MOST_BYTES
        ),
        episodes_link,
    ]


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _episodes_csv(out: Path, results: Sequence[Result]) -> str:
    """Return the training episodes of all runs as CSV, run by run."""
    file = io.StringIO()
    file.write("run,agent_step,raw_return\n")
    for result in results:
        name = visible(result.folder.relative_to(out)).replace('"', '""')
        quoted = f'"{name}"' if set(name) & set(',"') else name
        for step, raw_return in zip(
            result.episode_steps.tolist(), result.returns.tolist(), strict=True
        ):
            file.write(f"{quoted},{step:.0f},{raw_return:g}\n")
    return file.getvalue()
