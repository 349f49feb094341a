"""`--tune`: values are chosen on seeds of their own, once, and the others are judged with them."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from made_results import made_result

from wnrl._settings import UsageError
from wnrl.compare import command, tuning
from wnrl.compare.flags import CompareArguments, parse_compare_flags
from wnrl.compare.grid import make_grid
from wnrl.compare.tuning import best_values, check_tuning, tuned
from wnrl.report.comparison import DEFAULT_QUESTION, Variant, variant_of
from wnrl.report.find_runs import Inventory, Record, check_fits, read_record, remember
from wnrl.report.run_differences import check_comparable, variant_settings
from wnrl.report.run_result import find_runs
from wnrl.report.verdicts.tuned import TunedRecord, tuned_sentence
from wnrl.train.storage.run_status import RunState

LOST = float("nan")
RATES = ("0.0001", "0.001")
Scores = Mapping[tuple[str, str, str], Sequence[float]]  # by game, normalization and learning rate


def tried(scores: Scores, missing: Sequence[tuple[str, str, str]] = ()) -> Inventory:
    """Return runs with these final returns; `LOST` is a run that did not finish."""
    results = [
        made_result(
            [0.0] * 10 + [0.0 if score != score else score] * 90,
            done_steps=500 if score != score else 1_000,
            env=env,
            norm=norm,
            learning_rate=rate,
            seed=tuning.FIRST_SEED + number,
        )
        for (env, norm, rate), of in scores.items()
        for number, score in enumerate(of)
    ]
    swept = ("learning_rate",)
    variants = [variant_of(variant_settings(x.config, swept), swept) for x in results]
    planned = [(x.config.run.env, y) for x, y in zip(results, variants, strict=True)]
    gone = tuple((env, Variant(norm, (rate,)), RunState.FAILED) for env, norm, rate in missing)
    planned += [(env, variant) for env, variant, _ in gone]
    return Inventory(tuple(results), tuple(planned), gone, {}, swept, Record([], {}))


def rates(chosen: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {norm: values["learning_rate"] for norm, values in chosen.items()}


def test_each_normalization_gets_the_value_with_its_highest_mean() -> None:
    found = best_values(
        tried(
            {
                ("toy/Catch", "none", RATES[0]): [3.0, 5.0],
                ("toy/Catch", "none", RATES[1]): [1.0, 6.0],
                ("toy/Catch", "weight", RATES[0]): [4.0, 4.0],
                ("toy/Catch", "weight", RATES[1]): [2.0, 6.5],
            }
        )
    )
    assert rates(found) == {"none": RATES[0], "weight": RATES[1]}


def test_the_first_of_equal_values_is_chosen() -> None:
    found = best_values(tried({("toy/Catch", "none", rate): [2.0] for rate in RATES}))
    assert rates(found) == {"none": RATES[0]}


def test_a_lost_run_counts_as_the_worst_score_of_its_game() -> None:
    scores = {
        ("toy/Catch", "none", RATES[0]): [4.0, 4.0],
        ("toy/Catch", "none", RATES[1]): [7.0, LOST],
    }
    assert rates(best_values(tried(scores))) == {"none": RATES[0]}
    scores["toy/Catch", "none", RATES[1]] = [7.0]
    assert rates(best_values(tried(scores))) == {"none": RATES[1]}
    missing = [("toy/Catch", "none", RATES[1])]
    assert rates(best_values(tried(scores, missing))) == {"none": RATES[0]}


def test_every_game_has_the_same_weight() -> None:
    """The first value is best in two games of three, the second in the one with large scores."""
    scores = {}
    for env, first, second in (
        ("toy/Catch", 2.0, 1.0),
        ("CartPole-v1", 2.0, 1.0),
        ("Acrobot-v1", 1_000.0, 2_000.0),
    ):
        scores |= {(env, "none", RATES[0]): [first], (env, "none", RATES[1]): [second]}
    assert rates(best_values(tried(scores))) == {"none": RATES[0]}


class Tuning:
    """A stand-in for the runs that choose."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, exit_code: int = 0) -> None:
        self.ran: list[CompareArguments] = []
        self.exit_code = exit_code
        self.best = {"none": RATES[0], "weight": RATES[1], "layer": RATES[1], "rms": RATES[0]}
        self.also: dict[tuple[str, str, str], list[float]] = {}  # of an earlier command
        monkeypatch.setattr(tuning, "take_inventory", self._inventory)

    def run(self, arguments: CompareArguments) -> int:
        self.ran.append(arguments)
        return self.exit_code

    def _inventory(self, *_: object) -> Inventory:
        scores = {
            ("toy/Catch", norm, rate): [5.0 if self.best[norm] == rate else 1.0]
            for norm in self.ran[-1].norms
            for rate in RATES
        }
        missing = [("toy/Catch", "rms", RATES[1])] if self.also else []
        return tried({**scores, **self.also}, missing)


def arguments(out: Path, *more: str, norms: Sequence[str] = ("none", "weight")) -> CompareArguments:
    flags = ["--env=toy/Catch", "--norm", *norms, "--steps=1000", f"--out={out}"]
    return parse_compare_flags(
        [*flags, "--tune", "learning_rate=1e-4,1e-3", "--tune-seeds=2", *more]
    )


def judged(out: Path, parsed: CompareArguments) -> None:
    """Plan the judged runs, as the comparison does when it starts."""
    grid = make_grid(
        parsed.settings,
        envs=parsed.envs,
        norms=parsed.norms,
        sweep={},
        seeds=parsed.seeds,
        out=out,
        chosen=parsed.chosen,
    )
    remember(out, {planned.folder: planned.config for planned in grid}, [], DEFAULT_QUESTION)


def test_values_are_chosen_on_other_seeds_and_the_others_are_judged_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    choosing = Tuning(monkeypatch)
    found, exit_code = tuned(arguments(tmp_path, "--until=decided", "--max-seeds=9"), choosing.run)
    (ran,) = choosing.ran
    assert (ran.options.out, ran.options.until) == (str(tmp_path / "tuning"), "")
    assert ran.sweep == {"learning_rate": ["1e-4", "1e-3"]}
    assert list(ran.seeds) == [1_001, 1_002]
    assert found is not None
    assert (exit_code, list(found.seeds)) == (0, list(range(1, 10)))
    assert rates(found.chosen) == {"none": RATES[0], "weight": RATES[1]}
    assert read_record(tmp_path).tuned == TunedRecord(
        {"learning_rate": ["1e-4", "1e-3"]}, ["toy/Catch"], 2, 1_000, dict(found.chosen)
    )
    said = capsys.readouterr().out
    assert "tuned: none with --learning-rate 0.0001 and weight with --learning-rate 0.001" in said
    judged(tmp_path, found)
    assert read_record(tmp_path).tuned is not None  # not lost by the runs that are added


def test_a_choice_is_made_once_and_another_normalization_is_tuned_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choosing = Tuning(monkeypatch)
    first, _ = tuned(arguments(tmp_path), choosing.run)
    assert first is not None
    judged(tmp_path, first)
    again, _ = tuned(arguments(tmp_path), choosing.run)
    assert len(choosing.ran) == 1
    assert again is not None
    assert again.chosen == first.chosen
    choosing.best["none"] = RATES[1]  # more seeds would have chosen otherwise
    more, _ = tuned(arguments(tmp_path, norms=("none", "layer")), choosing.run)
    assert len(choosing.ran) == 2
    assert more is not None
    assert rates(more.chosen) == {"none": RATES[0], "weight": RATES[1], "layer": RATES[1]}


def test_runs_that_a_stopped_command_left_choose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choosing = Tuning(monkeypatch)
    choosing.also = {
        ("toy/Catch", "rms", RATES[0]): [9.0],  # its other value is missing
        ("CartPole-v1", "none", RATES[1]): [100.0],
        ("toy/Catch", "none", "0.5"): [100.0],
    }
    found, _ = tuned(arguments(tmp_path), choosing.run)
    assert found is not None
    assert rates(found.chosen) == {"none": RATES[0], "weight": RATES[1]}
    later, _ = tuned(arguments(tmp_path, norms=("none", "rms")), choosing.run)
    assert len(choosing.ran) == 2  # rms is tuned before it is judged
    assert later is not None


def test_nothing_is_judged_if_the_tuning_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for exit_code, parsed in ((130, arguments(tmp_path)), (0, arguments(tmp_path, "--dry-run"))):
        choosing = Tuning(monkeypatch, exit_code)
        assert tuned(parsed, choosing.run) == (None, exit_code)
        assert read_record(tmp_path).tuned is None
    assert "then up to 10 runs with the values that these choose" in capsys.readouterr().out


def test_a_failed_run_of_the_tuning_does_not_stop_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, exit_code = tuned(arguments(tmp_path), Tuning(monkeypatch, exit_code=1).run)
    assert found is not None
    assert exit_code == 1


def test_a_folder_keeps_its_tuning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choosing = Tuning(monkeypatch)
    tuned(arguments(tmp_path), choosing.run)
    plain = ["--env=toy/Catch", "--steps=1000", f"--out={tmp_path}"]
    for other in (
        parse_compare_flags(plain),
        parse_compare_flags([*plain, "--tune", "learning_rate=1e-4", "--tune-seeds=2"]),
        arguments(tmp_path)._replace(envs=["toy/Catch", "CartPole-v1"]),
        arguments(tmp_path)._replace(settings={"steps": "2000"}),
    ):
        with pytest.raises(UsageError, match=r"was tuned with --tune learning-rate=1e-4,1e-3 "):
            check_tuning(other)
    untuned = tmp_path / "untuned"
    untuned.mkdir()
    judged(untuned, parse_compare_flags(plain))
    with pytest.raises(UsageError, match="were not chosen by --tune; choose another --out"):
        check_tuning(arguments(untuned))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tune-seeds=3"], "--tune-seeds requires --tune"),
        (["--tune", "gamma=0.9,0.99", "--sweep", "width=1,2"], "give one of them"),
        (["--tune", "gamma=0.9,0.99", "--only=1"], "drop --only, or use --ray"),
        (["--tune", "gamma"], "--tune gamma: write SETTING=VALUE,VALUE"),
        (["--tune", "gamma=1", "gamma=0.9"], "--tune gamma is given twice"),
        (["--tune", "gamma=0.9,1", "--seeds=1001"], "judged seeds end at 1,000"),
        (["--tune", "gamma=0.9,1", "--seeds=2", "--first-seed=1000"], "seeds up to 1,001"),
        (["--tune", "protocol=classic,sticky"], "--tune protocol: it changes the game"),
        (["--tune", "sticky=0,0.5"], "--tune sticky: it changes the game"),
        (["--tune", "env-kwargs=a=1,a=2"], "--tune env_kwargs: it changes the game"),
    ],
)
def test_flags_that_make_no_tuning_are_refused(flags: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_compare_flags(flags)


def test_only_different_normalizations_may_have_different_tuned_values(tmp_path: Path) -> None:
    chosen = {"none": {"learning_rate": RATES[0]}, "weight": {"learning_rate": RATES[1]}}
    grid = make_grid(
        {"steps": 1_000},
        envs=["toy/Catch"],
        norms=["none", "weight"],
        sweep={},
        seeds=[1, 2],
        out=tmp_path,
        chosen=chosen,
    )
    assert [planned.config.agent.learning_rate for planned in grid] == [1e-4, 1e-3, 1e-4, 1e-3]
    runs = [(planned.folder, planned.config) for planned in grid]
    check_fits(dict(runs), tmp_path, [], ["learning_rate"])
    with pytest.raises(UsageError, match=r"--learning-rate 0\.0001 vs 0\.001"):
        check_fits(dict(runs), tmp_path, [])
    other = make_grid(
        {"steps": 1_000},
        envs=["toy/Catch"],
        norms=["none"],
        sweep={},
        seeds=[3],
        out=tmp_path,
        chosen={"none": {"learning_rate": "0.01"}},
    )
    mixed = [*runs, (other[0].folder, other[0].config)]
    with pytest.raises(UsageError, match="--learning-rate"):
        check_comparable(mixed, [], tuned=["learning_rate"])


def test_the_runs_that_choose_are_not_among_those_that_are_judged(tmp_path: Path) -> None:
    for folder in ("a/seed1", "tuning/a/seed1001", "b/tuning/seed2"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "config.json").write_text("{}")
    found = [str(path.relative_to(tmp_path)) for path in find_runs(tmp_path)]
    assert found == ["a/seed1", "b/tuning/seed2", "tuning/a/seed1001"]  # nothing is planned here
    (tmp_path / "compare.json").write_text("{}")
    found = [str(path.relative_to(tmp_path)) for path in find_runs(tmp_path)]
    assert found == ["a/seed1", "b/tuning/seed2"]
    assert len(find_runs(tmp_path / "tuning")) == 1


def test_the_report_says_which_values_were_chosen_and_on_which_seeds() -> None:
    record = TunedRecord(
        {"norm.groups": ["4", "8"]},
        ["toy/Catch", "CartPole-v1"],
        3,
        1_000,
        {"none": {}, "group": {"norm.groups": "8"}, "layer": {}},
    )
    assert tuned_sentence(record, ["none", "group"]) == (
        "Each normalization was tuned over 2 games on 3 seeds (1001 to 1003) over "
        "--norm.groups 4, 8; the best were none with its defaults and group with --norm.groups 8. "
        "The verdicts use other seeds, which the tuning did not see. All tuning results: "
        "tuning/report.html. For group, the chosen --norm.groups is the highest one that was "
        "tried; a better one may lie beyond."
    )


@pytest.mark.parametrize(
    ("name", "tried", "values", "ending"),
    [
        (
            "learning_rate",
            ["1e-4", "1e-3", "1e-2"],
            {"none": "0.01", "weight": "0.001", "layer": "0.01", "rms": "0.0001"},
            "tuning/report.html. For rms, the chosen --learning-rate is the lowest one that was "
            "tried; a better one may lie beyond. For none and layer, the chosen --learning-rate is "
            "the highest one that was tried; a better one may lie beyond.",
        ),
        ("learning_rate", ["1e-4"], {"none": "0.0001"}, "All tuning results: tuning/report.html."),
        (
            "v_norm",
            ["weight", "paper"],
            {"weight": "paper"},
            "All tuning results: tuning/report.html.",
        ),
    ],
)
def test_the_report_says_if_a_better_value_may_lie_beyond_those_tried(
    name: str, tried: list[str], values: dict[str, str], ending: str
) -> None:
    chosen = {norm: {name: value} for norm, value in values.items()}
    record = TunedRecord({name: tried}, ["toy/Catch"], 3, 1_000, chosen)
    assert tuned_sentence(record, list(values)).endswith(ending)


@pytest.mark.slow
def test_the_command_chooses_judges_reports_and_repeats(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--env=toy/Catch", "--norm", "none", "weight", "--jobs=2", "--steps=300"]
    flags += ["--warmup-steps=200", "--eval-every-steps=0", "--no-wall-time", "--seeds=2"]
    flags += ["--tune", "learning_rate=1e-4,1e-2", "--tune-seeds=1", f"--out={tmp_path}"]
    assert command.main(flags) == 0
    rows = list(csv.DictReader((tmp_path / "scores.csv").read_text().splitlines()))
    assert [row["seed"] for row in rows] == ["1", "2", "1", "2"]
    assert (tmp_path / "tuning" / "report.html").exists()
    said = capsys.readouterr().out
    assert "tuned on 1 seed (1001) over --learning-rate 1e-4, 1e-2; the best" in said
    assert "also differ in" not in said
    assert command.main(flags) == 0
    assert " started" not in capsys.readouterr().err
    assert command.main(["--report-only", str(tmp_path)]) == 0
    assert (
        "tuned on 1 seed (1001) over --learning-rate 1e-4, 1e-2; the best"
        in capsys.readouterr().out
    )
