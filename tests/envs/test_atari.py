"""The ALE's traps, one test each, and resuming bit for bit."""

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from wnrl._settings import UsageError
from wnrl.envs import atari_emulator
from wnrl.envs.atari import Atari
from wnrl.envs.atari_emulator import Emulators, open_emulator
from wnrl.envs.games import game_names
from wnrl.envs.make import make_env
from wnrl.envs.protocols import PROTOCOLS
from wnrl.envs.recording import colour_frames
from wnrl.envs.vector import EpisodeStatistics, ObservationSpec, Step


def random_actions(env: Atari, steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, env.num_actions, (steps, env.num_envs))


def play(env: Atari, actions: np.ndarray) -> list[Step]:
    """One step per row of actions (T, N)."""
    steps = []
    for row in actions:
        env.send(row)
        steps.append(env.recv())
    return steps


def same(a: Step, b: Step) -> bool:
    return all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(a, b, strict=True))


class Played:
    """Two Breakouts under random play, long enough for several episodes."""

    def __init__(self) -> None:
        self.env = Atari("Breakout", 2, seed=1, num_threads=1)
        self.env.reset()
        self.start = self.env.obs.copy()
        self.lives = [self.env._lives.copy()]
        self.steps = []
        for row in random_actions(self.env, 500):
            self.steps += play(self.env, row[None])
            self.lives.append(self.env._lives.copy())


@pytest.fixture(scope="module")
def breakout() -> Iterator[Played]:
    played = Played()
    yield played
    played.env.close()


def test_an_episode_lasts_all_five_lives_and_a_lost_life_resets_nothing(breakout: Played) -> None:
    for n in range(2):
        ends = [t for t, s in enumerate(breakout.steps) if s.terminated[n]]
        lost = [t for t, s in enumerate(breakout.steps) if s.life_lost[n]]
        assert len(ends) >= 2
        for begin, end in pairwise([-1, *ends]):
            assert sum(begin < t < end for t in lost) == 4  # the fifth is the game over
        for t in lost:
            before, after = breakout.steps[t], breakout.steps[t + 1]
            assert not after.first[n]
            assert np.array_equal(after.obs[n, :3], before.obs[n, 1:])  # the stack goes on


def test_a_lost_life_is_told_exactly_where_the_lives_fall_within_an_episode(
    breakout: Played,
) -> None:
    for step, (before, after) in zip(breakout.steps, pairwise(breakout.lives), strict=True):
        fell = (after < before) & ~step.terminated & ~step.first
        assert np.array_equal(step.life_lost, fell)


def test_the_row_after_an_end_is_a_first_row(breakout: Played) -> None:
    seen = 0
    for before, after in pairwise(breakout.steps):
        first = after.first
        assert np.array_equal(first, before.terminated | before.truncated)
        assert not after.reward[first].any()
        assert not (after.terminated | after.truncated | after.life_lost)[first].any()
        assert (after.obs[first, :3] == 0).all()  # no stack crosses an episode's border
        assert (after.obs[first, 3].max(axis=(1, 2)) > 0).all()
        seen += int(first.sum())
    assert seen >= 4


def test_the_action_on_a_final_observation_has_no_effect(breakout: Played) -> None:
    env = Atari("Breakout", 2, seed=1, num_threads=1)
    env.reset()
    for step in breakout.steps[:200]:  # the first end of each
        env.send(np.where(step.first, (step.action + 1) % 4, step.action))
        again = env.recv()
        assert np.array_equal(again.obs, step.obs)
        assert np.array_equal(again.reward, step.reward)
    env.close()


def test_environments_and_seeds_differ_and_the_number_of_threads_does_not_matter(
    breakout: Played,
) -> None:
    assert breakout.env.action_log(0).seed != breakout.env.action_log(1).seed
    same_seed, other = (Atari("Breakout", 2, seed=s, num_threads=2) for s in (1, 2))
    actions = np.stack([s.action for s in breakout.steps[:60]])
    for env in (same_seed, other):
        env.reset()
    assert all(map(same, play(same_seed, actions), breakout.steps))
    assert not all(map(same, play(other, actions), breakout.steps))
    other.close()
    same_seed.reset()  # in the middle of its episodes
    assert all(map(same, play(same_seed, actions), breakout.steps))
    same_seed.close()


def test_emulators_in_groups_play_as_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atari_emulator, "GROUP", 1)
    played: list[list[np.ndarray]] = []
    for cores, groups in ((1, 2), (64, 1)):
        monkeypatch.setattr(atari_emulator, "usable_cpus", lambda cores=cores: cores)
        emulators = Emulators("breakout", 2, PROTOCOLS["sticky"], num_threads=1)
        shown = [*emulators.reset(np.array([5, 6]), np.array([True, True]))]
        for step in range(20):
            if step == 10:
                shown += emulators.reset(np.array([7]), np.array([False, True]))
            emulators.send(np.array([step % 4, 3 - step % 4]))
            screens, *rest = emulators.recv()
            shown += [*screens, *rest]
        assert len(emulators._groups) == groups
        played.append(shown)
    assert all(map(np.array_equal, *played))


def test_rewards_are_the_games_own_and_not_clipped() -> None:
    env = Atari("MsPacman", 2, seed=0, num_threads=1)
    env.reset()
    rewards = np.concatenate([s.reward for s in play(env, random_actions(env, 80))])
    assert rewards.max() >= 10.0
    assert set(rewards[rewards > 0] % 10) == {0.0}
    env.close()


def test_the_raw_return_of_an_episode_is_the_score_over_all_lives(breakout: Played) -> None:
    statistics = EpisodeStatistics(2)
    episodes = [e for step in breakout.steps for e in statistics.update(step)]
    for n in range(2):
        end = next(t for t, s in enumerate(breakout.steps) if s.terminated[n])
        mine = next(e for e in episodes if e.env == n)
        assert mine.length_steps == end + 1
        assert mine.raw_return == sum(float(s.reward[n]) for s in breakout.steps[: end + 1])


def test_the_sticky_protocol_gives_no_life_information() -> None:
    env = Atari("Breakout", 2, seed=1, protocol="sticky", num_threads=1)
    env.reset()
    steps = play(env, random_actions(env, 220))
    assert any(s.terminated.any() for s in steps)
    assert not any(s.life_lost.any() for s in steps)
    env.close()


def test_actions_are_sticky_in_sticky_alone() -> None:
    alike = {}
    for name, protocol in PROTOCOLS.items():
        still = dataclasses.replace(protocol, noop_max=0)  # so that only stickiness can differ
        emulator = open_emulator("pong", 2, still, num_threads=1)
        emulator.reset(seed=np.array([1, 2]))
        courses = [emulator.step(np.full(2, 2 + t % 2))[0] for t in range(60)]
        alike[name] = all(np.array_equal(obs[0], obs[1]) for obs in courses)
    assert alike == {"classic": True, "sticky": False}


def test_a_reset_of_classic_draws_no_ops_and_one_of_sticky_begins_at_frame_zero() -> None:
    frames = {}
    for name, envs in (("classic", 6), ("sticky", 2)):
        emulator = open_emulator("breakout", envs, PROTOCOLS[name], num_threads=1)
        _, info = emulator.reset(seed=1 + np.arange(envs))
        frames[name] = info["episode_frame_number"]
    assert (frames["sticky"] == 0).all()
    assert frames["classic"].max() < PROTOCOLS["classic"].noop_max
    assert len(set(frames["classic"].tolist())) > 3


@pytest.fixture
def ten_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Atari]:
    """Two Breakouts whose episodes are cut after ten steps."""
    capped = dataclasses.replace(PROTOCOLS["classic"], max_episode_frames=40)
    monkeypatch.setitem(PROTOCOLS, "classic", capped)
    env = Atari("Breakout", 2, seed=0, num_threads=1)
    env.reset()
    yield env
    env.close()


def test_an_episode_is_cut_at_the_protocols_cap(ten_steps: Atari) -> None:
    steps = play(ten_steps, np.zeros((22, 2), np.int64))
    assert [t for t, s in enumerate(steps, 1) if s.truncated.all()] == [10, 21]
    assert [t for t, s in enumerate(steps, 1) if s.first.all()] == [11, 22]
    assert not any(s.terminated.any() for s in steps)


def test_fewer_lives_in_the_next_episode_are_no_lost_life(ten_steps: Atari) -> None:
    play(ten_steps, np.zeros((10, 2), np.int64))
    ten_steps._lives = np.full(2, 6, np.int32)  # as after a bonus life; the next episode has 5
    (step,) = play(ten_steps, np.zeros((1, 2), np.int64))
    assert step.first.all()
    assert not step.life_lost.any()


def test_building_and_playing_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    env = Atari("Pong", 1, seed=0, num_threads=1)
    env.reset()
    play(env, np.zeros((2, 1), np.int64))
    env.close()
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_process_ends_though_a_step_is_outstanding() -> None:
    code = (
        "import numpy as np; from wnrl.envs.atari import Atari\n"
        "e = Atari('Pong', 2, 0); e.reset(); e.send(np.zeros(2, np.int64)); e.close()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("keyword", "value"), [("num_threads", -1), ("replay_limit_steps", -1), ("stack", -1)]
)
def test_a_negative_number_is_refused(keyword: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{keyword} must be 0 .*got -1"):
        Atari("Pong", 1, 0, **{keyword: value})


RESUMED = [  # game, protocol, steps before it is saved, steps in all
    ("Breakout", "classic", 200, 320),
    pytest.param("Pong", "sticky", 600, 1_100, marks=pytest.mark.slow),
    pytest.param("Qbert", "sticky", 450, 900, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("game", "protocol", "middle", "steps"), RESUMED)
def test_a_game_continues_bit_for_bit_across_ends_and_new_seeds(
    game: str, protocol: str, middle: int, steps: int
) -> None:
    def build() -> Atari:
        return Atari(game, 3, 5, protocol, num_threads=2, replay_limit_steps=100)

    whole = build()
    actions = random_actions(whole, steps)
    whole.reset()
    play(whole, actions[:middle])
    state = whole.state_dict()
    seedings, lengths = list(state["seedings"]), [len(log) for log in state["logs"]]
    assert len(set(lengths)) > 1 or game == "Pong"  # the logs begin at different steps
    resumed = build()
    resumed.load_state_dict(state)
    assert np.array_equal(resumed.obs, whole.obs)
    assert np.array_equal(resumed.first, whole.first)
    ends = 0
    for row in actions[middle:]:
        for env in (whole, resumed):
            env.send(row)
        a, b = whole.recv(), resumed.recv()
        assert same(a, b)
        ends += int((a.terminated | a.truncated).sum())
    assert ends > 0
    assert max(whole.state_dict()["seedings"]) > max(seedings)  # a new seed on the way
    whole.close()
    resumed.close()


@pytest.mark.parametrize("replay_limit_steps", [50, 5_000])
def test_a_game_continues_from_a_final_and_from_a_first_observation(
    replay_limit_steps: int,
) -> None:
    kinds: dict[str, Any] = {"num_threads": 1, "replay_limit_steps": replay_limit_steps}
    whole = Atari("Breakout", 2, 1, **kinds)
    whole.reset()
    actions = random_actions(whole, 600)
    steps = 0
    while not play(whole, actions[steps : steps + 1])[0].terminated.any():
        steps += 1
    actions = actions[steps + 1 :][:60]
    saved = [(whole.state_dict(), whole.obs.copy(), whole.first.copy())]
    course = play(whole, actions[:1])
    saved.append((whole.state_dict(), whole.obs.copy(), whole.first.copy()))
    course += play(whole, actions[1:])
    for after_end_steps, (state, obs, first) in enumerate(saved):
        resumed = Atari("Breakout", 2, 1, **kinds)
        resumed.load_state_dict(state)
        assert np.array_equal(resumed.obs, obs)
        assert np.array_equal(resumed.first, first)
        rest = play(resumed, actions[after_end_steps:])
        assert all(map(same, rest, course[after_end_steps:]))
        resumed.close()
    whole.close()


def test_a_log_ends_at_the_first_end_past_its_limit_and_only_there() -> None:
    env = Atari("Breakout", 2, 1, num_threads=1, replay_limit_steps=150)
    env.reset()
    length, seedings = np.zeros(2, np.int64), np.zeros(2, np.int64)
    for row in random_actions(env, 500):
        (step,) = play(env, row[None])
        length += 1
        restarted = step.first & (length > 150)
        length[restarted] = 0
        seedings += restarted
        assert env._logs.lengths.tolist() == length.tolist()
    assert env.state_dict()["seedings"] == seedings.tolist()
    assert seedings.max() >= 2
    env.close()


def test_a_new_seed_for_one_environment_leaves_the_others_untouched(breakout: Played) -> None:
    env = Atari("Breakout", 2, 1, num_threads=1, replay_limit_steps=0)
    env.reset()
    began = next(t for t, s in enumerate(breakout.steps) if s.first.any())
    anew = int(breakout.steps[began].first.argmax())
    steps = play(env, np.stack([s.action for s in breakout.steps[: began + 40]]))
    other = 1 - anew
    for mine, plain in zip(steps, breakout.steps, strict=False):
        if plain.first[other]:
            break
        assert np.array_equal(mine.obs[other], plain.obs[other])
    env.close()


def test_an_emulator_that_does_not_come_back_is_found_out(breakout: Played) -> None:
    state = breakout.env.state_dict()
    env = Atari("Breakout", 2, 1, num_threads=1)
    state["logs"] = [torch.roll(log, 1) for log in state["logs"]]
    with pytest.raises(UsageError, match="did not lead to the saved observations"):
        env.load_state_dict(state)
    env.close()


def test_a_state_is_small(breakout: Played) -> None:
    logs = breakout.env.state_dict()["logs"]
    assert [(log.dtype, len(log)) for log in logs] == [(torch.uint8, 500)] * 2


@pytest.mark.parametrize(
    ("game", "protocol", "length"), [("Breakout", "classic", 230), ("Pong", "sticky", 60)]
)
def test_an_episode_plays_again_in_colour(game: str, protocol: str, length: int) -> None:
    env = Atari(game, 2, 3, protocol, num_threads=1)
    env.reset()
    steps = play(env, random_actions(env, length))
    log = env.action_log(1)
    start = max((t for t, s in enumerate(steps, 1) if s.first[1]), default=0)
    assert log.start == start
    assert (start > 0) == (game == "Breakout")  # its first episode has ended
    assert len(log.actions) == length
    frames = list(colour_frames(game, env.protocol, log))
    assert len(frames) == length - start + 1
    assert {(f.shape, f.dtype.name) for f in frames} == {((210, 160, 3), "uint8")}

    emulator = open_emulator(env.rom, 1, env.protocol, num_threads=1, colour=True)
    emulator.reset(seed=np.array([log.seed]))
    for step, action in zip(steps, log.actions, strict=True):
        obs, reward, over, _, _ = emulator.step(np.array([action], np.int64))
        assert reward[0] == step.reward[1]
        assert over[0] == step.terminated[1]
    assert np.array_equal(obs[0, 0], frames[-1])
    env.close()


def test_a_stack_of_one_is_the_newest_frame_of_the_same_game(breakout: Played) -> None:
    env = make_env("Breakout", 2, 1, num_threads=1, stack=1)
    assert env.observation == ObservationSpec((1, 84, 84), "uint8", 1)
    assert env.observation.frame_shape == (1, 84, 84)
    env.reset()
    assert np.array_equal(env.obs, breakout.start[:, -1:])
    for step in breakout.steps[:320]:  # over two ends of each
        env.send(step.action)
        single = env.recv()
        assert np.array_equal(single.obs, step.obs[:, -1:])
        assert same(single._replace(obs=step.obs), step)
    env.close()


def test_a_game_with_a_stack_of_one_continues_bit_for_bit_and_plays_again_in_colour() -> None:
    def build() -> Atari:
        return Atari("Breakout", 2, 5, num_threads=1, stack=1, replay_limit_steps=100)

    whole, resumed = build(), build()
    actions = random_actions(whole, 320)
    whole.reset()
    play(whole, actions[:200])
    assert max(whole.state_dict()["seedings"]) > 0
    resumed.load_state_dict(whole.state_dict())
    assert np.array_equal(resumed.obs, whole.obs)
    assert resumed.obs.shape == (2, 1, 84, 84)
    for row in actions[200:]:
        assert all(map(same, play(whole, row[None]), play(resumed, row[None])))
    log = resumed.action_log(0)
    frames = list(colour_frames("Breakout", resumed.protocol, log))
    assert len(frames) == len(log.actions) - log.start + 1
    whole.close()
    resumed.close()


def test_a_state_does_not_load_into_another_stack_and_one_from_before_loads_into_four() -> None:
    states = {}
    for stack in (0, 1):
        env = Atari("Pong", 1, 0, num_threads=1, stack=stack)
        env.reset()
        play(env, np.zeros((3, 1), np.int64))
        states[stack] = env.state_dict()
        env.close()
    for stack, other in ((4, 1), (1, 0)):
        env = Atari("Pong", 1, 0, num_threads=1, stack=stack)
        with pytest.raises(ValueError, match="1 frame in an observation"):
            env.load_state_dict(states[other])
        env.close()
    env = Atari("Pong", 1, 0, num_threads=1, stack=4)
    # as written by the versions that had no stack to choose
    assert states[0]["identity"]["protocol"] == (
        "classic: no sticky actions, fewer than 30 no-ops, FIRE at a reset only, life loss is "
        "terminal in training, minimal actions, at most 27,000 agent steps, evaluated at epsilon "
        "0.05"
    )
    assert states[0]["identity"].keys() == {
        *("rom", "protocol", "num_envs", "seed", "replay_limit_steps")
    }
    env.load_state_dict(states[0])
    env.close()


@pytest.mark.slow
def test_every_game_of_the_ale_can_be_played() -> None:
    for game in game_names():
        env = Atari(game, 1, seed=0, num_threads=1)
        env.reset()
        play(env, random_actions(env, 8))
        assert env.obs.shape == (1, 4, 84, 84)
        env.close()
