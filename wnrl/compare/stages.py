"""`--until decided`: the runs of each stage, and what the stages decide.

Decisions depend on the runs of the stages alone, in their order, so that a repeated command comes
to the same ones. The statistics are `wnrl.stats.stages`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wnrl._settings import UsageError
from wnrl.compare.grid import PlannedRun
from wnrl.compare.jobs.runner import ENDED, Run
from wnrl.report.comparison import Question, Variant, variant_of
from wnrl.report.find_runs import read_record, remember
from wnrl.report.number_format import counted
from wnrl.report.run_differences import variant_settings
from wnrl.report.run_result import Result, read_result
from wnrl.report.verdicts.in_games import FINAL, scored_group
from wnrl.report.verdicts.pairs import pairs_of
from wnrl.report.verdicts.scale import random_score, worst_score
from wnrl.report.verdicts.staged import StagedDecision, StagedRecord
from wnrl.stats.difference import Difference, least_p, welch
from wnrl.stats.intervals import INDICATIVE_SEEDS
from wnrl.stats.stages.decisions import (
    Decision,
    Decisions,
    Look,
    Stages,
    decide,
    plan_stages,
)
from wnrl.stats.verdict import LEVEL

_CLAIMS = (Decision.BETTER, Decision.WORSE, Decision.WITHIN_MARGIN)
_WORDS = {
    Decision.BETTER: "better",
    Decision.WORSE: "worse",
    Decision.WITHIN_MARGIN: "no difference larger than the margin",
    Decision.OUT_OF_REACH: "undecided, and hardly to be decided with --max-seeds either",
    Decision.GO_ON: "undecided",
}


class _Pair(NamedTuple):
    env: str
    variant: Variant
    baseline: Variant


class _Scores(NamedTuple):
    """Runs of a variant up to a stage."""

    finished: list[Result]  # with a score
    lost: int


class StagedStudy:
    """The comparisons of a grid with its baseline, each until it is decided."""

    def __init__(
        self,
        grid: Sequence[PlannedRun],
        fewest_seeds: int,
        swept: Sequence[str],
        question: Question,
    ) -> None:
        """Plan the stages; nothing is read or run.

        Args:
            grid: all runs up to the most seeds.
            fewest_seeds: seeds of the first stage.
            swept: settings that vary besides environment, normalization and seed.
            question: the baseline and the margin.

        Raises:
            UsageError: there is nothing to compare with the baseline.
        """
        self._question = question
        self._runs: dict[tuple[str, Variant], list[PlannedRun]] = {}
        for planned in grid:
            variant = variant_of(variant_settings(planned.config, swept), swept)
            self._runs.setdefault((planned.config.run.env, variant), []).append(planned)
        envs = dict.fromkeys(env for env, _ in self._runs)
        pairs, all_pairs = pairs_of(
            list(dict.fromkeys(variant for _, variant in self._runs)), question.baseline
        )
        if all_pairs or not pairs:
            raise UsageError(
                f"--until decided compares with the baseline {question.baseline}; add it and "
                "another normalization to --norm, or name the baseline with --baseline"
            )
        self._pairs = [_Pair(env, *pair) for env in envs for pair in pairs]
        most = max(planned.config.run.seed for planned in grid)
        self.plan: Stages = plan_stages(fewest_seeds, most, len(self._pairs))
        self._at_most = len(grid)
        self._steps = grid[0].config.run.steps
        self._decisions: Decisions = np.zeros(len(self._pairs), dtype=np.int8)
        self._records: dict[int, StagedDecision] = {}
        self.started: list[PlannedRun] = []  # runs of all stages so far

    @property
    def description(self) -> str:
        """The line of a plan about the stages."""
        return (
            f"  in stages of {', '.join(map(str, self.plan.seeds))} seeds: "
            f"{counted(len(self._pairs), 'comparison')} with {self._question.baseline}, each until "
            f"it is decided; {self._at_most:,} runs at most"
        )

    def start(self, stage: int) -> list[PlannedRun]:
        """Return the new runs of a stage; none if every comparison is decided."""
        wanted = {
            (pair.env, variant)
            for pair, decision in zip(self._pairs, self._decisions, strict=True)
            if decision == Decision.GO_ON
            for variant in (pair.variant, pair.baseline)
        }
        first = self.plan.seeds[stage - 1] if stage else 0
        new = [
            planned
            for key, of_variant in self._runs.items()
            if key in wanted
            for planned in of_variant
            if first < planned.config.run.seed <= self.plan.seeds[stage]
        ]
        new.sort(key=lambda planned: planned.config.run.seed)  # stable: all first seeds first
        self.started += new
        return new

    def judge(self, stage: int) -> list[str]:
        """Decide after all runs of a stage have ended; return a line for each decision."""
        seeds, last = self.plan.seeds[stage], stage == len(self.plan.seeds) - 1
        results = self._results()
        observed, differences = self._look(results, worst=False)
        after = decide(self.plan, stage, observed, self._decisions)
        if any(scores.lost for scores in results.values()):
            # A lost run may be one that learned nothing: claims have to survive that.
            at_worst, _ = self._look(results, worst=True)
            pessimistic = decide(self.plan, stage, at_worst, self._decisions)
            unsure = np.isin(after, _CLAIMS) & (after != pessimistic)
            after = np.where(unsure, Decision.GO_ON, after).astype(np.int8)
        # Nothing can be claimed about a variant that loses every run, so more of them are wasted.
        hopeless = [not results[pair.env, pair.variant].finished for pair in self._pairs]
        stopped = np.array(hopeless) & (after == Decision.GO_ON)
        after = np.where(stopped, Decision.OUT_OF_REACH, after).astype(np.int8)
        lines = []
        for k, pair in enumerate(self._pairs):
            if self._decisions[k] != Decision.GO_ON:
                continue
            decision = Decision(int(after[k]))
            self._records[k] = self._record(stage, pair, decision, differences[k], after)
            if decision != Decision.GO_ON or last:
                name = f"{pair.env}: {pair.variant.label} against {pair.baseline.label}"
                lines.append(f"{name}: {_WORDS[decision]} (after {seeds} seeds)")
        self._decisions = after
        going = int((after == Decision.GO_ON).sum())
        if going and not last:
            lines.append(f"{counted(going, 'comparison')} undecided after {seeds} seeds: going on")
        return lines

    def record(self) -> StagedRecord:
        """Return the plan and the newest decision about each comparison, for compare.json."""
        return StagedRecord(
            seeds=list(self.plan.seeds),
            variants=list(dict.fromkeys(pair.variant.label for pair in self._pairs)),
            envs=list(dict.fromkeys(pair.env for pair in self._pairs)),
            margin=self._question.margin,
            steps=self._steps,
            decisions=[self._records[k] for k in sorted(self._records)],
        )

    def saved(self) -> str:
        """Return the line about the runs that the stages saved."""
        spared = self._at_most - len(self.started)
        return (
            f"{counted(len(self.started), 'run')} instead of {self._at_most:,} "
            f"({self.plan.seeds[-1]} seeds for all): {spared:,} saved"
        )

    def _results(self) -> dict[tuple[str, Variant], _Scores]:
        started = {planned.folder for planned in self.started}
        scores = {}
        for key, of_variant in self._runs.items():
            mine = [planned for planned in of_variant if planned.folder in started]
            read = [_result(planned) for planned in mine]
            finished = [result for result in read if result is not None]
            scores[key] = _Scores(finished, len(mine) - len(finished))
        return scores

    def _look(
        self, results: Mapping[tuple[str, Variant], _Scores], *, worst: bool
    ) -> tuple[Look, list[Difference | None]]:
        """Return the differences of all pairs; with `worst`, lost runs have the worst score.

        Only undecided pairs are used, and both of those have the seeds of this stage.
        """
        table = np.full((len(self._pairs), 5), math.nan)  # in the order of `Look`
        found: list[Difference | None] = []
        for k, (env, *both) in enumerate(self._pairs):
            in_game = [x for key, of in results.items() if key[0] == env for x in of.finished]
            zero = random_score(env, in_game)
            lowest = worst_score(map(FINAL.score, in_game), zero)
            groups = []
            for variant in both:
                of = results[env, variant]
                added = [lowest] * of.lost if worst and not math.isnan(lowest) else []
                enough = len(of.finished) + len(added) >= INDICATIVE_SEEDS
                groups.append(scored_group(of.finished, added, FINAL) if enough else None)
            one, other = groups
            if one is None or other is None:
                found.append(None)
                continue
            difference = welch(one, other)
            found.append(difference)
            above = float(other.mean) - zero
            margin = self._question.margin * above if above > 0 else math.nan
            numbers = map(float, (difference.value, difference.error, difference.df))
            table[k] = [*numbers, least_p(*difference.counts), margin]
        return Look(*table.T), found

    def _record(
        self,
        stage: int,
        pair: _Pair,
        decision: Decision,
        difference: Difference | None,
        after: Decisions,
    ) -> StagedDecision:
        """Return what compare.json keeps; its p and levels hold over all stages."""
        claimed = np.isin(after, (Decision.BETTER, Decision.WORSE))
        left = self.plan.family - int(claimed.sum())
        left += decision in (Decision.BETTER, Decision.WORSE)  # the level at which it was shown
        level = self.plan.difference_level(stage, left)
        value = error = df = p = None
        if difference is not None:
            value = float(difference.value)
        if difference is not None and not math.isnan(difference.error):
            error, df = float(difference.error), float(difference.df)
            p = min(1.0, LEVEL * float(difference.safe_p()) / level) if level else 1.0
        together = (1, self.plan.family)
        return StagedDecision(
            env=pair.env,
            variant=pair.variant.label,
            seeds=self.plan.seeds[stage],
            verdict=decision.verdict.name,
            final=decision != Decision.GO_ON or stage == len(self.plan.seeds) - 1,
            value=value,
            error=error,
            df=df,
            p=p,
            levels=[self.plan.interval_level(stage, count) for count in together],
        )


def check_stages(study: StagedStudy | None, out: Path) -> None:
    """Refuse to change the stages after runs have been looked at: they would no longer keep 5%.

    Args:
        study: this command's; None if its number of seeds is fixed.
        out: folder of the comparison.

    Raises:
        UsageError: an earlier command in the folder planned its seeds in another way.
    """
    record = read_record(out)
    before, now = record.stages, None if study is None else study.record()
    if not record.runs or before is now is None:
        return
    if before is None:
        raise UsageError(
            f"{out} holds runs with a fixed number of seeds, so --until decided cannot begin "
            "there; choose another --out"
        )
    if now is None or not before.same_plan(now):
        raise UsageError(
            f"{out} was planned with --until decided, --seeds {before.seeds[0]}, --max-seeds "
            f"{before.seeds[-1]}, --margin {before.margin:g}, --steps {before.steps}, "
            f"{counted(len(before.variants), 'variant')} and {counted(len(before.envs), 'game')}, "
            "which cannot change; choose another --out"
        )


def run_stages(
    study: StagedStudy,
    out: Path,
    swept: Sequence[str],
    question: Question,
    run: Callable[[Sequence[PlannedRun], Sequence[Run]], list[Run]],
) -> list[Run]:
    """Run a study stage by stage; return its runs, or those of the stages before a signal.

    Args:
        study: the comparisons.
        out: its folder; compare.json is written after each stage.
        swept: settings that vary besides environment, normalization and seed.
        question: the baseline and the margin.
        run: runs a stage, given the runs of the stages before it too. It returns early, with runs
            that have not ended, after a signal.
    """
    runs: list[Run] = []
    for stage in range(len(study.plan.seeds)):
        new = study.start(stage)
        configs = {planned.folder: planned.config for planned in study.started}
        remember(out, configs, swept, question, study.record())
        if not new:
            break
        runs += run(new, tuple(runs))
        if any(each.state not in ENDED for each in runs):
            return runs
        for line in study.judge(stage):
            print(line, flush=True)
    remember(out, configs, swept, question, study.record())
    print(study.saved(), flush=True)
    return runs


def _result(planned: PlannedRun) -> Result | None:
    """Return a run's result; None if it is not done or has no score."""
    try:
        result = read_result(planned.folder)
    except UsageError:
        return None
    return result if result.done and not math.isnan(result.final) else None
