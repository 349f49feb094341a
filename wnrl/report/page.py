"""report.html: a whole comparison on one self-contained page.

The template is report.html and the style is report.css, both next to this module. Sentences come
from `wnrl.report.sentences`, tables from `wnrl.report.tables`.
"""

import functools
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from wnrl._settings import flag_name
from wnrl.report import tables
from wnrl.report.comparison import (
    Comparison,
    Game,
    Variant,
    has_cost,
    total_counts,
)
from wnrl.report.data.downloads import Download
from wnrl.report.figures import PageFigure, page_figures
from wnrl.report.number_format import counted, listed
from wnrl.report.run_result import WINDOW_FRACTION
from wnrl.report.sentences import (
    differences_note,
    evidence_sentence,
    evidence_sentences,
    findings,
    maximum_over_mean,
)
from wnrl.report.verdicts.sentences import error_sentence, runs_text
from wnrl.train.foreign_text import visible
from wnrl.train.storage.atomic_files import replace_text

PAGE = "report.html"


def render_page(
    comparison: Comparison,
    wide: Sequence[PageFigure],
    narrow: Sequence[PageFigure],
    files: Sequence[Download] = (),
) -> str:
    """Return the page; the same comparison and figures always give the same text.

    Args:
        comparison: what the page shows.
        wide: the figures for desktops and printers.
        narrow: the same figures, in the same order, for phones.
        files: what a reader can download from the page.
    """
    from wnrl.report.figures.style import WARNING, looks  # imports matplotlib, which is slow

    def inline(svg: str) -> Markup:
        """Mark the SVG as safe and give warnings the page's colour, which dark pages change."""
        return Markup(svg.replace(WARNING, "var(--caution)"))

    games = comparison.games
    aggregate = comparison.aggregate
    figures = [(a, inline(a.svg), inline(b.svg)) for a, b in zip(wide, narrow, strict=True)]
    leading = 1 if comparison.contrasts else 0  # the forest plot comes first
    colours = {variant: look.color for variant, look in looks(comparison).items()}
    return _template().render(
        style=Markup(_data("report.css")),
        comparison=comparison,
        title=comparison.title,
        question=_question(comparison),
        runs_done=_runs_done(comparison),
        lengths=_lengths(comparison),
        evidence=evidence_sentences(comparison),
        findings=findings(comparison),
        verdicts=tables.verdicts_table(comparison, colours),
        lead=figures[:leading],
        figures=figures[leading:],
        contrasts=tables.contrasts_table(comparison.contrasts, "Final return", colours),
        differences_note=differences_note(comparison),
        areas=tables.contrasts_table(comparison.areas, "Area under the curve", colours),
        sensitivity=tables.sensitivity_tables(comparison.sensitivity),
        scores=[(x, tables.scores_table(x, colours), maximum_over_mean(x)) for x in games],
        runs=[tables.runs_table(game) for game in games],
        aggregates=aggregate and tables.aggregate_table(aggregate, colours),
        aggregate_warning=aggregate and evidence_sentence(aggregate.fewest_seeds),
        overall=aggregate and tables.overall_table(aggregate, colours),
        overall_error=aggregate and aggregate.iqm_error and error_sentence(aggregate),
        references=tables.references_table(games),
        costs=any(map(has_cost, games)),
        files=files,
        window=f"{WINDOW_FRACTION:.0%}",
    )


def write_page(out: Path, comparison: Comparison, files: Sequence[Download] = ()) -> Path:
    """Write report.html into a folder atomically and return its path.

    Raises:
        OSError: it cannot be written.
    """
    wide, narrow = (page_figures(comparison, narrow=narrow) for narrow in (False, True))
    path = out / PAGE
    replace_text(path, render_page(comparison, wide, narrow, files))
    return path


def _variants(comparison: Comparison) -> list[Variant]:
    return list(dict.fromkeys(x.variant for game in comparison.games for x in game.variants))


def _question(comparison: Comparison) -> str:
    """Return the question, as a sentence with a question mark."""
    score = f"the return of {comparison.title}" if comparison.games else "the return"
    if comparison.all_pairs or not comparison.contrasts:
        return f"How do normalizations ({_compared(comparison)}) differ in {score}?"
    baseline = comparison.question.baseline
    plain = "no normalization" if baseline == "none" else f"normalization {baseline}"
    return f"Does normalization ({_compared(comparison)}) change {score}, compared with {plain}?"


def _runs_done(comparison: Comparison) -> str:
    """Return `29 of 30 runs finished (1 diverged)`."""
    counts = [scores.counts for game in comparison.games for scores in game.variants]
    head, space, lost = runs_text(total_counts(counts)).partition(" (")
    return f"{head} runs finished{space}{lost}"


def _compared(comparison: Comparison) -> str:
    """Return `weight or layer, with learning-rate 0.001 and 0.0001`."""
    variants = _variants(comparison)
    names = list(dict.fromkeys(variant.norm for variant in variants))
    if comparison.contrasts and not comparison.all_pairs:
        names = [name for name in names if name != comparison.question.baseline]
        norms = listed(names).replace(" and ", " or ")
    else:
        norms = listed(names)
    swept = [
        f"{flag_name(name)} {listed(list(dict.fromkeys(x.values[k] for x in variants)))}"
        for k, name in enumerate(comparison.swept)
    ]
    return ", with ".join([norms, *([listed(swept)] if swept else [])])


def _lengths(comparison: Comparison) -> str:
    """Return `100,000 agent steps (400,000 frames)`; if games differ, the length in each."""
    lengths = {game.env: _length(game) for game in comparison.games}
    if len(set(lengths.values())) > 1:
        return listed([f"{length} in {env}" for env, length in lengths.items()])
    return next(iter(lengths.values()), "")


def _length(game: Game) -> str:
    steps = counted(game.total_steps, "agent step")
    if game.protocol == "-" or game.frame_skip == 0:
        return steps
    return f"{steps} ({game.total_steps * game.frame_skip:,} frames)"


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    return environment.from_string(_data("report.html"))


def _shown(value: object) -> object:
    """Show control characters in text; jinja escapes it afterwards, and leaves markup alone."""
    return value if isinstance(value, Markup) else visible(value)


def _data(name: str) -> str:
    return (resources.files("wnrl.report") / name).read_text(encoding="utf-8")
