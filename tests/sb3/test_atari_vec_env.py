"""SB3's semantics: on a scripted emulator by hand, on real games against SB3's own wrappers."""

import copy
import dataclasses
import pickle
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import ale_py
import gymnasium
import numpy as np
import pytest
from ale_py import Action
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.atari_wrappers import EpisodicLifeEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecMonitor, VecNormalize

from wnrl._settings import UsageError
from wnrl.envs.protocols import PROTOCOLS
from wnrl.sb3 import AtariVecEnv, atari_vec_env

LIVES, NOOP, FIRE = 3, 0, 1


class Beat(NamedTuple):
    """What a scripted game does in one step."""

    score: int = 0
    lives: int = LIVES
    over: bool = False
    capped: bool = False


class Scripted:
    """Games that play a script, two frames a step. Their n-th picture has pixels of value n."""

    def __init__(self, beats: list[list[Beat]], actions: list[Action]) -> None:
        self.ale = SimpleNamespace(get_action_set=lambda: actions)
        self.sent: list[list[int]] = []
        self.resets: list[tuple[list[int] | None, list[bool]]] = []
        self._beats: Iterator[list[Beat]] = iter(beats)
        envs = len(beats[0])
        self._count = np.zeros(envs, np.int64)
        self._obs = np.zeros((envs, 4, 84, 84), np.uint8)
        self._frames = np.zeros(envs, np.int32)
        self._lives = np.zeros(envs, np.int32)

    def reset(self, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        which = options["reset_mask"] if options else np.ones(len(self._count), bool)
        self.resets.append((None if seed is None else seed.tolist(), which.tolist()))
        self._obs[which] = 0
        self._push(which)
        self._frames[which] = 10  # its no-ops
        self._lives[which] = LIVES
        return self._seen()

    def send(self, actions: np.ndarray) -> None:
        self.sent.append(actions.tolist())

    def recv(self) -> tuple[np.ndarray, ...]:
        score, lives, over, capped = map(np.array, zip(*next(self._beats), strict=True))
        self._push(np.ones(len(score), bool))
        self._frames += 2
        self._lives = lives.astype(np.int32)
        obs, info = self._seen()
        return obs, score.astype(np.int32), over, capped, info

    def _push(self, which: np.ndarray) -> None:
        self._count[which] += 1
        self._obs[which, :3] = self._obs[which, 1:]
        self._obs[which, 3] = self._count[which, None, None]

    def _seen(self) -> tuple[np.ndarray, dict[str, Any]]:
        info = {
            "env_id": np.arange(len(self._count), dtype=np.int32),
            "lives": self._lives.copy(),
            "frame_number": self._frames.copy(),
            "episode_frame_number": self._frames.copy(),
        }
        return self._obs.copy(), info


Play = Callable[..., tuple[AtariVecEnv, Scripted]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    """Make an environment whose emulator plays these beats, one list of N per step; reset it."""

    def make(
        beats: list[list[Beat]],
        actions: tuple[Action, ...] = (Action.NOOP, Action.FIRE, Action.RIGHT),
        **options: Any,
    ) -> tuple[AtariVecEnv, Scripted]:
        emulator = Scripted(beats, list(actions))
        monkeypatch.setattr(atari_vec_env, "open_emulator", lambda *_, **__: emulator)
        env = AtariVecEnv("Breakout", len(beats[0]), seed=0, **options)
        env.reset()
        return env, emulator

    return make


def step(env: VecEnv, action: int = NOOP) -> tuple[np.ndarray, float, bool, dict[str, Any]]:
    """One step of one environment."""
    obs, rewards, dones, infos = env.step(np.array([action]))
    return obs[0], float(rewards[0]), bool(dones[0]), infos[0]


def pictures(obs: np.ndarray) -> list[int]:
    """The numbers of the pictures in one observation (4, 84, 84), 0 for a black one."""
    return obs[:, 0, 0].tolist()


def test_a_lost_life_is_a_done_with_its_reward_and_the_game_goes_on(play: Play) -> None:
    env, emulator = play([[Beat(1)], [Beat(4, lives=2)], [Beat(0, lives=2)], [Beat(0, lives=2)]])
    obs, reward, done, info = step(env)
    assert (pictures(obs), reward, done) == ([0, 0, 1, 2], 1, False)
    assert "terminal_observation" not in info
    obs, reward, done, info = step(env)
    assert (reward, done, info["lives"]) == (1, True, 2)
    assert pictures(info["terminal_observation"]) == [0, 1, 2, 3]
    assert pictures(obs) == [0, 0, 0, 3]  # the same picture is the next episode's first
    assert "episode" not in info
    assert info["TimeLimit.truncated"] is False
    assert [pictures(step(env)[0]) for _ in range(2)] == [[0, 0, 3, 4], [0, 3, 4, 5]]
    assert len(emulator.resets) == 1


def test_two_lives_lost_in_a_row_are_two_episodes_without_each_other_s_frames(play: Play) -> None:
    env, _ = play([[Beat()], [Beat(lives=2)], [Beat(lives=1)]])
    step(env)
    step(env)
    obs, _, done, info = step(env)
    assert done
    assert pictures(info["terminal_observation"]) == [0, 0, 3, 4]
    assert pictures(obs) == [0, 0, 0, 4]


def test_t18_a_game_that_is_over_begins_anew_in_the_same_step_and_tells_its_raw_score(
    play: Play,
) -> None:
    env, emulator = play(
        [
            [Beat(7), Beat(1)],
            [Beat(-2, lives=2), Beat(1)],
            [Beat(10, lives=0, over=True), Beat(1)],
            [Beat(5, lives=0, over=True), Beat(1)],
        ]
    )
    nothing = np.zeros(2, np.int64)
    rewards = [env.step(nothing)[1].tolist() for _ in range(2)]
    obs, reward, dones, infos = env.step(nothing)
    assert [*rewards, reward.tolist()] == [[1, 1], [-1, 1], [1, 1]]  # signs
    assert dones.tolist() == [True, False]
    assert infos[0]["lives"] == 0
    assert infos[0]["TimeLimit.truncated"] is False
    assert infos[0]["episode"]["r"] == 15  # lost lives do not divide a score
    assert infos[0]["episode"]["l"] == 10 + 3 * 2
    assert infos[0]["episode"]["t"] >= 0
    assert pictures(infos[0]["terminal_observation"]) == [0, 0, 3, 4]
    assert [pictures(row) for row in obs] == [[0, 0, 0, 5], [1, 2, 3, 4]]
    assert emulator.resets[1:] == [(None, [True, False])]
    assert env.reset_infos[0]["lives"] == LIVES
    _, _, _, infos = env.step(nothing)
    assert infos[0]["episode"]["r"] == 5
    assert infos[0]["episode"]["l"] == 10 + 2


def test_the_frame_cap_is_a_truncation_unless_the_step_is_terminal_too(play: Play) -> None:
    truncated = []
    for beat in (
        Beat(capped=True),
        Beat(lives=2, capped=True),
        Beat(lives=0, over=True, capped=True),
    ):
        env, emulator = play([[beat], [Beat()]])
        _, _, done, info = step(env)
        truncated.append(info["TimeLimit.truncated"])
        assert done
        assert "episode" in info
        assert len(emulator.resets) == 2
        step(env, 2)
        assert emulator.sent[1] == [2]  # not FIRE: it was a real reset
    assert truncated == [True, False, False]


def test_no_lives_left_before_the_game_is_over_is_no_done(play: Play) -> None:
    # Qbert: SB3's EpisodicLifeEnv waits for the game over as well.
    env, _ = play([[Beat(lives=1)], [Beat(lives=0)], [Beat(lives=0, over=True)]])
    assert [step(env)[2] for _ in range(3)] == [True, False, True]


def test_a_life_won_is_no_done_and_counts_when_it_is_lost(play: Play) -> None:
    env, _ = play([[Beat(lives=4)], [Beat(lives=3)]])
    assert [step(env)[2] for _ in range(2)] == [False, True]


def test_fire_is_pressed_in_the_step_after_a_lost_life_and_in_no_other(play: Play) -> None:
    beats = [[Beat(), Beat()], [Beat(lives=2), Beat()]] + [[Beat(lives=2), Beat()]] * 2
    env, emulator = play(beats)
    for _ in range(4):
        env.step(np.array([2, 0]))
    assert emulator.sent == [[2, 0], [2, 0], [FIRE, 0], [2, 0]]


@pytest.mark.parametrize(
    ("actions", "options"),
    [
        ((Action.NOOP, Action.UP, Action.RIGHT), {}),  # the game has no FIRE
        ((Action.NOOP, Action.FIRE, Action.RIGHT), {"terminal_on_life_loss": False}),
        ((Action.NOOP, Action.FIRE, Action.RIGHT), {"protocol": "sticky"}),
    ],
)
def test_nothing_is_pressed_for_the_agent(
    play: Play, actions: tuple[Action, ...], options: dict[str, Any]
) -> None:
    env, emulator = play([[Beat(lives=2)], [Beat(lives=2)]], actions, **options)
    done = step(env, 2)[2]
    step(env, 2)
    assert emulator.sent == [[2], [2]]
    assert done is (options == {})


def test_rewards_are_raw_on_request(play: Play) -> None:
    env, _ = play([[Beat(7)], [Beat(-4)]], clip_reward=False)
    assert [step(env)[1] for _ in range(2)] == [7, -4]


def test_seeds_are_for_the_next_reset_only_and_fit_the_emulator(play: Play) -> None:
    env, emulator = play([[Beat(), Beat()]])
    assert emulator.resets == [([0, 1], [True, True])]
    env.reset()
    assert env.seed(2**31 - 1) == [2**31 - 1, 2**31]
    env.reset()
    env.seed()
    env.reset()
    seeds = [seed for seed, _ in emulator.resets[1:]]
    assert seeds[:2] == [None, [2**31 - 1, 0]]
    assert seeds[2] is not None


def test_the_emulators_step_between_step_async_and_step_wait(play: Play) -> None:
    env, emulator = play([[Beat()]])
    env.step_async(np.array([2]))
    assert emulator.sent == [[2]]
    env.step_wait()


def test_reset_drops_an_outstanding_step_and_the_running_game(play: Play) -> None:
    env, emulator = play([[Beat(5, lives=2)], [Beat()], [Beat(3, lives=0, over=True)]])
    step(env)
    env.step_async(np.array([0]))
    assert pictures(env.reset()[0]) == [0, 0, 0, 4]
    _, _, _, info = step(env, 2)
    assert info["episode"]["r"] == 3
    assert emulator.sent[2] == [2]  # no FIRE for a life that the reset gave back


def test_a_step_that_ctrl_c_ended_is_waited_for_no_second_time(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    env, emulator = play([[Beat(5, lives=2)], [Beat(1, lives=2)], [Beat(lives=2)]])

    def interrupted() -> None:
        Scripted.recv(emulator)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(emulator, "recv", interrupted)
        with pytest.raises(KeyboardInterrupt):
            step(env)
    _, reward, done, info = step(env)
    assert (reward, done, info["lives"]) == (1, True, 2)  # what was lost with it is seen now
    step(env)
    env.reset()  # receives nothing: the script is over


def test_a_call_out_of_turn_says_what_comes_first(play: Play) -> None:
    env, _ = play([[Beat()]])
    with pytest.raises(RuntimeError, match=r"step_wait\(\) out of turn: step_async\(\) comes"):
        env.step_wait()
    env.step_async(np.array([0]))
    with pytest.raises(RuntimeError, match=r"step_async\(\) out of turn: step_wait\(\) comes"):
        env.step_async(np.array([0]))
    env.close()
    env.close()
    for call in (env.reset, env.step_wait, lambda: env.step(np.array([0]))):
        with pytest.raises(RuntimeError, match=r"after close\(\)"):
            call()


def test_before_the_first_reset_there_is_nothing_to_step_or_show() -> None:
    env = AtariVecEnv("Pong")
    with pytest.raises(RuntimeError, match=r"reset\(\) comes first"):
        env.step(np.array([0]))
    with pytest.raises(RuntimeError, match=r"reset\(\) comes first"):
        env.render()


@pytest.mark.parametrize(
    ("actions", "says"),
    [
        ([3], r"\[0, 3\), got 3 for environment 0"),
        ([-1], "got -1"),
        ([0, 0], r"shape \(1,\)"),
        ([0.5], "integer array, got float64"),
    ],
)
def test_an_action_that_would_hang_the_emulator_never_gets_there(
    play: Play, actions: list[Any], says: str
) -> None:
    env, emulator = play([[Beat()]])
    with pytest.raises(ValueError, match=says):
        env.step(actions)
    assert emulator.sent == []
    env.step([2])  # a list will do, as with SB3's


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"game": "Brekout"}, "did you mean Breakout"),
        ({"game": "Combat"}, "several players"),
        ({"n_envs": 0}, "n_envs must be an integer of 1 or more, got 0"),
        ({"n_envs": "8"}, "n_envs must be an integer of 1 or more, got '8'"),
        ({"protocol": "clasic"}, "did you mean classic"),
        ({"noop_max": -1}, "noop_max"),
        ({"frame_skip": 0}, "frame_skip"),
        ({"screen_size": 84.5}, "screen_size"),
        ({"n_stack": 0}, "n_stack"),
        ({"num_threads": -1}, "num_threads"),
        ({"action_repeat_probability": 1.5}, r"action_repeat_probability must be in \[0, 1\]"),
    ],
)
def test_bad_options_are_one_line(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        AtariVecEnv(**{"game": "Breakout", **options})
    assert "\n" not in str(caught.value)


def test_what_sb3_asks_of_each_environment_is_answered_or_refused_in_one_line(play: Play) -> None:
    env, _ = play([[Beat(), Beat()]])
    assert env.env_method("get_action_meanings") == [["NOOP", "FIRE", "RIGHT"]] * 2
    assert env.env_method("get_action_meanings", indices=1) == [["NOOP", "FIRE", "RIGHT"]]
    assert env.get_attr("render_mode") == ["rgb_array"] * 2
    assert env.env_is_wrapped(Monitor) == [True, True]
    assert env.env_is_wrapped(EpisodicLifeEnv, indices=[0]) == [False]
    assert not env.has_attr("action_masks")
    for refused in (
        lambda: env.env_method("clone_state"),
        lambda: env.get_attr("ale"),
        lambda: env.set_attr("lives", 3),
    ):
        with pytest.raises(AttributeError, match=r"C\+\+") as caught:
            refused()
        assert "\n" not in str(caught.value)
    for copied in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="construct another one"):
            copied(env)


def test_a_picture_is_the_newest_frame_four_times_as_large(play: Play) -> None:
    env, _ = play([[Beat(), Beat()]])
    env.step(np.array([0, 0]))
    image = env.get_images()[1]
    assert image is not None
    assert (image.shape, image.dtype) == ((336, 336, 3), np.uint8)
    assert np.all(image == 2)
    tiled = env.render()
    assert tiled is not None
    assert tiled.shape == (672, 336, 3)


class AtRandom:
    """A policy of random actions, for `evaluate_policy`."""

    def __init__(self, num_actions: int) -> None:
        self._num_actions = num_actions
        self._generator = np.random.default_rng(0)

    def predict(self, obs: np.ndarray, **_: Any) -> tuple[np.ndarray, None]:
        """Actions (N,)."""
        return self._generator.integers(0, self._num_actions, len(obs)), None


def test_evaluate_policy_reports_raw_scores_of_whole_games_without_a_warning(play: Play) -> None:
    game = [[Beat(7)], [Beat(4, lives=2)], [Beat(9, lives=0, over=True)]]
    env, _ = play([*game, *game])
    scores, frames = evaluate_policy(AtRandom(3), env, 2, return_episode_rewards=True)  # type: ignore[arg-type]
    assert (scores, frames) == ([20, 20], [16, 16])


def test_vec_monitor_counts_what_the_learner_sees_and_sb3_says_so(play: Play) -> None:
    env, _ = play([[Beat(7)], [Beat(4, lives=2)]])
    with pytest.warns(UserWarning, match="already wrapped with a `Monitor`"):
        monitored = VecMonitor(env)
    monitored.reset()
    step(monitored)
    assert step(monitored)[3]["episode"]["r"] == 2


def test_vec_normalize_scales_the_rewards_and_leaves_the_pictures(play: Play) -> None:
    env, _ = play([[Beat(7)], [Beat(0)]], clip_reward=False)
    normalized = VecNormalize(env, norm_obs=False, clip_reward=3.0)
    normalized.reset()
    obs, reward, _, _ = step(normalized)
    assert 0 < reward <= 3
    assert normalized.get_original_reward().tolist() == [7]
    assert obs.dtype == np.uint8


# Real games from here.


def test_the_stack_is_what_vec_frame_stack_makes_of_single_frames() -> None:
    ours = AtariVecEnv("Breakout", 2, seed=3, num_threads=1)
    theirs = VecFrameStack(AtariVecEnv("Breakout", 2, seed=3, n_stack=1, num_threads=1), 4)
    assert theirs.observation_space == ours.observation_space
    assert np.array_equal(ours.reset(), theirs.reset())
    generator = np.random.default_rng(0)
    dones = 0
    for _ in range(150):
        actions = generator.integers(0, 4, 2)
        mine, other = ours.step(actions), theirs.step(actions)
        for a, b in zip(mine[:3], other[:3], strict=True):
            assert np.array_equal(a, b)
            assert a.dtype == b.dtype
        for env in np.flatnonzero(mine[2]):
            dones += 1
            ends = [infos[env]["terminal_observation"] for infos in (mine[3], other[3])]
            assert np.array_equal(*ends)
    assert dones > 5


def test_a_policy_that_never_presses_fire_still_finishes_its_game() -> None:
    env = AtariVecEnv("Breakout", seed=0)
    env.reset()
    rows = [step(env) for _ in range(200)]
    assert sum(done for _, _, done, _ in rows) > 5
    assert any("episode" in info for *_, info in rows)


def test_environment_n_plays_from_seed_plus_n_and_a_seed_repeats_its_game() -> None:
    def played(seed: int, n_envs: int) -> np.ndarray:
        env = AtariVecEnv("Pong", n_envs, seed=seed, protocol="sticky", num_threads=1)
        actions = np.random.default_rng(0).integers(0, 6, 60)
        frames = [env.reset(), *(env.step(np.full(n_envs, action))[0] for action in actions)]
        return np.stack(frames)

    both, second = played(1, 2), played(2, 1)
    assert np.array_equal(both[:, 1], second[:, 0])
    assert not np.array_equal(both[:, 0], both[:, 1])


class ResettingAsSb3:
    """Ours, playing after each done what SB3's wrappers play inside their reset."""

    def __init__(self, env: AtariVecEnv) -> None:
        self._env = env
        meanings = env.env_method("get_action_meanings")[0]
        self._fire_reset = [1, 2] if "FIRE" in meanings else []

    def reset(self) -> np.ndarray:
        """The first observation."""
        return self._play(self._fire_reset, self._env.reset()[0])

    def step(self, action: int) -> tuple[np.ndarray, float, bool, dict[str, Any]]:
        """As `step`."""
        obs, reward, done, info = step(self._env, action)
        if done:
            life_lost = "episode" not in info
            obs = self._play([NOOP, *self._fire_reset] if life_lost else self._fire_reset, obs)
        return obs, reward, done, info

    def _play(self, actions: list[int], obs: np.ndarray) -> np.ndarray:
        for action in actions:
            obs = step(self._env, action)[0]
        return obs


# Each pixel of SB3's is the gray of the greater colours of two frames, of the ALE's the greater of
# two grays. They differ where things move over a coloured background, so not in Breakout.
@pytest.mark.parametrize(
    ("game", "options", "cap_frames", "steps", "unlike_pixels"),
    [
        ("Breakout", {}, 108_000, 200, 0.0),
        ("Pong", {}, 401, 150, 0.01),
        *(
            pytest.param(*row, marks=pytest.mark.slow)
            for row in (
                ("Breakout", {"terminal_on_life_loss": False, "frame_skip": 1}, 108_000, 900, 0.0),
                ("Pong", {}, 108_000, 900, 0.01),
                ("MsPacman", {"clip_reward": False}, 108_000, 500, 0.01),
                ("Qbert", {"screen_size": 60}, 108_000, 500, 0.01),
            )
        ),
    ],
)
def test_a_game_runs_as_in_make_atari_env(
    game: str,
    options: dict[str, Any],
    cap_frames: int,
    steps: int,
    unlike_pixels: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("cv2", reason="SB3's Atari wrappers need it")
    from stable_baselines3.common.env_util import make_atari_env

    gymnasium.register_envs(ale_py)
    capped = dataclasses.replace(PROTOCOLS["sticky"], max_episode_frames=cap_frames)
    monkeypatch.setitem(PROTOCOLS, "sticky", capped)
    exact = {"noop_max": 0, "action_repeat_probability": 0.0, "terminal_on_life_loss": True}
    wrapping = {**exact, **options}
    atari = make_atari_env(
        f"{game}NoFrameskip-v4",
        wrapper_kwargs=wrapping,
        env_kwargs={"max_num_frames_per_episode": cap_frames},
    )
    theirs = VecFrameStack(atari, n_stack=4)
    env = AtariVecEnv(game, protocol="sticky", **wrapping)  # which presses no FIRE by itself
    assert env.action_space == theirs.action_space
    assert env.env_method("get_action_meanings") == theirs.env_method("get_action_meanings")
    ours = ResettingAsSb3(env)
    generator = np.random.default_rng(0)

    def unlike(their_obs: np.ndarray, our_obs: np.ndarray, age: int) -> float:
        """The share of other pixels, in the frames that SB3's stack of this age has."""
        newest = slice(-min(age, 4), None)
        return float(np.mean(their_obs.transpose(2, 0, 1)[newest] != our_obs[newest]))

    age, games, shares = 1, 0, [unlike(theirs.reset()[0], ours.reset(), 1)]
    for _ in range(steps):
        action = int(generator.integers(env.action_space.n))
        their_obs, their_reward, their_done, their_info = step(theirs, action)
        our_obs, our_reward, our_done, our_info = ours.step(action)
        assert (our_reward, our_done) == (their_reward, their_done)
        assert our_info.keys() == their_info.keys()
        for name in our_info.keys() - {"terminal_observation", "episode"}:
            assert our_info[name] == their_info[name]
        age += 1
        if our_done:
            ends = [info["terminal_observation"] for info in (their_info, our_info)]
            shares.append(unlike(*ends, age))
            age = 1
        if "episode" in our_info:
            games += 1
            assert {**our_info["episode"], "t": 0} == {**their_info["episode"], "t": 0}
        shares.append(unlike(their_obs, our_obs, age))
    assert games >= 1
    assert np.mean(shares) <= unlike_pixels


def test_t17_a_seeded_environment_draws_nothing_from_numpy_s_global_generator(play: Play) -> None:
    np.random.seed(0)  # noqa: NPY002  # SB3's draws from it
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    env, _ = play([[Beat(lives=2)], [Beat(lives=0, over=True)]])
    step(env)
    step(env)
    assert np.random.random() == expected  # noqa: NPY002


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda env: PPO("CnnPolicy", env, n_steps=64, batch_size=64, n_epochs=1, device="cpu"),
        lambda env: A2C("CnnPolicy", env, device="cpu"),
        lambda env: DQN("CnnPolicy", env, buffer_size=300, learning_starts=100, device="cpu"),
    ],
    ids=["ppo", "a2c", "dqn"],
)
def test_t18_sb3_trains_on_it_and_evaluates_in_raw_scores(
    make: Callable[[VecEnv], BaseAlgorithm],
) -> None:
    env = AtariVecEnv("Breakout", 2, seed=0)
    model = make(env)
    assert model.get_env() is env  # nothing had to be transposed
    model.learn(600)
    assert model.ep_info_buffer
    assert all(episode["l"] > 300 for episode in model.ep_info_buffer)  # whole games, in frames
    mean, _ = evaluate_policy(model, AtariVecEnv("Breakout", seed=1), 1, deterministic=False)
    assert mean >= 0
