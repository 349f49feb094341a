"""A run's result from its folder: episodes, evaluations, and what it took."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from wnrl._settings import UsageError
from wnrl.config import make_config
from wnrl.report.run_result import read_conditions, read_result
from wnrl.train.log.tensorboard import TensorBoard
from wnrl.train.storage.csv_log import EPISODES, EVALUATIONS, HEADERS, TIMINGS

HEADER = "agent_step,env,raw_return,length,wall_time_s\n"


def run_in(folder: Path, episodes: str) -> Path:
    config = make_config({"env": "Breakout", "steps": 1_000, "threads": 2})
    record = {**config.to_json(), "device": {"type": "cpu", "name": "x86_64"}}
    (folder / "config.json").write_text(json.dumps(record))
    (folder / "episodes.csv").write_text(HEADER + episodes)
    return folder


def write_tables(folder: Path) -> None:
    (folder / EVALUATIONS).write_text(HEADERS[EVALUATIONS] + "250,2,4.0,9.0\n500,2,2.0,9.0\n500,2")
    times = "100,9.0,\n200,1.0,\n300,2.0,7.5\n"  # the first of a run is slow
    (folder / TIMINGS).write_text(HEADERS[TIMINGS] + times)


def write_event_files(folder: Path) -> None:
    board = TensorBoard(folder)
    for step, act_ms in [(100, 9.0), (200, 1.0), (300, 2.0)]:
        board.metrics(step, {"time/act_ms": act_ms})
    board.metrics(300, {"time/update_ms": 7.5})
    for step, mean in [(250, 4.0), (500, 2.0)]:
        board.evaluation(step, [mean], [9])
    board.close()


@pytest.mark.parametrize("write", [write_tables, write_event_files], ids=["tables", "old run"])
def test_times_are_medians_and_evaluations_are_in_the_order_of_their_steps(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    write(run_in(tmp_path, "400,0,1.0,9,2.0\n500,1,3.0,9,4.0\n"))
    result = read_result(tmp_path)
    assert (result.act_ms, result.update_ms) == (2.0, 7.5)
    assert result.evaluation_steps.tolist() == [250, 500]
    assert result.evaluations.tolist() == [4.0, 2.0]
    assert (result.best_evaluation, result.mean_evaluation) == (4.0, 3.0)
    assert result.episode_steps.tolist() == [400, 500]
    assert result.returns.tolist() == [1.0, 3.0]
    assert result.steps_per_s == 125.0
    assert result.machine == "cpu x86_64, 2 threads"


def test_episodes_whose_score_wrapped_are_counted_where_the_table_says_so(tmp_path: Path) -> None:
    run_in(tmp_path, "400,0,1.0,9,2.0\n")
    assert read_result(tmp_path).wrapped_episodes == 0  # a table of before
    rows = "400,0,1.0,9,2.0,0\n500,1,-1000000.0,9,4.0,2\n600,1,7.0,9,4.0,1\n"
    (tmp_path / "episodes.csv").write_text(HEADERS[EPISODES] + rows)
    result = read_result(tmp_path)
    assert result.wrapped_episodes == 2
    assert result.returns.tolist() == [1.0, -1e6, 7.0]


def test_a_run_without_event_files_or_times_has_a_score_all_the_same(tmp_path: Path) -> None:
    result = read_result(run_in(tmp_path, "1000,0,7.0,9,0\n"))  # as --no-wall-time writes it
    assert result.final == 7.0
    assert result.best_evaluation is result.mean_evaluation is None
    assert result.act_ms is result.update_ms is result.wall_s is result.steps_per_s is None


@pytest.mark.parametrize("line", ["600,0,nan,9,1.0\n", "300,0,1.0,9,1.0\n", "600,0,1.0\n"])
def test_episodes_that_cannot_be_are_refused_by_name(tmp_path: Path, line: str) -> None:
    run_in(tmp_path, "400,0,1.0,9,2.0\n" + line)
    with pytest.raises(UsageError, match=r"episodes\.csv cannot be read as a run's episodes"):
        read_result(tmp_path)


def test_tables_are_read_in_place_of_event_files(tmp_path: Path) -> None:
    write_tables(run_in(tmp_path, "400,0,1.0,9,2.0\n"))
    (tmp_path / "events.out.tfevents.1").mkdir()  # cannot be read
    assert read_result(tmp_path).best_evaluation == 4.0


def test_evaluations_that_cannot_be_are_refused_by_name(tmp_path: Path) -> None:
    run_in(tmp_path, "400,0,1.0,9,2.0\n")
    (tmp_path / EVALUATIONS).write_text(HEADERS[EVALUATIONS] + "250,2,nan,9.0\n")
    with pytest.raises(UsageError, match=r"evaluations\.csv cannot be read as a run's evaluations"):
        read_result(tmp_path)


def test_conditions_are_read_as_far_as_they_are_finite(tmp_path: Path) -> None:
    path = tmp_path / "curvature.csv"
    assert [x.tolist() for x in read_conditions(path)] == [[], []]
    path.write_text(
        "agent_step,quantity,where,value\n"
        "100,gauss_newton_condition,w,50\n"
        "100,gauss_newton_condition,gv,70\n"
        "100,hessian_condition,w,60\n"
        "200,gauss_newton_condition,w,nan\n"
        "300,gauss_newton_condition,w,80.5\n"
        "400,gauss_newton_condition,w,9"  # half a row
    )
    assert [x.tolist() for x in read_conditions(path)] == [[100, 300], [50, 80.5]]
    path.write_text("agent_step,quantity,where,value\n1,gauss_newton_condition,w,many\n")
    with pytest.raises(UsageError, match=r"curvature.csv cannot be read as a run's curvature"):
        read_conditions(path)
