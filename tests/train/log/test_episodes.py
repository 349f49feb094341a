"""Episodes and their means are those of a run that was never stopped."""

from pathlib import Path

import pytest

from wnrl._settings import UsageError
from wnrl.envs.vector import Episode
from wnrl.train.log.episodes import EpisodeLog, RecentEpisodes


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
        "agent_step,env,raw_return,length,wall_time_s,score_wraps\n"
        "400,2,12.0,80,2.500,0\n404,0,-0.1,81,2.500,0\n"
    )


def test_a_resumed_log_is_byte_for_byte_that_of_a_run_never_stopped(tmp_path: Path) -> None:
    straight = EpisodeLog(tmp_path / "straight.csv", wall_time=False)
    killed = EpisodeLog(tmp_path / "killed.csv", wall_time=False)
    for log in (straight, killed):
        log.write(10, episode(1.0))
    state = killed.state_dict()
    killed.write(20, episode(2.0))
    killed.write(30, episode(3.0))
    with (tmp_path / "killed.csv").open("a") as file:
        file.write("40,3,4")  # the kill came in the middle of a line
    resumed = EpisodeLog(tmp_path / "killed.csv", resume=True, wall_time=False)
    resumed.load_state_dict(state)
    for log in (straight, resumed):
        log.write(20, episode(2.0))
    assert resumed.state_dict() == straight.state_dict()
    assert (tmp_path / "straight.csv").read_bytes() == (tmp_path / "killed.csv").read_bytes()
    assert (tmp_path / "killed.csv").read_text().endswith("20,3,2.0,7,0,0\n")


def test_wall_time_is_summed_over_the_parts_of_a_run(tmp_path: Path) -> None:
    clock = Clock()
    log = EpisodeLog(tmp_path / "episodes.csv", now=clock)
    clock.seconds += 5.0
    state = log.state_dict()
    clock.seconds += 1000.0  # not training
    resumed = EpisodeLog(tmp_path / "episodes.csv", resume=True, now=clock)
    clock.seconds += 30.0  # neither: the checkpoint is being read
    resumed.load_state_dict(state)
    clock.seconds += 2.0
    resumed.write(9, episode(1.0))
    assert (tmp_path / "episodes.csv").read_text().endswith("9,3,1.0,7,7.000,0\n")


def test_a_log_that_does_not_fit_its_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "episodes.csv"
    with pytest.raises(UsageError, match="is missing"):
        EpisodeLog(path, resume=True)
    log = EpisodeLog(path, wall_time=False)
    log.write(10, episode(1.0))
    state = log.state_dict()
    with pytest.raises(UsageError, match="holds an earlier run's episodes"):
        EpisodeLog(path)
    path.write_text("agent_step")
    resumed = EpisodeLog(path, resume=True)
    with pytest.raises(RuntimeError, match="call load_state_dict first"):
        resumed.write(20, episode(2.0))
    with pytest.raises(UsageError, match="has 10 bytes but had 72 at the checkpoint"):
        resumed.load_state_dict(state)


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


def test_a_table_of_an_early_run_keeps_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "episodes.csv"
    path.write_text("agent_step,env,raw_return,length,wall_time_s\n10,3,1.0,7,0\n")
    resumed = EpisodeLog(path, resume=True, wall_time=False)
    resumed.load_state_dict({"size_bytes": path.stat().st_size, "wall_time_s": 0.0})
    resumed.write(20, Episode(3, 2.0, 7, False, 1))
    assert path.read_text().endswith("10,3,1.0,7,0\n20,3,2.0,7,0\n")


def test_a_score_that_wrapped_is_noted(tmp_path: Path) -> None:
    log = EpisodeLog(tmp_path / "episodes.csv", wall_time=False)
    log.write(10, Episode(3, 2.0, 7, False, 2))
    assert (tmp_path / "episodes.csv").read_text().endswith("10,3,2.0,7,0,2\n")
