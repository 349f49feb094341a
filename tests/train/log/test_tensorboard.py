"""Episodes, curves and means are those of a run that was never stopped."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from wnrl._settings import UsageError
from wnrl.envs.vector import Episode
from wnrl.train.log.tensorboard import EpisodeLog, RecentEpisodes, TensorBoard, to_floats

accumulator: Any = event_accumulator.EventAccumulator
hparams_data: Any = vars(plugin_data_pb2)["HParamsPluginData"]


def episode(raw_return: float, length_steps: int = 7, env: int = 3) -> Episode:
    return Episode(env, raw_return, length_steps, False)


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_episodes_are_on_disk_line_by_line(tmp_path: Path) -> None:
    clock = Clock()
    log = EpisodeLog(tmp_path / "episodes.csv", now=clock)
    clock.seconds += 2.5
    log.write(400, episode(12.0, 80, env=2))
    log.write(404, episode(-0.1, 81, env=0))
    assert (tmp_path / "episodes.csv").read_text() == (
        "agent_step,env,raw_return,length,wall_time_s\n400,2,12.0,80,2.500\n404,0,-0.1,81,2.500\n"
    )
    log.close()
    log.close()


def test_a_resumed_log_is_byte_for_byte_that_of_a_run_never_stopped(tmp_path: Path) -> None:
    straight = EpisodeLog(tmp_path / "straight.csv", wall_time=False)
    killed = EpisodeLog(tmp_path / "killed.csv", wall_time=False)
    for log in (straight, killed):
        log.write(10, episode(1.0))
    state = killed.state_dict()
    killed.write(20, episode(2.0))
    killed.write(30, episode(3.0))
    killed.close()
    with (tmp_path / "killed.csv").open("a") as file:
        file.write("40,3,4")  # the kill came in the middle of a line
    resumed = EpisodeLog(tmp_path / "killed.csv", resume=True, wall_time=False)
    resumed.load_state_dict(state)
    for log in (straight, resumed):
        log.write(20, episode(2.0))
    assert resumed.state_dict() == straight.state_dict()
    straight.close()
    resumed.close()
    assert (tmp_path / "straight.csv").read_bytes() == (tmp_path / "killed.csv").read_bytes()
    assert (tmp_path / "killed.csv").read_text().endswith("20,3,2.0,7,0\n")


def test_wall_time_is_summed_over_the_parts_of_a_run(tmp_path: Path) -> None:
    clock = Clock()
    log = EpisodeLog(tmp_path / "episodes.csv", now=clock)
    clock.seconds += 5.0
    state = log.state_dict()
    log.close()
    clock.seconds += 1000.0  # not training
    resumed = EpisodeLog(tmp_path / "episodes.csv", resume=True, now=clock)
    clock.seconds += 30.0  # neither: the checkpoint is being read
    resumed.load_state_dict(state)
    clock.seconds += 2.0
    resumed.write(9, episode(1.0))
    resumed.close()
    assert (tmp_path / "episodes.csv").read_text().endswith("9,3,1.0,7,7.000\n")


def test_a_log_that_does_not_fit_its_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "episodes.csv"
    with pytest.raises(UsageError, match="is missing"):
        EpisodeLog(path, resume=True)
    log = EpisodeLog(path, wall_time=False)
    log.write(10, episode(1.0))
    state = log.state_dict()
    log.close()
    with pytest.raises(UsageError, match="holds an earlier run's episodes"):
        EpisodeLog(path)
    path.write_text("agent_step")
    resumed = EpisodeLog(path, resume=True)
    with pytest.raises(RuntimeError, match="call load_state_dict first"):
        resumed.write(20, episode(2.0))
    with pytest.raises(UsageError, match="has 10 bytes, and had 58 at the checkpoint"):
        resumed.load_state_dict(state)
    resumed.close()


def test_means_go_over_the_last_episodes_and_survive_a_round_trip() -> None:
    recent = RecentEpisodes(size=3)
    assert [recent.mean_return, recent.mean_length_steps] == [None, None]
    for raw_return, length in [(100.0, 50), (1.0, 2), (2.0, 4), (6.0, 9)]:
        recent.add(episode(raw_return, length))
    assert (len(recent), recent.mean_return, recent.mean_length_steps) == (3, 3.0, 5.0)
    again = RecentEpisodes(size=3)
    again.load_state_dict(recent.state_dict())
    again.add(episode(4.0, 2))
    assert (again.mean_return, again.mean_length_steps) == (4.0, 5.0)


def test_metrics_become_floats_in_their_order_and_a_vector_is_refused() -> None:
    metrics: dict[str, torch.Tensor | float] = {
        "b": torch.tensor(1.5, requires_grad=True),
        "lr": 0.25,
        "a": torch.tensor([3], dtype=torch.int64),
    }
    assert list(to_floats(metrics).items()) == [("b", 1.5), ("lr", 0.25), ("a", 3.0)]
    assert to_floats({}) == {}
    with pytest.raises(ValueError, match=r"'td' must be a scalar, came \(2,\)"):
        to_floats({"td": torch.zeros(2)})


def read(run_dir: Path) -> Any:
    events: Any = accumulator(str(run_dir), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    return events


def points(events: Any, tag: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in events.Scalars(tag)]


def test_curves_have_the_names_of_sb3_and_cleanrl_over_agent_steps(tmp_path: Path) -> None:
    board, recent = TensorBoard(tmp_path), RecentEpisodes()
    board.rollout(100, recent, 40.0)  # no episode yet: no mean
    for step, raw_return in [(200, 2.0), (300, 4.0)]:
        recent.add(episode(raw_return, 5))
        board.episode(step, episode(raw_return, 5))
    board.rollout(400, recent, 50.0)
    board.metrics(
        400,
        {
            "loss": torch.tensor(0.5),
            "learning_rate": 0.25,
            "rollout/exploration_rate": 0.125,
            "norm/gain": torch.tensor(2.0),
        },
    )
    board.evaluation(500, [1.0, 2.0, 6.0], [10, 20, 60])
    board.close()
    events = read(tmp_path)
    assert {tag: points(events, tag) for tag in events.Tags()["scalars"]} == {
        "time/fps": [(100, 40.0), (400, 50.0)],
        "charts/episodic_return": [(200, 2.0), (300, 4.0)],
        "charts/episodic_length": [(200, 5.0), (300, 5.0)],
        "rollout/ep_rew_mean": [(400, 3.0)],
        "rollout/ep_len_mean": [(400, 5.0)],
        "train/loss": [(400, 0.5)],
        "train/learning_rate": [(400, 0.25)],
        "rollout/exploration_rate": [(400, 0.125)],
        "norm/gain": [(400, 2.0)],
        "eval/mean_reward": [(500, 3.0)],
        "eval/mean_ep_length": [(500, 30.0)],
    }


def test_an_evaluation_of_nothing_is_refused(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    with pytest.raises(ValueError, match="came 0 returns and 0 lengths"):
        board.evaluation(1, [], [])
    board.close()


def test_a_resumed_curve_does_not_double(tmp_path: Path) -> None:
    first = TensorBoard(tmp_path)
    for step in (10, 20, 30):
        first.metrics(step, {"loss": 1.0})
    first.close()
    resumed = TensorBoard(tmp_path, purge_step=21)  # the checkpoint was taken at step 20
    resumed.metrics(30, {"loss": 2.0})
    resumed.close()
    assert points(read(tmp_path), "train/loss") == [(10, 1.0), (20, 1.0), (30, 2.0)]


def test_histograms_leave_out_what_is_not_finite(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    inf, nan = float("inf"), float("nan")
    board.histograms(
        5,
        {
            "norm_histograms/g/layer": torch.tensor([[1.0, inf], [3.0, nan]], requires_grad=True),
            "norm/v/layer": torch.tensor([nan]),
        },
    )
    board.close()
    events = read(tmp_path)
    assert events.Tags()["histograms"] == ["norm_histograms/g/layer"]
    (event,) = events.Histograms("norm_histograms/g/layer")
    assert event.step == 5
    histogram = event.histogram_value
    assert (histogram.num, histogram.min, histogram.max, histogram.sum) == (2, 1.0, 3.0, 4.0)


def test_the_configuration_is_in_the_runs_own_event_file(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    board.describe({"lr": 0.5, "norm": "weight", "double": True, "resume": None, "dims": (1, 2)})
    board.close()
    assert len(list(tmp_path.iterdir())) == 1  # no sub-run
    events = read(tmp_path)
    (text,) = events.Tensors("config/text_summary")
    assert b"| norm | weight |" in text.tensor_proto.string_val[0]
    metadata = events.SummaryMetadata("_hparams_/session_start_info")
    content = hparams_data.FromString(metadata.plugin_data.content)
    values = content.session_start_info.hparams
    assert sorted(values) == ["dims", "double", "lr", "norm", "resume"]
    assert (values["lr"].number_value, values["norm"].string_value) == (0.5, "weight")
    assert (values["double"].string_value, values["resume"].string_value) == ("True", "None")


def test_tensorboard_is_imported_when_it_is_used_and_without_a_warning(tmp_path: Path) -> None:
    script = """
        import sys
        import wnrl.train.log.tensorboard
        assert "tensorboard" not in sys.modules
        wnrl.train.log.tensorboard.TensorBoard(sys.argv[1]).close()
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
