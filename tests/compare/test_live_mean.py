"""Mean curves for TensorBoard from run files that are written by hand."""

import json
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.backend.event_processing import plugin_event_multiplexer as multiplexer
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.context import RequestContext
from tensorboard.plugins import base_plugin
from tensorboard.plugins.custom_scalar import layout_pb2

from wnrl.compare import command as compare
from wnrl.compare import final_report, run_comparison
from wnrl.compare.grid import make_grid
from wnrl.compare.jobs.runner import Run, State
from wnrl.compare.live_mean import LiveMeans
from wnrl.report.run_result import find_runs, read_result
from wnrl.stats.intervals import t_interval
from wnrl.train.log.board_layout import LAYOUT
from wnrl.train.log.tensorboard import TensorBoard

STEPS = 1_000  # so a point every 10 agent steps, each over the last 100
MEAN, MIDDLE, LOW, HIGH = (
    f"compare/toy/Catch/{name}" for name in ("return", "return_middle", "return_low", "return_high")
)
HEADER = "agent_step,env,raw_return,length,wall_time_s\n"

accumulator: Any = event_accumulator.EventAccumulator
written_layout: Any = vars(layout_pb2)["Layout"]


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Comparison:
    """A grid of hand-written runs, and the board that watches it."""

    def __init__(self, out: Path, seeds: int, **varied: Any) -> None:
        grid = {"envs": ["toy/Catch"], "norms": ["none"], "sweep": {}, **varied}
        settings = {"steps": STEPS, "schedule_steps": STEPS, "threads": 1}
        self.out = out
        self.runs = [
            Run(each) for each in make_grid(settings, seeds=range(1, seeds + 1), out=out, **grid)
        ]
        self.clock = Clock()
        self.board = LiveMeans(out, list(grid["sweep"]), interval_s=10, now=self.clock)

    def play(self, run: Run, episodes: Iterable[tuple[int, float]]) -> None:
        run.folder.mkdir(parents=True, exist_ok=True)
        lines = [f"{step},0,{score},9,0\n" for step, score in episodes]
        (run.folder / "episodes.csv").write_text(HEADER + "".join(lines))

    def update(self) -> None:
        self.clock.now_s += 10
        self.board.update(self.runs)


def read(folder: Path) -> Any:
    events = accumulator(str(folder / "mean"), size_guidance={"scalars": 0, "tensors": 0})
    return events.Reload()


def points(folder: Path, tag: str = MEAN) -> list[tuple[int, float]]:
    events = read(folder)
    scalars = events.Scalars(tag) if tag in events.Tags()["scalars"] else []
    return [(event.step, event.value) for event in scalars]


def description(folder: Path) -> str:
    *_, text = read(folder).Tensors("compare/text_summary")
    return str(text.tensor_proto.string_val[0].decode())


def test_a_point_is_the_mean_over_seeds_with_its_t_interval(tmp_path: Path) -> None:
    comparison = Comparison(tmp_path, seeds=3)
    for run, score in zip(comparison.runs, (2.0, 4.0, 9.0), strict=True):
        comparison.play(run, [(5, score), (15, score + 2), (31, 0.0)])
    comparison.play(comparison.runs[0], [(5, 2.0), (15, 4.0), (30, 7.0)])
    comparison.update()
    # The first seed is known before step 30: another of its environments may end an episode there.
    above = comparison.runs[0].folder.parent
    assert points(above) == [(10, 5.0), (20, 6.0)]
    half = 4.302653 * 13**0.5 / 3**0.5
    assert dict(points(above, LOW)) == pytest.approx({10: 5 - half, 20: 6 - half})
    assert dict(points(above, HIGH)) == pytest.approx({10: 5 + half, 20: 6 + half})
    text = description(above)
    assert "mean over 3 seeds: 1, 2, 3." in text
    assert "last 100 agent steps (10% of the run)" in text
    assert "95%, Student's t over seeds" in text
    assert "differences are indicative only" in text
    assert find_runs(tmp_path) == []


def test_the_mean_of_a_variant_with_a_long_name_is_next_to_its_seeds(tmp_path: Path) -> None:
    names = ("learning_rate", "optimizer_eps", "max_grad_norm", "epsilon_end", "gamma")
    comparison = Comparison(tmp_path / "study", 1, sweep={name: ["0.0123456789"] for name in names})
    (run,) = comparison.runs
    comparison.play(run, [(5, 1.0), (31, 1.0)])
    assert run.folder.parent.name != run.planned.config.name
    LiveMeans(tmp_path, names).update(comparison.runs)  # of all studies in the folder
    assert len(points(run.folder.parent)) == 3


def test_the_file_goes_on_and_no_point_comes_twice(tmp_path: Path) -> None:
    comparison = Comparison(tmp_path, seeds=2)
    above = comparison.runs[0].folder.parent
    files = set()
    for count in (2, 2, 4, 3, 4, 5):  # the fourth time: killed, and back at a checkpoint
        for run in comparison.runs:
            comparison.play(run, [(step, float(step)) for step in (5, 25, 44, 62, 75)[:count]])
        comparison.update()
        files |= set((above / "mean").iterdir())
        steps = [step for step, _ in points(above)]
        assert steps == sorted(set(steps))
    assert len(files) == 1
    assert dict(points(above))[70] == (5 + 25 + 44 + 62) / 4
    comparison.clock.now_s += 9.9
    for run in comparison.runs:
        comparison.play(run, [(5, 5.0), (500, 0.0)])
    comparison.board.update(comparison.runs)
    assert len(points(above)) == 7  # not due yet


def test_a_seed_is_not_waited_for_and_joins_the_whole_curve(tmp_path: Path) -> None:
    comparison = Comparison(tmp_path, seeds=2)
    first, second = comparison.runs
    above = first.folder.parent
    comparison.play(first, [(5, 1.0), (STEPS, 1.0)])
    first.state = State.DONE
    comparison.update()
    assert points(above) == [(10 * k, 1.0) for k in range(1, 101)]
    assert points(above, LOW) == points(above, HIGH) == []  # one seed has no interval
    assert "mean over 1 seed: 1." in description(above)
    assert "Seeds left out (not started, not done or failed): 2." in description(above)
    open_before = read(above)
    comparison.play(second, [(5, 3.0), (31, 9.0)])
    comparison.update()
    assert points(above) == [(10, 2.0), (20, 2.0), (30, 2.0)]
    assert len(points(above, HIGH)) == 3
    assert len(open_before.Reload().Scalars(MEAN)) == 3
    assert "mean over 2 seeds: 1, 2." in description(above)


def test_a_seed_that_failed_for_good_leaves_the_whole_curve(tmp_path: Path) -> None:
    comparison = Comparison(tmp_path, seeds=3)
    above = comparison.runs[0].folder.parent
    for run, score in zip(comparison.runs, (1.0, 3.0, 50.0), strict=True):
        comparison.play(run, [(5, score), (41, score)])
    comparison.update()
    assert points(above)[0] == (10, 18.0)
    comparison.runs[2].state = State.FAILED
    comparison.update()
    assert points(above) == [(10 * k, 2.0) for k in range(1, 5)]
    assert "mean over 2 seeds: 1, 2." in description(above)
    assert "Seeds left out (not started, not done or failed): 3." in description(above)


def test_a_curve_begins_where_every_seed_has_ended_an_episode(tmp_path: Path) -> None:
    comparison = Comparison(tmp_path, seeds=2)
    for run, begin in zip(comparison.runs, (5, 975), strict=True):
        comparison.play(run, [(begin, 1.0)])
        run.state = State.DONE
    comparison.update()
    assert [step for step, _ in points(comparison.runs[0].folder.parent)] == [980, 990, 1_000]


def test_each_environment_has_charts_of_all_its_variants(tmp_path: Path) -> None:
    comparison = Comparison(
        tmp_path,
        seeds=1,
        envs=["toy/Catch", "CartPole-v1"],
        norms=["none", "layer"],
        sweep={"learning_rate": ["1e-3", "1e-2"]},
    )
    for run in comparison.runs:
        comparison.play(run, [(5, 1.0), (31, 1.0)])
    comparison.update()
    folders = {run.folder.parent for run in comparison.runs}
    assert len(folders) == 8
    layouts = []
    for folder in folders:
        events = read(folder)
        (tensor,) = events.Tensors("custom_scalars__config__")
        layouts.append(written_layout.FromString(tensor.tensor_proto.string_val[0]))
        (tag,) = events.Tags()["scalars"]
        env = "CartPole-v1" if "CartPole-v1" in str(folder) else "toy/Catch"
        assert tag == f"compare/{env}/return"
        (means,) = layouts[-1].category
        lines = {chart.title: chart.multiline.tag for chart in means.chart[2:]}
        assert [name for name, (line,) in lines.items() if re.match(line, tag)] == [env]
    assert all(layout == layouts[0] for layout in layouts)
    (means,) = layouts[0].category
    bands = ["toy/Catch, 95% interval", "CartPole-v1, 95% interval"]
    assert [chart.title for chart in means.chart] == [*bands, "toy/Catch", "CartPole-v1"]
    (series,) = means.chart[0].margin.series
    assert (series.value, series.lower, series.upper) == (MIDDLE, LOW, HIGH)


@pytest.mark.filterwarnings("ignore:html5lib's sanitizer is deprecated")
def test_means_come_first_wherever_the_log_directory_starts(tmp_path: Path) -> None:
    from tensorboard.plugins.custom_scalar import custom_scalars_plugin  # warns when imported

    comparison = Comparison(tmp_path / "study", 1)
    comparison.play(comparison.runs[0], [(5, 1.0), (31, 1.0)])
    comparison.update()
    another = tmp_path / "another" / "seed1"  # TensorBoard reads it first
    another.mkdir(parents=True)
    run = TensorBoard(another)
    run.arrange(LAYOUT)
    run.close()
    for above in (tmp_path, tmp_path / "study"):
        runs = multiplexer.EventMultiplexer(tensor_size_guidance={"custom_scalars": 1})
        runs.AddRunsFromDirectory(str(above)).Reload()
        provider = MultiplexerDataProvider(runs, str(above))
        context = base_plugin.TBContext(data_provider=provider)
        plugin: Any = custom_scalars_plugin.CustomScalarsPlugin(context)
        first, *_ = json.loads(plugin.layout_impl(RequestContext(), ""))["category"]
        assert first["title"] == "0 mean return over seeds"
        assert [x["title"] for x in first["chart"]] == ["toy/Catch, 95% interval", "toy/Catch"]


def test_a_band_has_its_three_lines_at_the_same_steps(tmp_path: Path) -> None:
    comparison = Comparison(tmp_path, seeds=2)
    for run, later in zip(comparison.runs, (1.0, 5.0), strict=True):
        comparison.play(run, [(5, 1.0), (15, later), (31, 0.0)])
    comparison.update()
    above = comparison.runs[0].folder.parent
    assert points(above) == [(10, 1.0), (20, 2.0), (30, 2.0)]
    steps = [[step for step, _ in points(above, tag)] for tag in (MIDDLE, LOW, HIGH)]
    assert steps == [[20, 30]] * 3  # equal seeds have no interval; TensorBoard refuses gaps


def test_training_goes_on_where_the_curve_cannot_be_written(tmp_path: Path) -> None:
    comparison = Comparison(tmp_path, seeds=1)
    (run,) = comparison.runs
    comparison.play(run, [(5, 1.0), (31, 1.0)])
    in_the_way = run.folder.parent / "mean"
    in_the_way.write_text("")
    comparison.update()
    in_the_way.unlink()
    comparison.update()
    assert len(points(run.folder.parent)) == 3
    (file,) = in_the_way.iterdir()
    file.unlink()
    comparison.update()
    assert len(points(run.folder.parent)) == 3
    comparison.play(run, [(5, 1.0), (31, 1.0), (20, 1.0), (61, 1.0)])  # agent steps cannot fall
    comparison.update()
    comparison.play(run, [(5, 1.0), (31, 1.0), (61, 1.0)])
    comparison.update()
    assert len(points(run.folder.parent)) == 6


def test_a_report_writes_the_curves_of_the_runs_that_are_done(tmp_path: Path) -> None:
    comparison = Comparison(tmp_path / "as-a-grid", seeds=4)
    by_hand = tmp_path / "by-hand"
    for k, run in enumerate(comparison.runs):
        comparison.play(run, [(STEPS - 150, 9.0), (STEPS - 50, float(k)), (STEPS, float(k * k))])
        config = run.planned.config
        (run.folder / "config.json").write_text(json.dumps(config.to_json()))
        done_steps = STEPS if k < 3 else 500
        (run.folder / "checkpoints" / f"step_{done_steps:09d}").mkdir(parents=True)
    above = comparison.runs[0].folder.parent
    assert compare.main(["--report-only", str(comparison.out)]) == 0
    assert len(points(above)) == 16  # from the first episode on
    finals = [read_result(run.folder).final for run in comparison.runs[:3]]
    assert finals == [0.0, 1.0, 3.0]
    expected = t_interval(finals)
    for tag, height in ((MEAN, expected.value), (LOW, expected.low), (HIGH, expected.high)):
        assert dict(points(above, tag))[STEPS] == pytest.approx(height)
    assert "mean over 3 seeds: 1, 2, 3." in description(above)
    assert "Seeds left out (not started, not done or failed): 4." in description(above)

    single = comparison.runs[0].folder
    assert compare.main(["--report-only", str(single)]) == 0
    assert "mean over 3 seeds: 1, 2, 3." in description(above)  # and not hidden by that of one seed
    (alone,) = (single / "mean").iterdir()
    assert alone.name == f"toy-Catch-{above.name}"
    assert find_runs(single) == [single]

    by_hand.mkdir()
    for run in comparison.runs:
        run.folder.rename(by_hand / f"run-{run.planned.config.run.seed}")
    assert compare.main(["--report-only", str(by_hand)]) == 0
    assert len(points(by_hand)) == 16


def test_no_folder_lies_in_one_of_its_own_name(tmp_path: Path) -> None:
    comparison = Comparison(tmp_path / "toy-Catch", seeds=2, norms=["none", "weight"])
    folders = []
    for run in comparison.runs:
        comparison.play(run, [(STEPS, 1.0)])
        config = run.planned.config
        (run.folder / "config.json").write_text(json.dumps(config.to_json()))
        (run.folder / "checkpoints" / f"step_{STEPS:09d}").mkdir(parents=True)
        folders.append(comparison.out / f"mine-{config.run.norm}-{config.run.seed}")
        run.folder.rename(folders[-1])
    for folder in comparison.out.glob("toy-Catch/*"):
        folder.rmdir()
    (comparison.out / "toy-Catch").rmdir()
    assert compare.main(["--report-only", str(comparison.out)]) == 0
    made = [path for path in comparison.out.iterdir() if path.is_dir() and path not in folders]
    assert [path.name for path in made] == ["mean"]
    means = sorted(path.name for path in made[0].iterdir())
    assert [name.partition("-dqn-")[0] for name in means] == ["toy-Catch", "toy-Catch"]


def test_a_mean_that_cannot_be_written_costs_the_report_none_of_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out_dir = Path("a  b")  # short: a long line is cut in the middle
    comparison = Comparison(out_dir, seeds=1)
    (run,) = comparison.runs
    comparison.play(run, [(STEPS, 1.0)])
    (run.folder / "config.json").write_text(json.dumps(run.planned.config.to_json()))
    (run.folder / "checkpoints" / f"step_{STEPS:09d}").mkdir(parents=True)
    in_its_place = run.folder.parent / "mean"
    in_its_place.write_text("")
    assert compare.main(["--report-only", str(out_dir)]) == 2
    out, err = capsys.readouterr()
    assert err == (
        f"wnrl.compare: cannot write {in_its_place}: File exists; fix this, then make "
        f"the report with --report-only '{out_dir}'\n"
    )
    assert (out_dir / "summary.md").read_text() in out
    assert (out_dir / "report.html").exists()


@pytest.mark.slow
def test_a_comparison_writes_them_while_it_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_comparison, "LiveMeans", partial(LiveMeans, interval_s=0.0))
    monkeypatch.setattr(final_report, "write_means", lambda *args: None)
    grid = ["--env=toy/Catch", "--norm=none", "--warmup-steps=200", "--eval-every-steps=0"]
    grid += ["--seeds=1", "--steps=600", "--jobs=1", "--no-wall-time", f"--out={tmp_path}"]
    assert compare.main(grid) == 0
    (above,) = tmp_path.glob("toy-Catch/*")
    steps = [step for step, _ in points(above)]
    assert len(steps) > 80  # of 100; the first before an episode ended, the last in the report
    assert steps == sorted(set(steps))
