"""summary.md: the tables of a comparison, for people."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence

from wnrl._settings import flag_name
from wnrl.report.comparison import (
    Aggregate,
    Comparison,
    Contrast,
    Game,
    OverallContrast,
    Sensitivity,
    Variant,
    VariantAggregate,
    VariantScores,
    cost_baseline,
    has_cost,
)
from wnrl.report.number_format import (
    compact,
    difference,
    ends,
    justified_digits,
    listed,
    number,
    p_value,
)
from wnrl.report.run_result import WINDOW_FRACTION
from wnrl.report.sentences import (
    differences_note,
    evidence_sentence,
    evidence_sentences,
    findings,
    game_warning,
)
from wnrl.report.verdicts.sensitivity_text import (
    HOW_TO_READ,
    HOW_TO_READ_NORMS,
    NORM_COLUMNS,
    RANGE_COLUMNS,
    norm_row,
    range_row,
)
from wnrl.report.verdicts.sentences import VERDICT_WORDS, runs_text
from wnrl.stats.bootstrap import Coverage
from wnrl.stats.intervals import Interval
from wnrl.train.foreign_text import markdown, markdown_table

_HOW_TO_READ = f"""\
Final return: mean raw return of the training episodes that ended in the last \
{WINDOW_FRACTION:.0%} of the agent steps (if no episode ended there, in the same number of steps \
before the end of the last episode). Area: mean height of the learning curve; each of its points \
is the mean return over a trailing window of the same width. Intervals: 95%, Student's t over \
seeds, for each mean separately.

Mean evaluation and best evaluation: the mean and the maximum of a run's evaluations, averaged \
over seeds. Papers often report the maximum, sometimes of a single run. It grows with the number \
of evaluations by chance alone. The mean is lowered by the early evaluations.
"""

_HOW_TO_READ_COSTS = """\
Cost: medians over the runs, with the ratio to `none` in parentheses. "ms per act" is one batched \
action selection over all environments of a run, "ms per update" one optimizer step. Agent steps \
per second cover the whole training, including evaluations. DQN's random actions do not run the \
network, so acting looks cheaper and more alike while exploration is high.
"""

_CONTRAST_COLUMNS = (
    "game",
    "variant",
    "compared with",
    "verdict",
    "difference",
    "simultaneous",
    "Hedges' g",
    "adjusted p",
    "margin",
    "detectable",
    "seeds needed",
    "runs",
)

_HOW_TO_READ_DIFFERENCES = """\
Margin: differences up to it do not matter; "no difference larger than the margin" follows from \
two one-sided tests, adjusted in the same way. Runs: finished of those that were asked for, of the \
variant and of what it is compared with.
"""

_HOW_TO_READ_AGGREGATES = """\
Scores are normalized final returns: 0 is random play, 1 is a human's score, both as published \
for play without sticky actions. In MinAtar 1 is DQN's score after 5 million steps (Young & Tian \
2019). In a game without either, and with a custom protocol, 0 is the mean return of the first \
episodes of all runs and 1 the baseline's mean final return. IQM: mean of the middle half \
of all runs. Optimality gap: how far runs fall short of 1 on average; lower is better. Intervals: \
95%, stratified bootstrap over seeds; they describe other seeds of these games. With few seeds \
they are too narrow: "coverage" is how often they contain the true value in simulated experiments \
of this size, with its standard error. The intervals of mean, median and Atari-5 are computed in \
the same way; their coverage is not simulated. Improvement: probability that a run of a variant \
ends above a run of the one that it is compared with, averaged over games.
"""


def summary_markdown(comparison: Comparison) -> str:
    """Return the summary."""
    lines = ["# Comparison", ""]
    lines += [f"- {name}: {markdown(value)}" for name, value in comparison.facts.items()]
    lines.append("")
    lines += _verdicts(comparison)
    lines += _sensitivity(comparison.sensitivity)
    for game in comparison.games:
        lines += _game(game, comparison.swept)
    lines += [_HOW_TO_READ]
    if any(map(has_cost, comparison.games)):
        lines += [_HOW_TO_READ_COSTS]
    if comparison.aggregate is not None:
        lines += _all_games(comparison.aggregate, comparison.swept)
    elif len(comparison.games) > 1:
        lines += [
            "There are no scores over all games: they require at least two games that have runs of "
            "every variant, and a published score or a baseline that learned something.",
            "",
        ]
    if comparison.problems:
        lines += ["## Not in the tables", ""]
        lines += [
            f"- {markdown(name)}: {markdown(reason)}"
            for name, reason in comparison.problems.items()
        ]
        lines.append("")
    return "\n".join(lines)


def _verdicts(comparison: Comparison) -> Iterator[str]:
    """Yield the findings as a list, and the numbers behind them as tables."""
    yield from ("## Verdicts", "")
    yield from (f"**{markdown(sentence)}**" for sentence in evidence_sentences(comparison))
    yield ""
    yield from (f"- {markdown(x.subject)}: {_sentence(x.sentence)}" for x in findings(comparison))
    yield ""
    for name, contrasts in (
        ("final return (primary)", comparison.contrasts),
        ("area under the curve (secondary)", comparison.areas),
    ):
        if contrasts:
            yield from (f"Differences of {name}:", "")
            yield from _table(_CONTRAST_COLUMNS, map(_contrast, contrasts))
    if comparison.contrasts:
        yield f"{differences_note(comparison)} {_HOW_TO_READ_DIFFERENCES}"


def _sensitivity(found: Sensitivity) -> Iterator[str]:
    """Yield the tables of sensitivity to swept settings, if any was swept."""
    if found.ranges:
        yield from ("## Sensitivity", "")
        yield from _table(RANGE_COLUMNS, (list(map(_sentence, range_row(x))) for x in found.ranges))
        yield from (HOW_TO_READ, "")
    if found.norms:
        yield f"Over {', '.join(map(markdown, found.games))}:\n"
        yield from _table(NORM_COLUMNS, (list(map(_sentence, norm_row(x))) for x in found.norms))
        yield from (HOW_TO_READ_NORMS, "")


def _sentence(text: str) -> str:
    """Return a sentence as Markdown, without backslashes in intervals: these are only numbers."""
    return re.sub(r"\\\[([-+−–.,\d ]*)\\\]", r"[\1]", markdown(text))


def _contrast(contrast: Contrast) -> list[str]:
    simultaneous, effect = contrast.simultaneous, contrast.effect
    return [
        *map(markdown, (contrast.env, contrast.variant.label, contrast.baseline.label)),
        VERDICT_WORDS[contrast.verdict],
        _difference(contrast.difference),
        _difference(simultaneous).partition(" ")[2] or "-",
        _difference(effect),
        p_value(contrast.p),
        _number(contrast.margin),
        _number(contrast.detectable),
        str(contrast.seeds_needed or "-"),
        f"{runs_text(contrast.counts)}, {runs_text(contrast.baseline_counts)}",
    ]


def _difference(interval: Interval) -> str:
    return difference(interval.value, interval.low, interval.high)


def _game(game: Game, swept: Sequence[str]) -> Iterator[str]:
    yield from (f"## {markdown(game.env)}", "")
    if warning := game_warning(game):
        yield from (f"**{markdown(warning)}**", "")
    columns = ["runs", "final return", "area", "mean evaluation", "best evaluation"]
    yield from _variant_table(swept, columns, ((x.variant, _scores(x)) for x in game.variants))
    if has_cost(game):
        with_runs = [scores for scores in game.variants if scores.runs]
        columns = ["ms per act", "ms per update", "agent steps/s"]
        yield from _variant_table(swept, columns, ((x.variant, _cost(x, game)) for x in with_runs))
    if game.references:
        yield from _references(game)


def _references(game: Game) -> Iterator[str]:
    yield from ("Published scores for this protocol and about as many frames:", "")
    yield from _table(
        ["algorithm", "score", "frames", "runs", "protocol", "source"],
        (
            [
                markdown(reference.algorithm),
                compact(reference.score, significant=4),
                f"{reference.frames:,}",
                str(reference.runs or "-"),
                markdown(reference.protocol),
                markdown(reference.source),
            ]
            for reference in game.references
        ),
    )


def _all_games(aggregate: Aggregate, swept: Sequence[str]) -> Iterator[str]:
    yield from ("## All games", "")
    yield f"Over {len(aggregate.games)} games: {', '.join(map(markdown, aggregate.games))}."
    if aggregate.left_out:
        yield (
            "Left out because a scale or runs of a variant are missing: "
            f"{', '.join(map(markdown, aggregate.left_out))}."
        )
    if aggregate.baseline_normalized:
        yield (
            f"In {listed([*map(markdown, aggregate.baseline_normalized)])} there is no "
            "published score, so that 1 is the baseline's mean."
        )
    yield ""
    if warning := evidence_sentence(aggregate.fewest_seeds):
        yield from (f"**{warning}**", "")
    columns = ["IQM", "coverage", "optimality gap", "coverage", "mean", "median"]
    if any(each.atari_5 for each in aggregate.variants):
        columns.append("Atari-5")
    yield from _variant_table(
        swept, columns, ((each.variant, _aggregate(each)) for each in aggregate.variants)
    )
    if aggregate.contrasts:
        yield from (
            "Differences over these games; the intervals hold for all of them together:",
            "",
        )
        yield from _table(
            ["variant", "compared with", "verdict", "IQM", "optimality gap", "improvement"],
            map(_overall_contrast, aggregate.contrasts),
        )
    yield _HOW_TO_READ_AGGREGATES


def _overall_contrast(contrast: OverallContrast) -> list[str]:
    return [
        *map(markdown, (contrast.variant.label, contrast.baseline.label)),
        VERDICT_WORDS[contrast.verdict],
        _difference(contrast.iqm),
        _difference(contrast.optimality_gap),
        _interval(contrast.improvement),
    ]


def _scores(scores: VariantScores) -> list[str]:
    return [
        _runs(scores),
        _interval(scores.final),
        _interval(scores.area),
        _number(scores.mean_evaluation),
        _number(scores.best_evaluation),
    ]


def _runs(scores: VariantScores) -> str:
    """Return `5`, or `3 of 5 (2 diverged)`."""
    counts = scores.counts
    return str(counts.asked) if counts.asked == counts.finished else runs_text(counts)


def _aggregate(variant: VariantAggregate) -> list[str]:
    return [
        _interval(variant.iqm),
        _coverage(variant.iqm_coverage),
        _interval(variant.optimality_gap),
        _coverage(variant.optimality_gap_coverage),
        _interval(variant.mean),
        _interval(variant.median),
        *([_interval(variant.atari_5)] if variant.atari_5 else []),
    ]


def _cost(scores: VariantScores, game: Game) -> list[str]:
    """Format times with their ratio to the plain network's, if that ran on the same machine."""
    times = [(name, getattr(scores.cost, name)) for name in ("act_ms", "update_ms", "steps_per_s")]
    plain = cost_baseline(scores, game)
    if plain is None:
        return [_number(value) for _, value in times]
    return [_ratio(value, getattr(plain.cost, name)) for name, value in times]


def _variant_table(
    swept: Sequence[str], columns: Sequence[str], rows: Iterable[tuple[Variant, Sequence[str]]]
) -> Iterator[str]:
    """Yield a table with one row per variant."""
    names = ["norm", *(markdown(flag_name(name)) for name in swept)]
    yield from _table(
        [*names, *columns],
        ([*map(markdown, (variant.norm, *variant.values)), *row] for variant, row in rows),
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield from markdown_table(columns, rows)
    yield ""


def _interval(interval: Interval | None) -> str:
    """Return `12.3 [10.1, 14.5]`."""
    if interval is None:
        return "-"
    if not interval.bounded:
        return f"{_number(interval.value)} (no interval)"
    digits = justified_digits(interval.low, interval.high, interval.value)
    return f"{number(interval.value, digits)} {ends(interval.low, interval.high, digits)}"


def _coverage(coverage: Coverage) -> str:
    """Return `91% ± 1%`."""
    if math.isnan(coverage.share):
        return "-"
    return f"{coverage.share:.0%} ± {coverage.standard_error:.0%}"


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else compact(value)


def _ratio(value: float, plain: float) -> str:
    """Return `2.31 (1.04)`, without the ratio if it is unknown."""
    ratio = value / plain
    return _number(value) if math.isnan(ratio) else f"{_number(value)} ({ratio:.2f})"
