"""Results of a comparison as plain data, from which tables, figures and pages are made.

`wnrl.report.analyze` computes them from the results of runs.

Dimension key: K grid points, M games, T thresholds.
"""

import dataclasses
import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from wnrl.envs.protocols import FRAME_SKIP
from wnrl.report.number_format import listed
from wnrl.report.run_result import Result
from wnrl.stats.bootstrap import Bands, Coverage
from wnrl.stats.intervals import Interval
from wnrl.stats.published.levels import Levels, published_levels
from wnrl.stats.reference_scores import Reference
from wnrl.stats.verdict import Verdict

Array = npt.NDArray[np.float64]

_MOST_NAMED = 4  # games in a title


@dataclass(frozen=True)
class Variant:
    """A normalization with one value of each swept setting."""

    norm: str
    values: tuple[str, ...] = ()  # in the order of `Comparison.swept`; `-` if it has no such one

    @property
    def label(self) -> str:
        """`weight`, or `weight 0.0003`: short enough for the end of its curve."""
        values = self.values if any(value != "-" for value in self.values) else ()
        return " ".join([self.norm, *values])


def variant_of(values: Mapping[str, Any], swept: Sequence[str]) -> Variant:
    """Return the variant that a run belongs to.

    Args:
        values: from `wnrl.report.run_differences.variant_settings`.
        swept: names of the swept settings, some of which the run may not have.
    """
    return Variant(str(values["norm"]), tuple(str(values.get(name, "-")) for name in swept))


def counterpart(variant: Variant, variants: Iterable[Variant], norm: str) -> Variant | None:
    """Return the variant with this normalization and the same values of the swept settings.

    Settings that its networks do not have are ignored.
    """
    for other in variants:
        pairs = zip(other.values, variant.values, strict=True)
        if other.norm == norm and all(plain in (value, "-") for plain, value in pairs):
            return other
    return None


class Question(NamedTuple):
    """What a comparison asks."""

    baseline: str = "none"  # normalization that the others are compared with
    margin: float = 0.1  # differences up to this share of the baseline's score do not matter


DEFAULT_QUESTION = Question()


class LostRuns(NamedTuple):
    """Runs of a variant in a game that were asked for and have no score."""

    failed: int = 0
    diverged: int = 0  # NaN or infinity
    unfinished: int = 0  # missing, stopped or still running
    without_an_episode: int = 0  # finished, but no episode ended


NONE_LOST = LostRuns()


@dataclass(frozen=True)
class RunCounts:
    """How many runs of a variant in a game were asked for, and what became of them."""

    finished: int
    lost: LostRuns = NONE_LOST

    @property
    def asked(self) -> int:
        """Runs that were asked for."""
        return self.finished + sum(self.lost)


def total_counts(counts: Iterable[RunCounts]) -> RunCounts:
    """Return the sum of several counts."""
    counts = list(counts)
    lost = LostRuns(*(sum(kind) for kind in zip(*(x.lost for x in counts), strict=True)))
    return RunCounts(sum(x.finished for x in counts), lost)


class Obstacle(enum.Enum):
    """A reason for no claim, apart from an uncertain difference."""

    NONE = enum.auto()
    NO_RUNS = enum.auto()  # one of the two has no finished run
    FEW_SEEDS = enum.auto()  # nothing can be concluded from so few
    FAMILY = enum.auto()  # with so many comparisons, no difference could be shown
    NO_SPREAD = enum.auto()  # nothing tells how much other seeds would differ
    LOST_RUNS = enum.auto()  # the claim does not hold if lost runs count as the worst score


class StagesSoFar(NamedTuple):
    """How far the stages of a comparison went, whose seeds were added until it was decided."""

    seeds: int  # of each of the two, on which the newest decision rests
    most_seeds: int  # of each after the last stage
    final: bool  # no more seeds will be added


@dataclass(frozen=True)
class Contrast:
    """A variant compared with another in one game, on one measure."""

    env: str
    variant: Variant
    baseline: Variant
    difference: Interval  # variant minus baseline; 95%, Welch
    simultaneous: Interval  # holds together with those of the whole family
    effect: Interval  # Hedges' g
    p: float  # of "no difference", by Holm's method; NaN if nothing could be tested
    equivalence_p: float  # of "at least the margin", likewise; NaN without a margin
    family: int  # comparisons of the family
    margin: float  # NaN if the baseline's score above random play is unknown or not above 0
    verdict: Verdict
    obstacle: Obstacle
    detectable: float  # difference that this study finds with a power of 80%; NaN if none
    seeds_needed: int | None  # for a power of 80% at the observed difference; None if unknown
    counts: RunCounts
    baseline_counts: RunCounts
    stages: StagesSoFar | None = None  # None if the number of seeds was fixed


@dataclass(frozen=True)
class OverallContrast:
    """A variant compared with another over all games; intervals hold for all variants together."""

    variant: Variant
    baseline: Variant
    iqm: Interval  # difference
    optimality_gap: Interval  # difference; less is better
    improvement: Interval  # probability that a run of the variant ends above one of the baseline
    margin: float  # of the difference of IQM; NaN if the baseline's is not above 0
    verdict: Verdict  # of the IQM
    obstacle: Obstacle


@dataclass(frozen=True)
class Curve:
    """The mean learning curve of a variant over seeds, with the interval at each point."""

    steps: Array  # (K,) agent steps
    mean: Array  # (K,) NaN before the first episode of every run has ended
    low: Array  # (K,) NaN without an interval
    high: Array  # (K,) NaN without an interval
    seeds: tuple[Array, ...] = ()  # (K,) each, whose mean it is; NaN before the first episode


@dataclass(frozen=True)
class Cost:
    """Times of a variant, each a median over its runs; NaN if no run recorded it."""

    act_ms: float  # one batched action selection over all environments
    update_ms: float  # one optimizer step
    steps_per_s: float  # agent steps per second of training


@dataclass(frozen=True)
class VariantScores:
    """Scores and times of a variant in one game; without runs there are none."""

    variant: Variant
    runs: tuple[Result, ...]  # finished, with a score
    final: Interval | None  # final return, Student's t over seeds
    area: Interval | None  # area under the curve, Student's t over seeds
    best_evaluation: float | None  # each run's best evaluation, averaged over seeds
    mean_evaluation: float | None  # each run's mean evaluation, averaged over seeds
    curve: Curve | None
    cost: Cost | None
    lost: LostRuns = NONE_LOST

    @property
    def counts(self) -> RunCounts:
        """Runs that were asked for, and what became of them."""
        return RunCounts(len(self.runs), self.lost)


@dataclass(frozen=True)
class Game:
    """One environment and the scores of every variant in it."""

    env: str
    protocol: str  # `-` if it is not Atari
    total_steps: int  # agent steps of each run
    variants: tuple[VariantScores, ...]  # in the order in which they were requested
    references: tuple[Reference, ...]  # published scores of this protocol at this frame budget
    random: float = math.nan  # score of random play; NaN if unknown
    frame_skip: int = FRAME_SKIP  # frames of an agent step on Atari; 0 if its runs differ
    custom: bool = False  # whether a run played what nobody published scores of

    @property
    def levels(self) -> Levels | None:
        """Published returns of random play and a good player; None if none was played like this."""
        return None if self.custom else published_levels(self.env)

    @property
    def fewest_seeds(self) -> int:
        """Smallest number of runs of any variant."""
        return min(len(scores.runs) for scores in self.variants)


def cost_baseline(scores: VariantScores, game: Game) -> VariantScores | None:
    """Return the plain network with the same settings, to compare a variant's cost with.

    None for the plain network itself, and if it has no run.
    """
    with_runs = {each.variant: each for each in game.variants if each.runs}
    variant = counterpart(scores.variant, with_runs, "none")
    return None if variant in (None, scores.variant) else with_runs[variant]


def has_cost(game: Game) -> bool:
    """Return whether any time of a variant is known."""
    known = [scores.cost for scores in game.variants if scores.cost is not None]
    return not all(math.isnan(time) for cost in known for time in dataclasses.astuple(cost))


def machines(variants: Iterable[VariantScores]) -> set[str]:
    """Return the machines on which the runs were made."""
    return {run.machine for scores in variants for run in scores.runs}


@dataclass(frozen=True)
class VariantAggregate:
    """Statistics of a variant over all games, from normalized final returns."""

    variant: Variant
    iqm: Interval
    iqm_coverage: Coverage
    mean: Interval
    median: Interval
    optimality_gap: Interval
    optimality_gap_coverage: Coverage
    profile: Bands  # (T,) over `Aggregate.thresholds`
    atari_5: Interval | None  # if its five games were played
    curve: Curve | None  # IQM over training


class FamilyError(NamedTuple):
    """Share of simulated studies of this shape without a difference that name one."""

    bootstrap: float  # with the bootstrap's simultaneous intervals
    error: float  # with the widened intervals that are shown
    widened: float  # their factor


@dataclass(frozen=True)
class Aggregate:
    """All games together in which scores can be normalized and every variant has runs."""

    games: tuple[str, ...]  # M >= 2 environments
    left_out: tuple[str, ...]  # environments without a scale, or without runs of a variant
    thresholds: Array  # (T,) normalized
    variants: tuple[VariantAggregate, ...]
    fewest_seeds: int  # smallest number of runs of any variant in any of the games
    contrasts: tuple[OverallContrast, ...] = ()
    iqm_error: FamilyError | None = None  # of the intervals of `contrasts`; None with one seed
    optimality_gap_error: FamilyError | None = None
    baseline_normalized: tuple[str, ...] = ()  # games without published scores

    @property
    def all_baseline_normalized(self) -> bool:
        """Whether no published score is used."""
        return set(self.baseline_normalized) == set(self.games)


@dataclass(frozen=True)
class SettingsNote:
    """Settings in which the variants of a comparison differ or agree, besides what is compared."""

    # by label of a variant: settings that differ from its baseline, as `--name 0.0003 vs 0.0001`
    differing: Mapping[str, str]
    learning_rate: str  # the one that all variants share; empty if they do not or if it is swept
    rates: Mapping[str, float] = field(default_factory=dict)  # by label, if they differ unasked


@dataclass(frozen=True)
class SettingRange:
    """How much the final return of a series of variants in a game depends on a swept setting."""

    env: str
    setting: str
    label: str  # the variants' name without the setting's value
    best: str  # value with the highest mean
    least: float  # lowest final return within the margin of the best
    shared: str  # value that is best on average over all series of the game
    loss: Interval  # final return at the best value minus that at the shared one
    width: Interval  # decades in which the final return is within the margin of the best
    tried: float  # decades from the lowest value to the highest
    wider: Interval | None  # width minus the baseline's; holds for all ranges together


@dataclass(frozen=True)
class NormSensitivity:
    """How much a normalization needs its swept settings tuned for each game."""

    norm: str
    sensitivity: Interval  # normalized final return gained by tuning for each game
    dimension: Interval  # settings that must be tuned for each game
    settings: int  # that were swept


@dataclass(frozen=True)
class Sensitivity:
    """How much results depend on the values of swept settings."""

    ranges: tuple[SettingRange, ...] = ()
    norms: tuple[NormSensitivity, ...] = ()  # empty with a single game
    games: tuple[str, ...] = ()  # that `norms` covers


@dataclass(frozen=True)
class Comparison:
    """Everything that a report shows."""

    agent: str
    swept: tuple[str, ...]  # names of settings
    games: tuple[Game, ...]
    aggregate: Aggregate | None  # None with fewer than two games for it
    # agent, protocol, agent steps, seeds, evaluations, settings, machine, commit, versions
    facts: dict[str, str]
    problems: dict[str, str]  # runs that are missing, failed or unfinished: name to reason
    question: Question = DEFAULT_QUESTION
    all_pairs: bool = False  # there are no runs of the baseline, so every two are compared
    contrasts: tuple[Contrast, ...] = ()  # of final return, the primary measure
    areas: tuple[Contrast, ...] = ()  # of area under the curve, the secondary measure
    settings: SettingsNote = SettingsNote({}, "")
    sensitivity: Sensitivity = Sensitivity()
    stages: tuple[int, ...] = ()  # seeds per variant after each stage; () if they were fixed
    cost: str = ""  # sentence about the cost; empty if no run recorded its times
    tuned: str = ""  # how each normalization's values were chosen; empty if none were
    rolled_back: Mapping[str, str] = field(default_factory=dict)  # runs by name: reasons
    wrapped: Mapping[str, int] = field(default_factory=dict)  # runs: episodes with a score too low

    @property
    def title(self) -> str:
        """`PPO on Pong and Breakout`."""
        return self.title_of(self.games)

    def title_of(self, games: Sequence[Game]) -> str:
        """Return `PPO on Pong`, or `PPO on 26 games`; just the agent without games."""
        agent = self.agent.upper()
        if not games:
            return agent
        named = len(games) <= _MOST_NAMED
        return f"{agent} on {listed([x.env for x in games]) if named else f'{len(games)} games'}"
