"""Event files hold the curves, under their usual names, of a run that was never stopped."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from wnrl.envs.vector import Episode
from wnrl.train.log.episodes import RecentEpisodes
from wnrl.train.log.tensorboard import TensorBoard, to_floats

accumulator: Any = event_accumulator.EventAccumulator
hparams_data: Any = vars(plugin_data_pb2)["HParamsPluginData"]


def episode(raw_return: float, length_steps: int = 7, env: int = 3) -> Episode:
    return Episode(env, raw_return, length_steps, False)


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
    settings = {"lr": 0.5, "norm": "weight", "double": True, "resume": None, "dims": (1, 2)}
    board.describe(settings, "weight seed1", ["norm", "lr"])
    board.close()
    assert len(list(tmp_path.iterdir())) == 1  # no sub-run
    events = read(tmp_path)
    (text,) = events.Tensors("config/text_summary")
    assert b"| norm | weight |" in text.tensor_proto.string_val[0]
    metadata = events.SummaryMetadata("_hparams_/session_start_info")
    content = hparams_data.FromString(metadata.plugin_data.content)
    assert content.session_start_info.group_name == "weight seed1"
    values = content.session_start_info.hparams
    assert sorted(values) == ["dims", "double", "lr", "norm", "resume"]
    assert (values["lr"].number_value, values["norm"].string_value) == (0.5, "weight")
    assert (values["double"].string_value, values["resume"].string_value) == ("True", "None")
    metadata = events.SummaryMetadata("_hparams_/experiment")
    infos = hparams_data.FromString(metadata.plugin_data.content).experiment.hparam_infos
    assert {info.name for info in infos if info.differs} == {"norm", "lr"}


@pytest.mark.slow
def test_tensorboard_is_imported_when_it_is_used_and_without_a_warning(tmp_path: Path) -> None:
    script = """
        import sys
        from pathlib import Path
        import wnrl.train.log.tensorboard
        assert "tensorboard" not in sys.modules
        wnrl.train.log.tensorboard.TensorBoard(Path(sys.argv[1])).close()
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
