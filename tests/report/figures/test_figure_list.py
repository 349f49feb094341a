import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from made_comparisons import COMMIT, NORMS, made
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from wnrl.nn.norms.catalogue import NORMS as CATALOGUE
from wnrl.report.comparison import Comparison, Curve, LostRuns, VariantScores
from wnrl.report.figures.conditioning import line_of
from wnrl.report.figures.figure_list import figure_list
from wnrl.report.figures.layout import NARROW, WIDE, Layout, frames_text
from wnrl.report.figures.sheet import compose
from wnrl.report.figures.style import drawing, look_of
from wnrl.stats.bootstrap import Bands, Coverage
from wnrl.stats.intervals import Interval
from wnrl.stats.reference_scores import Reference, reference_scores

PUBLISHED = reference_scores("Breakout", agent="ppo", protocol="classic", frames=40_000_000)
LEARNING_RATES = [("0.0001",), ("0.0003",), ("0.001",)]
GAMES = ("Breakout", "Seaquest", "SpaceInvaders")
TOUCHING_PX = 0.5  # boxes may share this much: boxes are wider than their glyphs


def draw(comparison: Comparison, layout: Layout = WIDE) -> dict[str, Figure]:
    with drawing():
        figures = {}
        for planned in figure_list(comparison, layout, each_game=False):
            figure = compose(planned.sheet)
            FigureCanvasAgg(figure)
            figure.draw_without_rendering()
            figures[planned.stem] = figure
        return figures


def texts(figure: Figure) -> list[tuple[Axes | None, str, Bbox]]:
    """Return all visible text with its axes and its box in pixels."""
    found: list[tuple[Axes | None, Text]] = [(None, text) for text in figure.texts]
    for ax in figure.axes:
        found += [(ax, text) for text in ax.texts]
        if not ax.axison:
            continue
        found += [(ax, ax.xaxis.label), (ax, ax.yaxis.label)]
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = axis.get_major_ticks(len(axis.get_majorticklocs()))
            found += [(ax, tick.label1) for tick in ticks if low <= tick.get_loc() <= high]
    return [
        (ax, text.get_text(), text.get_window_extent()) for ax, text in found if text.get_text()
    ]


def words(figure: Figure) -> list[str]:
    return [text for _, text, _ in texts(figure)]


def prose(figure: Figure) -> str:
    """Return the text outside the axes, with wrapped lines joined."""
    return " ".join(text.get_text() for text in figure.texts)


def assert_readable(figure: Figure) -> None:
    page = figure.bbox
    found = texts(figure)
    for ax, text, box in found:
        inside = page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
        assert inside, f"{text!r} is cut off"
        for other in figure.axes:
            if other is not ax:
                assert not overlap(box, other.bbox), f"{text!r} lies over other axes"
    for (_, a, box_a), (_, b, box_b) in itertools.combinations(found, 2):
        assert not overlap(box_a, box_b), f"{a!r} and {b!r} overlap"


def overlap(a: Bbox, b: Bbox) -> bool:
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return bool(width > TOUCHING_PX and height > TOUCHING_PX)


def with_scored(comparison: Comparison, which: int, **changes: object) -> Comparison:
    """Return the comparison with one variant of its first game changed."""
    game = comparison.games[0]
    scored: list[VariantScores] = list(game.variants)
    scored[which] = dataclasses.replace(scored[which], **changes)  # type: ignore[arg-type]
    changed = dataclasses.replace(game, variants=tuple(scored))
    return dataclasses.replace(comparison, games=(changed, *comparison.games[1:]))


def without_runs(comparison: Comparison, which: int) -> Comparison:
    return with_scored(comparison, which, runs=(), final=None, area=None, curve=None)


def nothing_yet(comparison: Comparison, which: int) -> Comparison:
    steps = np.linspace(100, comparison.games[0].total_steps, 20)
    nan = np.full(20, math.nan)
    return with_scored(comparison, which, curve=Curve(steps, nan, nan, nan))


def identical() -> Comparison:
    comparison = made()
    curve = comparison.games[0].variants[0].curve
    for which in range(1, 4):
        comparison = with_scored(comparison, which, curve=curve)
    return comparison


CASES = {
    "one game": made,
    "published scores": lambda: made(
        envs=["Breakout"], protocol="classic", steps=10_000_000, seeds=3, references=PUBLISHED
    ),
    "published scores far above": lambda: made(
        envs=["Breakout"], protocol="classic", seeds=2, scale=2, references=PUBLISHED
    ),
    "large negative returns": lambda: made(scale=-9000, seeds=2, spread=0.6),
    "all normalizations": lambda: made(norms=[*CATALOGUE]),
    "long names": lambda: made(
        envs=["some_package.some_module:VeryLongEnvironmentName-v0", "toy/Catch"],
        norms=["none", "weight-standardization"],
        seeds=4,
    ),
    "games, swept, together": lambda: made(
        envs=GAMES, norms=NORMS[:2], protocol="classic", seeds=3, together=True,
        swept=("lr",), values=LEARNING_RATES,
    ),
    "many values": lambda: made(
        norms=["none", "weight"], swept=("lr",), values=[(f"{10**-k:g}",) for k in range(12)]
    ),
    "a variant without runs": lambda: without_runs(made(seeds=3), 1),
    "nothing has ended": lambda: functools.reduce(nothing_yet, range(4), made()),
    "identical curves": identical,
}  # fmt: skip


@functools.cache
def drawn(case: str, layout: Layout = WIDE) -> dict[str, Figure]:
    """Return the figures of a case, for tests that do not change them."""
    return draw(CASES[case](), layout)


@pytest.mark.slow
@pytest.mark.parametrize("layout", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("case", CASES)
def test_no_text_overlaps_or_is_cut_off(case: str, layout: Layout) -> None:
    for figure in drawn(case, layout).values():
        assert_readable(figure)


@pytest.mark.slow
@pytest.mark.parametrize("layout", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("games", [2, 3, 4, 26])
@pytest.mark.parametrize("norms", [1, 8, 12])
def test_no_text_overlaps_however_many_games_and_normalizations(
    games: int, norms: int, layout: Layout
) -> None:
    comparison = made(
        envs=[f"Game{i}" for i in range(games)],
        norms=[*CATALOGUE][:norms],
        protocol="sticky",
        steps=2_500_000,
        seeds=2,
        references=PUBLISHED,
        together=True,
    )
    for figure in draw(comparison, layout).values():
        assert_readable(figure)


def test_a_shorter_game_has_the_whole_width_of_its_panel() -> None:
    short, long = (made(envs=[env], steps=n).games[0] for env, n in (("a", 900), ("b", 90_000)))
    figure = draw(dataclasses.replace(made(), games=(short, long)))["curves"]
    assert [ax.get_xlim() for ax in figure.axes] == [(0, 900), (0, 90_000)]


def test_each_variant_is_labelled_once() -> None:
    figure = drawn("one game")["curves"]
    assert sorted(word for word in words(figure) if word in NORMS) == sorted(NORMS)
    figure = drawn("all normalizations", NARROW)["curves"]  # too many for the ends of the curves
    assert sorted(word for word in words(figure) if word in CATALOGUE) == sorted(CATALOGUE)


def test_every_figure_names_what_it_shows() -> None:
    pictures = drawn("games, swept, together")
    assert list(pictures) == ["differences", "curves", "range-lr", "aggregates"]
    for figure in pictures.values():
        said = prose(figure)
        for fact in ("dqn", "protocol: classic", "agent steps: 10,000", "seeds: 3", "torch 2.9.1"):
            assert fact in said
        assert f"commit: {COMMIT[:7]} ·" in said
        assert "95% intervals" in said
        assert "3 seeds: differences are indicative only. Run at least 5." in said
    assert "Student's t" in prose(pictures["curves"])
    assert "trailing window of 10% of the agent steps" in prose(pictures["curves"])
    assert "1 agent step = 4 emulator frames" in prose(pictures["curves"])
    assert "stratified bootstrap" in prose(pictures["aggregates"])
    assert "simulated coverage of these 95% intervals: 84 to 87%" in words(pictures["aggregates"])
    assert "simulated coverage of these 95% intervals: 90%" in words(pictures["aggregates"])


def test_the_warning_about_few_seeds_is_shared_or_in_the_panels_concerned() -> None:
    both = made(envs=GAMES[:2], seeds=2)
    assert prose(draw(both)["curves"]).count("nothing can be concluded") == 1
    five = made(envs=GAMES[:2], seeds=5)
    mixed = dataclasses.replace(five, games=(both.games[0], five.games[1]))
    said = prose(draw(mixed)["curves"]).partition("return during training")[2]
    assert said.index("Breakout") < said.index("nothing can be concluded") < said.index("Seaquest")


def test_the_margin_is_explained_where_it_is_drawn() -> None:
    comparison = made(envs=GAMES[:1], norms=["none", "weight", "layer"])
    for margins, said in (((2.0, 2.0), 1), ((2.0, 3.0), 0)):  # of pairs with other baselines
        contrasts = tuple(
            dataclasses.replace(each, margin=margin)
            for each, margin in zip(comparison.contrasts, margins, strict=True)
        )
        figure = draw(dataclasses.replace(comparison, contrasts=contrasts))["differences"]
        assert prose(figure).count("Grey: the margin.") == said


@pytest.mark.slow
def test_many_pairs_are_cut_to_those_over_the_first_variant_and_more() -> None:
    comparison = made(envs=GAMES[:2], norms=[*CATALOGUE][:7], together=True)
    aggregate = comparison.aggregate
    assert aggregate is not None
    variants = [total.variant for total in aggregate.variants]
    pairs = [
        dataclasses.replace(aggregate.contrasts[0], variant=variant, baseline=baseline)
        for variant, baseline in itertools.permutations(variants, 2)
    ]
    changed = dataclasses.replace(aggregate, contrasts=tuple(pairs))
    figure = draw(dataclasses.replace(comparison, aggregate=changed))["aggregates"]
    rows = [word for word in words(figure) if " > " in word]
    assert len(rows) == 24
    assert sum(row.endswith("> none") for row in rows) == 6
    assert "18 more pairs are not shown" in words(figure)


def test_aggregates_of_one_seed_have_points_and_no_bars() -> None:
    comparison = made(envs=GAMES[:2], seeds=1, norms=["none", "weight"], together=True)
    aggregate = comparison.aggregate
    assert aggregate is not None
    totals = []
    for total in aggregate.variants:
        alone = Interval(total.iqm.value, math.nan, math.nan)
        names = ("iqm", "mean", "median", "optimality_gap")
        unknown = Coverage(math.nan, math.nan)
        coverage = {"iqm_coverage": unknown, "optimality_gap_coverage": unknown}
        none = np.full_like(total.profile.profile, math.nan)
        bands = Bands(total.profile.profile, none, none)
        changes = dict.fromkeys(names, alone)
        totals.append(dataclasses.replace(total, **changes, **coverage, profile=bands))
    changed = dataclasses.replace(aggregate, variants=tuple(totals), contrasts=())
    figure = draw(dataclasses.replace(comparison, aggregate=changed))["aggregates"]
    assert_readable(figure)
    assert "simulated" not in prose(figure)
    assert "Probability of improvement" not in words(figure)
    assert "nothing can be concluded" in prose(figure)


def test_a_variant_that_has_no_curve_is_named() -> None:
    figure = draw(nothing_yet(without_runs(made(), 1), 3))["curves"]
    assert "no finished run: weight" in words(figure)
    assert "no episode ended: batch" in words(figure)
    assert "5 seeds" in prose(figure)
    assert "0 to 5 seeds" not in prose(figure)
    silent = with_scored(without_runs(made(), 1), 1, lost=LostRuns(without_an_episode=5))
    figure = draw(silent)["curves"]
    assert "no episode ended: weight" in words(figure)
    assert "No episode ended in any run of weight: nothing can be concluded" in prose(figure)


def test_one_seed_has_a_line_and_no_interval() -> None:
    figure = draw(made(seeds=1))["curves"]
    assert "A single seed has no interval." in prose(figure)
    assert "nothing can be concluded" in prose(figure)
    assert len(line_colors(figure)) == len(NORMS)


def test_fewer_than_ten_seeds_have_a_thin_line_each() -> None:
    for seeds, thin in ((9, 9), (10, 0), (1, 0)):
        comparison = made(norms=["none"], seeds=seeds)
        curve = comparison.games[0].variants[0].curve
        assert curve is not None
        each = tuple(curve.mean + k for k in range(seeds))
        figure = draw(with_scored(comparison, 0, curve=dataclasses.replace(curve, seeds=each)))
        (ax,) = figure["curves"].axes
        found = [line for line in ax.lines if line.get_linewidth() == 0.5]
        assert len(found) == thin
        assert ("Thin lines: one per seed." in prose(figure["curves"])) == bool(thin)
        low, high = ax.get_ylim()
        heights = np.concatenate([np.asarray(line.get_ydata()) for line in found or ax.lines])
        assert low <= np.nanmin(heights) <= np.nanmax(heights) <= high


def test_a_band_ends_where_no_episode_went() -> None:
    wide = made(envs=["a"], norms=["none"], seeds=2, spread=0.5)
    (ax,) = draw(wide)["curves"].axes
    (scores,) = wide.games[0].variants
    assert scores.curve is not None
    seen = np.concatenate([scores.curve.mean, *(run.returns for run in scores.runs)])
    assert np.nanmin(scores.curve.low) < np.nanmin(seen)
    assert np.nanmax(scores.curve.high) > np.nanmax(seen)
    (band,) = ax.collections
    heights = np.asarray(band.get_paths()[0].vertices)[:, 1]
    assert heights.min() == pytest.approx(np.nanmin(seen))
    assert heights.max() == pytest.approx(np.nanmax(seen))


def test_random_play_and_a_human_are_dashed_lines() -> None:
    atari = draw(made(envs=["Breakout"], protocol="classic", scale=30))["curves"]
    assert {"random 1.7", "human 30.5"} <= set(words(atari))
    assert "random, human: published scores" in prose(atari)
    custom = draw(made(envs=["Breakout"], protocol="custom", scale=30))["curves"]
    assert not any(word.startswith("human") for word in words(custom))
    other = made(envs=["a"])
    known = dataclasses.replace(other, games=(dataclasses.replace(other.games[0], random=210.0),))
    assert "untrained 210" in words(draw(known)["curves"])
    assert "untrained: mean return of the first episodes" in prose(draw(known)["curves"])
    assert not any(word.startswith("untrained") for word in words(draw(other)["curves"]))


@pytest.mark.parametrize(
    ("frame_skip", "says"),
    [
        (4, "Atari: 1 agent step = 4 emulator frames."),
        (1, "Atari: 1 agent step = 1 emulator frame."),
        (0, "Atari: runs differ in the emulator frames of an agent step."),
    ],
)
def test_the_frames_of_an_agent_step_are_those_of_the_runs(frame_skip: int, says: str) -> None:
    comparison = made(envs=["Breakout"], protocol="custom")
    game = dataclasses.replace(comparison.games[0], frame_skip=frame_skip)
    assert frames_text([game]) == says


def test_published_scores_are_dashed_lines_with_their_source() -> None:
    published = [
        Reference("DQN", 350.0, 40_000_000, 1, "Zoo@1", "no sticky"),
        Reference("DQN jax", 9_000.0, 40_000_000, 3, "Clean@2", "no sticky"),
    ]
    comparison = made(envs=["Breakout"], protocol="classic", references=published)
    figure = draw(comparison)["curves"]
    said = prose(figure)
    assert "a DQN, Zoo@1 (1 run); b DQN jax, Clean@2 (3 runs)" in said
    assert "a 350" in words(figure)
    assert "b 9,000↑" in words(figure)  # it would flatten the curves
    (ax,) = figure.axes
    heights = {float(np.asarray(line.get_ydata())[0]) for line in ax.lines}
    assert 350.0 in heights
    assert 9_000.0 not in heights


def test_a_curve_that_covers_another_is_thinner() -> None:
    (ax,) = drawn("identical curves")["curves"].axes
    curves = [line for line in ax.lines if len(np.asarray(line.get_xdata())) > 3]
    widths = [line.get_linewidth() for line in curves]
    assert len(widths) == len(NORMS)
    assert widths == sorted(set(widths), reverse=True)


def test_a_range_has_a_point_for_each_value_and_a_line_for_each_normalization() -> None:
    comparison = made(norms=["none", "weight"], swept=("lr",), values=LEARNING_RATES)
    figure = draw(comparison)["range-lr"]
    (ax,) = figure.axes
    lines = [line for line in ax.lines if line.get_marker() in ("o", "s")]
    finals = {each.variant: each.final for each in comparison.games[0].variants}
    for line, norm in zip(lines, ("none", "weight"), strict=True):
        expected = [f.value for v, f in finals.items() if v.norm == norm and f is not None]
        np.testing.assert_allclose(np.asarray(line.get_ydata()), expected)
        exponents = np.asarray(line.get_xdata(), dtype=float)
        np.testing.assert_allclose(exponents, [-4, math.log10(3e-4), -3], atol=0.08)
    assert {"0.0001", "0.0003", "0.001", "lr (log scale)", "none", "weight"} <= set(words(figure))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([("0",), ("0.5",)], ["range-x"]),
        ([("a",), ("b",)], []),
        ([("1",)], []),
        ([("1",), ("b",)], []),
        ([("-",), ("1",), ("2",)], ["range-x"]),
    ],
)
def test_only_numbers_have_a_range(values: Sequence[tuple[str, ...]], expected: list[str]) -> None:
    figures = draw(made(norms=["none"], swept=("x",), values=values))
    assert [stem for stem in figures if stem.startswith("range")] == expected
    if expected and values[0] == ("0",):
        assert "x" in words(figures["range-x"])  # 0 has no place on a log scale


def test_normalizations_have_their_colours_in_every_picture() -> None:
    expected = {look_of(norm, 0).color for norm in NORMS[:2]}
    for figure in drawn("games, swept, together").values():
        assert line_colors(figure) == expected


def line_colors(figure: Figure) -> set[str]:
    """Return the colours of all lines with markers."""
    lines = [line for ax in figure.axes for line in ax.lines]
    return {str(line.get_color()) for line in lines if line.get_marker() not in ("None", "", None)}


def test_measured_conditions_are_a_panel_of_logarithms() -> None:
    comparison = made(norms=("none", "weight"))
    (game,) = comparison.games
    none, weight = game.variants
    assert "conditioning" not in draw(comparison)
    runs = tuple(
        dataclasses.replace(
            run,
            condition_steps=np.array([10.0, 20.0, 30.0][: 3 - seed % 2]),
            conditions=np.array([100.0, 1_000.0, 10.0][: 3 - seed % 2]),
        )
        for seed, run in enumerate(none.runs)
    )
    variants = (dataclasses.replace(none, runs=runs), weight)
    measured = dataclasses.replace(
        comparison, games=(dataclasses.replace(game, variants=variants),)
    )
    line = line_of(variants[0], look_of("none", 0))
    assert line.x.tolist() == [10.0, 20.0]  # as far as every run has readings
    assert line.y.tolist() == [2.0, 3.0]
    figure = draw(measured)["conditioning"]
    assert "log10 of the condition" in " ".join(words(figure))
