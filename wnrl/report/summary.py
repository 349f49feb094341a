"""The tables of a comparison: summary.md, for people, and scores.csv, a row per run.

Nothing here computes a score or writes a file.
"""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from wnrl._settings import flag_name
from wnrl.report.comparable import compared
from wnrl.report.comparison import Aggregate, Comparison, Game, Scored, Total, Variant
from wnrl.report.number_format import compact
from wnrl.report.run_result import WINDOW_FRACTION, Result
from wnrl.report.sentences import machines, plain_rival
from wnrl.stats.bootstrap import Coverage, Estimate
from wnrl.stats.intervals import Interval

_HOW_TO_READ = f"""\
Final return: mean raw return of the training episodes that ended in the last \
{WINDOW_FRACTION:.0%} of the agent steps (none there: in as many before the last one that ended). \
Area: the mean height of that trailing mean over the whole run. Intervals: 95%, Student's t over \
seeds, of each mean by itself.

Evaluations: the mean over all of a run's and its best one, both averaged over seeds. Papers \
report the best one, often of a single run; it grows with the number of evaluations by luck alone, \
so it stands here beside the mean, which the early ones hold down.

Cost: medians over the runs, in brackets as a ratio to `none`. An act is of all environments of a \
run together, an update one step of the optimizer; agent steps per second are of the whole \
training, evaluations included. A random action of DQN is an act without the network: while much \
is explored, acts look cheaper and more alike. Runs at the same time slow each other down.
"""

_HOW_TO_READ_TOTALS = """\
Scores are final returns, human-normalized: 0 is random play, 1 a human's, both as published for \
play without sticky actions. IQM: mean of the middle half of all runs. Optimality gap: by how much \
runs fall short of 1 on average; less is better. Intervals: 95%, stratified bootstrap over seeds: \
they speak of other seeds of these games. Of few seeds such intervals are too narrow: `held` is \
how often they would hold the truth in simulated experiments of this size, with its standard \
error. Those of mean, median, Atari-5 and improvement are made in the same way, and what they hold \
is not simulated.
"""


def scores_table(out: Path, results: Sequence[Result], swept: Sequence[str]) -> str:
    """A row per run, whether done or not, as CSV.

    Args:
        out: the folder that runs are named from.
        results: the runs.
        swept: settings with columns of their own.
    """
    columns = ["run", "env", "agent", "norm", *swept, "seed", "agent_steps", "done", "episodes"]
    columns += ["final_return", "area_under_curve", "mean_evaluation", "max_evaluation"]
    columns += ["act_ms", "update_ms", "wall_s", "protocol", "commit"]
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    for result in results:
        run = result.config.run
        numbers = {
            "final_return": result.final,
            "area_under_curve": result.area,
            "mean_evaluation": result.mean_evaluation,
            "max_evaluation": result.best_evaluation,
            "act_ms": result.act_ms,
            "update_ms": result.update_ms,
            "wall_s": result.wall_s,
        }
        known = {name: x for name, x in numbers.items() if x is not None and not math.isnan(x)}
        writer.writerow(
            {
                "run": result.folder.relative_to(out),
                **compared(result.config, swept),
                "agent": run.agent,
                "seed": run.seed,
                "agent_steps": result.agent_steps,
                "done": "yes" if result.done else "no",
                "episodes": result.episodes,
                **{name: f"{value:.6g}" for name, value in known.items()},
                "protocol": result.protocol,
                "commit": " ".join(result.commits),
            }
        )
    return file.getvalue()


def summarize(comparison: Comparison) -> str:
    """The summary, in Markdown."""
    lines = ["# Comparison", ""]
    lines += [f"- {name}: {value}" for name, value in comparison.facts.items()]
    lines.append("")
    if len(machines(each for game in comparison.games for each in game.scored)) > 1:
        lines += [
            "The runs were made on different machines or with different numbers of threads. What "
            "is learnt differs by that in rounding alone; the cost of two runs does not compare.",
            "",
        ]
    for game in comparison.games:
        lines += _game(game, comparison.swept)
    lines += [_HOW_TO_READ]
    if comparison.aggregate is not None:
        lines += _all_games(comparison.aggregate, comparison.swept)
    elif len(comparison.games) > 1:
        lines += [
            "There are no scores over all games: that takes two games with a human score and with "
            "runs of every variant.",
            "",
        ]
    if comparison.problems:
        lines += ["## Not in the tables", ""]
        lines += [f"- {name}: {why}" for name, why in comparison.problems.items()]
        lines.append("")
    return "\n".join(lines)


def _game(game: Game, swept: Sequence[str]) -> Iterator[str]:
    yield from (f"## {game.env}", "")
    if game.verdict:
        yield from (f"**{game.verdict}**", "")
    columns = ["seeds", "final return", "area", "mean evaluation", "best evaluation"]
    yield from _table(swept, columns, ((x.variant, _scores(x)) for x in game.scored))
    if ran := [x for x in game.scored if x.runs]:
        columns = ["ms per act", "ms per update", "agent steps/s"]
        yield from _table(swept, columns, ((x.variant, _cost(x, game)) for x in ran))
    if game.references:
        yield from ("Published scores of about as many frames under this protocol:", "")
        yield from _rows(
            ["algorithm", "score", "frames", "runs", "protocol", "source"],
            (
                [
                    x.algorithm,
                    _number(x.score),
                    f"{x.frames:,}",
                    str(x.runs or "-"),
                    x.protocol,
                    x.source,
                ]
                for x in game.references
            ),
        )


def _all_games(aggregate: Aggregate, swept: Sequence[str]) -> Iterator[str]:
    yield from ("## All games", "")
    yield f"Over {len(aggregate.games)} games: {', '.join(aggregate.games)}."
    if aggregate.left_out:
        left_out = ", ".join(aggregate.left_out)
        yield f"Left out, without a human score or a run of every variant: {left_out}."
    yield ""
    if aggregate.verdict:
        yield from (f"**{aggregate.verdict}**", "")
    columns = ["IQM", "held", "optimality gap", "held", "mean", "median"]
    if any(total.atari_5 for total in aggregate.totals):
        columns.append("Atari-5")
    yield from _table(swept, columns, ((x.variant, _total(x)) for x in aggregate.totals))
    if aggregate.improvements:
        yield from (
            "How probable it is that a run of one ends above a run of the other, on average over "
            "games:",
            "",
        )
        yield from _rows(
            ["this", "above this", "probability"],
            ([x.better.label, x.worse.label, _interval(x.chance)] for x in aggregate.improvements),
        )
    yield _HOW_TO_READ_TOTALS


def _scores(scored: Scored) -> list[str]:
    return [
        str(len(scored.runs)),
        _interval(scored.final),
        _interval(scored.area),
        _number(scored.mean_evaluation),
        _number(scored.best_evaluation),
    ]


def _total(total: Total) -> list[str]:
    return [
        _interval(total.iqm),
        _held(total.iqm_coverage),
        _interval(total.optimality_gap),
        _held(total.optimality_gap_coverage),
        _interval(total.mean),
        _interval(total.median),
        *([_interval(total.atari_5)] if total.atari_5 else []),
    ]


def _cost(scored: Scored, game: Game) -> list[str]:
    """Times, with their ratio to the plain network's where that ran on the same machine."""
    times = [(name, getattr(scored.cost, name)) for name in ("act_ms", "update_ms", "steps_per_s")]
    plain = plain_rival(scored, game)
    if plain is None:
        return [_number(value) for _, value in times]
    return [_ratio(value, getattr(plain.cost, name)) for name, value in times]


def _table(
    swept: Sequence[str], columns: Sequence[str], rows: Iterable[tuple[Variant, Sequence[str]]]
) -> Iterator[str]:
    """A table with a row per variant."""
    names = ["norm", *(flag_name(name) for name in swept)]
    yield from _rows(
        [*names, *columns], ([variant.norm, *variant.values, *row] for variant, row in rows)
    )


def _rows(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def _interval(found: Interval | Estimate | None) -> str:
    """`12.3 [10.1, 14.5]`, without an interval where there is none."""
    if found is None:
        return "-"
    value = found.mean if isinstance(found, Interval) else found.value
    if math.isnan(found.low):
        return f"{_number(value)} (no interval)"
    return f"{_number(value)} [{_number(found.low)}, {_number(found.high)}]"


def _held(coverage: Coverage) -> str:
    """`91% ± 1%`."""
    if math.isnan(coverage.share):
        return "-"
    return f"{coverage.share:.0%} ± {coverage.standard_error:.0%}"


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else compact(value, significant=4)


def _ratio(value: float, plain: float) -> str:
    """`2.31 (1.04)`, without a ratio where there is none."""
    ratio = value / plain
    return _number(value) if math.isnan(ratio) else f"{_number(value)} ({ratio:.2f})"
