"""How much the final return of each normalization depends on the values of swept settings.

A lost run counts as the worst score of its game: a learning rate at which runs diverge is no good
one. The statistics are in `wnrl.stats.sensitivity`.

Dimension key: D draws, V values of a setting, E games, H combinations of values. Row 0 of 1 + D is
what was observed.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wnrl.report.comparison import (
    Game,
    NormSensitivity,
    Question,
    Sensitivity,
    SettingRange,
    Variant,
    counterpart,
)
from wnrl.report.verdicts.in_games import FINAL, scored_group
from wnrl.report.verdicts.scale import worst_score
from wnrl.stats.intervals import Group, Interval
from wnrl.stats.sensitivity import (
    draw_means,
    effective_dimension,
    interval_of,
    percentile_range,
    sensitivity,
    width_above,
)
from wnrl.stats.verdict import LEVEL

Array = npt.NDArray[np.float64]
_DRAWS = 2_000
_SEED = 1  # so that the same runs always give the same report


class _Series(NamedTuple):
    """The variants of a game that differ in one setting alone, by its rising values."""

    variant: Variant  # without the setting's value
    values: tuple[str, ...]  # (V,)
    places: Array  # (V,) decades
    means: Array  # (1 + D, V)

    @property
    def best(self) -> Array:
        """The highest mean: (1 + D,)."""
        return np.asarray(self.means.max(axis=-1))

    def loss(self, value: str) -> Array:
        """Return what a value loses against the best: (1 + D,)."""
        return self.best - self.means[:, self.values.index(value)]

    def least(self, margin: float, zero: float) -> Array:
        """Return the lowest score within the margin of the best: (1 + D,)."""
        return self.best - margin * (self.best - zero)

    def width(self, margin: float, zero: float) -> Array:
        """Return the decades within the margin of the best: (1 + D,)."""
        return width_above(self.means, self.places, self.least(margin, zero))


def analyze_sensitivity(
    games: Sequence[Game], swept: Sequence[str], question: Question
) -> Sensitivity:
    """Return ranges of each swept setting with positive numbers, and sensitivities over games.

    Args:
        games: all games.
        swept: swept settings.
        question: the baseline and the margin.
    """
    generator = np.random.default_rng(_SEED)
    scores = {game.env: _groups(game) for game in games}
    ranges: list[SettingRange] = []
    for place, setting in enumerate(swept):
        found = {env: _all_series(of, place, generator) for env, of in scores.items()}
        others = sum(
            x.variant.norm != question.baseline for series in found.values() for x in series
        )
        for game in games:
            level = LEVEL / max(1, others)
            ranges += _ranges(game, setting, found[game.env], question, level)
    norms, covered = _norms(scores, swept, generator)
    return Sensitivity(tuple(ranges), norms, covered)


def _groups(game: Game) -> dict[Variant, Group]:
    """Return the scores of each variant, with lost runs at the worst score of the game."""
    seen = [run.final for scores in game.variants for run in scores.runs]
    worst = worst_score(seen, game.random)
    groups = {
        scores.variant: scored_group(scores.runs, [worst] * sum(scores.lost), FINAL)
        for scores in game.variants
    }
    return {variant: of for variant, of in groups.items() if seen and of is not None}


def _observed_and_drawn(groups: Sequence[Group], generator: np.random.Generator) -> Array:
    """Return means (1 + D, V); with a single score of a value, nothing is drawn."""
    observed = np.array([[float(each.mean) for each in groups]])
    if min(each.count for each in groups) < 2:
        return observed
    return np.concatenate([observed, draw_means(groups, _DRAWS, generator)])


def _interval(rows: Array, confidence: float = 0.95) -> Interval:
    """Return the observed statistic with its interval: (1 + D,)."""
    if len(rows) == 1:
        return Interval(float(rows[0]), math.nan, math.nan)
    return interval_of(float(rows[0]), rows[1:], confidence)


def _all_series(
    scores: Mapping[Variant, Group], place: int, generator: np.random.Generator
) -> list[_Series]:
    """Return the series of a setting with at least two values, all positive numbers."""
    members: dict[Variant, dict[float, Variant]] = {}
    for variant in scores:
        text = variant.values[place]
        if text == "-":
            continue
        value = _positive(text)
        if value is None:
            return []
        without = Variant(variant.norm, variant.values[:place] + variant.values[place + 1 :])
        members.setdefault(without, {})[value] = variant
    return [
        _Series(
            variant=without,
            values=tuple(by_value[value].values[place] for value in sorted(by_value)),
            places=np.log10(sorted(by_value)),
            means=_observed_and_drawn([scores[by_value[x]] for x in sorted(by_value)], generator),
        )
        for without, by_value in members.items()
        if len(by_value) > 1
    ]


def _positive(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < math.inf else None


def _ranges(
    game: Game, setting: str, series: Sequence[_Series], question: Question, level: float
) -> list[SettingRange]:
    """Return the ranges of all series that were tried with the same values and learned something.

    Args:
        game: the game.
        setting: the setting.
        series: all series of the setting in the game.
        question: the baseline and the margin.
        level: of the intervals of differences to the baseline.
    """
    zero = game.random
    series = [x for x in series if x.values == series[0].values and x.best[0] > zero]
    if not series:
        return []
    together = np.sum([each.means[0] for each in series], axis=0)
    shared = series[0].values[int(together.argmax())]
    by_variant = {each.variant: each for each in series}
    ranges = []
    for each in series:
        width = each.width(question.margin, zero)
        baseline = counterpart(each.variant, by_variant, question.baseline)
        wider = None
        if baseline not in (None, each.variant):
            plain = by_variant[baseline]
            rows = min(len(width), len(plain.means))
            wider = width[:rows] - plain.width(question.margin, zero)[:rows]
        ranges.append(
            SettingRange(
                env=game.env,
                setting=setting,
                label=each.variant.label,
                best=each.values[int(each.means[0].argmax())],
                least=float(each.least(question.margin, zero)[0]),
                shared=shared,
                loss=_interval(each.loss(shared)),
                width=_interval(width),
                tried=float(each.places[-1] - each.places[0]),
                wider=None if wider is None else _interval(wider, 1 - level),
            )
        )
    return ranges


def _norms(
    scores: Mapping[str, Mapping[Variant, Group]],
    swept: Sequence[str],
    generator: np.random.Generator,
) -> tuple[tuple[NormSensitivity, ...], tuple[str, ...]]:
    """Return the sensitivity of each normalization over the games in which all have scores."""
    variants = list(dict.fromkeys(variant for of in scores.values() for variant in of))
    games = [env for env, of in scores.items() if of.keys() >= set(variants)]
    if not swept or len(games) < 2:
        return (), ()
    ends = np.array(
        [
            percentile_range(np.array([float(each.mean) for each in scores[env].values()]))
            for env in games
        ]
    )  # (E, 2)
    if (ends[:, 0] == ends[:, 1]).any():
        return (), ()
    found = []
    for norm in dict.fromkeys(variant.norm for variant in variants):
        shape, members = _grid([variant for variant in variants if variant.norm == norm])
        if len(members) != math.prod(shape):
            continue
        rows = [_observed_and_drawn([scores[env][x] for x in members], generator) for env in games]
        fewest = min(map(len, rows))
        means = np.stack([of[:fewest] for of in rows], axis=1)  # (1 + D, E, H)
        means = (means - ends[:, :1]) / (ends[:, 1:] - ends[:, :1])
        dimensions = [effective_dimension(each.reshape(len(games), *shape)) for each in means]
        found.append(
            NormSensitivity(
                norm=norm,
                sensitivity=_interval(sensitivity(means)),
                dimension=_interval(np.array(dimensions, dtype=np.float64)),
                settings=sum(size > 1 for size in shape),
            )
        )
    return tuple(found), tuple(games) if found else ()


def _grid(variants: Sequence[Variant]) -> tuple[tuple[int, ...], list[Variant]]:
    """Return the number of values of each setting, and the variants in the order of the grid.

    A setting that the normalization does not have counts as one with a single value.
    """
    values = [list(dict.fromkeys(of)) for of in zip(*(x.values for x in variants), strict=True)]
    places = {
        variant: tuple(of.index(value) for of, value in zip(values, variant.values, strict=True))
        for variant in variants
    }
    return tuple(map(len, values)), sorted(variants, key=lambda variant: places[variant])
