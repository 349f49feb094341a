"""Sentences about a comparison; those about differences are in `verdicts.sentences`."""

from collections.abc import Iterator, Sequence

from wnrl.report.comparison import Comparison, Game
from wnrl.report.number_format import compact, counted, listed
from wnrl.report.run_result import WINDOW_FRACTION
from wnrl.report.verdicts.sensitivity_text import sensitivity_findings
from wnrl.report.verdicts.sentences import Finding, game_findings, overall_findings
from wnrl.stats.intervals import CONCLUSIVE_SEEDS, INDICATIVE_SEEDS, Evidence, evidence

_MOST_NAMED = 4  # longer lists are replaced by their length
_FEW_EPISODES = 10  # of a final return


def evidence_sentence(seeds: int) -> str:
    """Return the warning that a comparison with this many seeds needs; empty if it needs none."""
    match evidence(seeds):
        case Evidence.NONE:
            return (
                f"{counted(seeds, 'seed')}: nothing can be concluded. "
                f"Run at least {INDICATIVE_SEEDS}."
            )
        case Evidence.INDICATIVE:
            return (
                f"{counted(seeds, 'seed')}: differences are indicative only. "
                f"Run at least {CONCLUSIVE_SEEDS}."
            )
        case Evidence.CONCLUSIVE:
            return ""


def game_warning(game: Game) -> str:
    """Return the warning that the seeds of a game need; it names the variants with the fewest."""
    if silent := without_an_episode(game):
        return (
            f"No episode ended in any run of {listed(silent)}: nothing can be concluded. "
            "Train for more agent steps."
        )
    warning = evidence_sentence(game.fewest_seeds)
    labels = [x.variant.label for x in game.variants if len(x.runs) == game.fewest_seeds]
    if not warning or len(labels) == len(game.variants):
        return warning
    subject = listed(labels) if len(labels) <= _MOST_NAMED else f"{len(labels)} variants"
    verb = "has" if len(labels) == 1 else "have"
    seeds = counted(game.fewest_seeds, "seed") if game.fewest_seeds else "no seeds"
    return f"{subject} {verb} {seeds}: {warning.partition(': ')[2]}"


def without_an_episode(game: Game) -> list[str]:
    """Return the labels of the variants that have finished runs, none of which has a score."""
    return [
        scores.variant.label
        for scores in game.variants
        if not scores.runs and scores.lost.without_an_episode
    ]


def evidence_sentences(comparison: Comparison) -> list[str]:
    """Return warnings about few seeds: one sentence per set of equal games, none if none needs one.

    A comparison without a score has a warning of its own.
    """
    if not any(scores.runs for game in comparison.games for scores in game.variants):
        return ["No run has a score: nothing can be concluded."]
    games: dict[str, list[str]] = {}
    for game in comparison.games:
        games.setdefault(game_warning(game), []).append(game.env)
    if len(games) == 1:
        return [warning for warning in games if warning]
    return [f"{listed(envs)}: {warning}" for warning, envs in games.items() if warning]


def findings(comparison: Comparison) -> list[Finding]:
    """Return what the verdicts say, in the words of every report, and about the cost."""
    found = [*_scope(comparison)]
    if (aggregate := comparison.aggregate) is not None:
        found += overall_findings(aggregate)
    found += game_findings(comparison)
    found += sensitivity_findings(comparison.sensitivity)
    return [*found, Finding("Cost", comparison.cost)] if comparison.cost else found


def _scope(comparison: Comparison) -> Iterator[Finding]:
    """Yield what is compared, where it is not simply each variant with the baseline."""
    question, settings = comparison.question, comparison.settings
    if comparison.all_pairs and comparison.contrasts:
        yield Finding(
            "Every pair",
            f"There is no run of the baseline {question.baseline} to compare with, so every two "
            "variants are compared.",
        )
    if comparison.tuned:
        yield Finding("Tuned", comparison.tuned)
    if settings.learning_rate and comparison.contrasts:
        yield Finding(
            "One learning rate",
            f"All variants learn with {settings.learning_rate}. The comparison holds at this rate; "
            "each variant's best rate may be another.",
        )
    if settings.rates and comparison.contrasts:
        each = [f"{label} {rate:g}" for label, rate in settings.rates.items()]
        yield Finding(
            "Different learning rates",
            f"The variants do not learn at one rate: {', '.join(each)}. A difference between them "
            "is that of normalization and learning rate together.",
        )
    if few := _few_episodes(comparison.games):
        yield Finding("Few episodes", few)
    if early := _early_scores(comparison.games):
        yield Finding("Early final returns", early)
    if comparison.wrapped:
        episodes = sum(comparison.wrapped.values())
        each = [f"{name}: {count}" for name, count in comparison.wrapped.items()]
        yield Finding(
            "Scores too low",
            f"In {counted(episodes, 'episode')} the game's score passed 999,999 and began again at "
            "0. The return of such an episode is 1,000,000 too low for each time. Episodes by run: "
            f"{'; '.join(each)}.",
        )
    if comparison.rolled_back:
        yield Finding(
            "Rolled back",
            f"{counted(len(comparison.rolled_back), 'run')} met NaN or infinity and went on from "
            "a checkpoint with half the learning rate: "
            f"{'; '.join(f'{name}: {why}' for name, why in comparison.rolled_back.items())}.",
        )


def _few_episodes(games: Sequence[Game]) -> str:
    """Return a warning if some final returns are means of few episodes; else an empty text."""
    least = {
        game.env: min(len(run.final_returns) for scores in game.variants for run in scores.runs)
        for game in games
        if any(scores.runs for scores in game.variants)
    }
    few = {env: count for env, count in least.items() if count < _FEW_EPISODES}
    if not few:
        return ""
    each = [f"{counted(count, 'episode')} in {env}" for env, count in few.items()]
    return (
        f"Some final returns are means of as few as {listed(each)}. They depend on where exactly a "
        "run ended; longer runs, or more of them, give steadier verdicts."
    )


def _early_scores(games: Sequence[Game]) -> str:
    """Return a warning if no episode ended in the window of a final return; else an empty text."""
    each = []
    for game in games:
        shares = [run.last_episode_share for scores in game.variants for run in scores.runs]
        early = [share for share in shares if share <= 1 - WINDOW_FRACTION]
        if not early:
            continue
        low, high = f"{min(early):.0%}", f"{max(early):.0%}"
        each.append(
            f"in {game.env}, {len(early)} of {counted(len(shares), 'run')}, where the last episode "
            f"ended after {low if low == high else f'{low} to {high}'} of the steps"
        )
    if not each:
        return ""
    return (
        f"Some final returns are not from the last {WINDOW_FRACTION:.0%} of the agent steps, "
        f"because no episode ended there: {'; '.join(each)}. They describe earlier learning. "
        "Choose --steps so that an episode ends in time."
    )


def differences_note(comparison: Comparison) -> str:
    """Return how the numbers in the table of differences are to be read."""
    if not comparison.stages:
        return (
            "Difference: of the means, with Welch's 95% interval for this difference alone; the "
            "simultaneous interval holds for all differences of the table together (Bonferroni). "
            "Adjusted p: Holm's method over the whole table; a difference is significant at 5%. "
            "Detectable: the difference that this study finds in 80% of cases. Seeds needed: per "
            "variant, to find the observed difference in 80% of cases."
        )
    stages = listed([str(n) for n in comparison.stages])
    return (
        f"Seeds were added in stages, to {stages} per variant, until a comparison was decided. "
        "Difference: of the means over the seeds on which the decision rests, with a 95% interval "
        "for this difference alone that holds on every stage; the simultaneous interval also holds "
        "for all differences of the table together. Adjusted p: for all stages, and by Holm's "
        "method for the whole table; a difference is significant at 5%. Detectable: the difference "
        f"that the whole study, with {comparison.stages[-1]} seeds, finds in 80% of cases. Seeds "
        "needed: most seeds per variant of a study in such stages that finds the observed "
        "difference in 80% of cases."
    )


def maximum_over_mean(game: Game) -> str:
    """Return how far maxima over evaluations exceed their means; empty without evaluations."""
    above = [
        scores.best_evaluation - scores.mean_evaluation
        for scores in game.variants
        if scores.best_evaluation is not None and scores.mean_evaluation is not None
    ]
    if not above:
        return ""
    low, high = compact(min(above), significant=2), compact(max(above), significant=2)
    distance = low if low == high else f"{low} to {high}"
    return f"The maximum over evaluations is {distance} above their mean."
