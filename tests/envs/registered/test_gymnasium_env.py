"""Gymnasium environments behind the one interface: seeds, rows, refusals, exact resume."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
import pytest

from wnrl._settings import UsageError
from wnrl.config import make_config
from wnrl.envs.make import make_env
from wnrl.envs.registered.gymnasium_env import GymnasiumEnvs
from wnrl.envs.seeding import integer_seed
from wnrl.envs.vector import Step, VectorEnv


class Probe(gymnasium.Env[np.ndarray, Any]):
    """Shows the action that came; ends when told to. Actions start at 5."""

    action_space = gymnasium.spaces.Discrete(4, start=5)  # 5, 6: go on; 7: game over; 8: both ends
    observation_space = gymnasium.spaces.Box(-9.0, 9.0, (6,), np.float64)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return np.zeros((6,)), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        over = action in (7, 8)
        return np.full((6,), action / 4), action - 0.5, over, action == 8, {}


class Images(Probe):
    """Images of bytes with the channels last; shows its keywords."""

    observation_space = gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8)

    def __init__(self, red: int = 1, names: tuple[str, ...] = ()) -> None:
        self.red, self.names = red, names

    def look(self) -> np.ndarray:
        image = np.zeros((8, 8, 3), np.uint8)
        image[0, 1] = [self.red, 2, 3]
        return image

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return self.look(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        return self.look(), 0.0, False, False, {}


class Restless(Probe):
    """Not a function of its seed and actions."""

    count = 0

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        Restless.count += 1
        return np.full((6,), Restless.count), 0.0, False, False, {}


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    ids = {"Probe-v0": Probe, "Images-v0": Images, "Restless-v0": Restless}
    for name, kind in ids.items():
        gymnasium.register(name, kind)
    yield
    for name in ids:
        gymnasium.registry.pop(name)


def play(env: VectorEnv, actions: Any) -> list[Step]:
    """One step per row of actions (N,)."""
    steps = []
    for row in actions:
        env.send(np.array(row))
        steps.append(env.recv())
    return steps


def test_actions_start_where_the_space_does_and_observations_are_flat_float32() -> None:
    env = GymnasiumEnvs("Probe-v0", 2, seed=0)
    env.reset()
    assert env.num_actions == 4
    assert env.observation == ((6,), "float32", 1, "")
    (step,) = play(env, [[0, 1]])
    assert step.obs.tolist() == [[1.25] * 6, [1.5] * 6]
    assert step.reward.tolist() == [4.5, 5.5]


def test_the_row_after_an_end_is_a_first_row_whose_action_is_not_used() -> None:
    env = GymnasiumEnvs("Probe-v0", 2, seed=0)
    env.reset()
    end, first, after = play(env, [[2, 0], [3, 0], [1, 0]])
    assert end.terminated.tolist() == [True, False]
    assert end.reward.tolist() == [6.5, 4.5]
    assert end.obs[0].tolist() == [1.75] * 6  # the final observation is a row
    assert first.first.tolist() == [True, False]
    assert first.reward.tolist() == [0.0, 4.5]
    assert first.obs[0].tolist() == [0.0] * 6
    assert not first.terminated.any()
    assert after.reward.tolist() == [5.5, 4.5]
    assert not after.first.any()


def test_a_game_over_at_the_time_limit_is_no_truncation() -> None:
    env = GymnasiumEnvs("Probe-v0", 1, seed=0)
    env.reset()
    (step,) = play(env, [[3]])
    assert (step.terminated.tolist(), step.truncated.tolist()) == ([True], [False])


def test_the_ids_own_time_limit_truncates() -> None:
    env = GymnasiumEnvs("MountainCar-v0", 1, seed=0)  # 200 steps; standing still never arrives
    env.reset()
    steps = play(env, [[1]] * 201)
    assert [t for t, s in enumerate(steps, 1) if s.truncated[0]] == [200]
    assert [t for t, s in enumerate(steps, 1) if s.first[0]] == [201]


def test_every_episode_begins_from_its_own_seed() -> None:
    env = GymnasiumEnvs("CartPole-v1", 2, seed=7)
    env.reset()
    starts = [env.obs.copy()]
    steps = play(env, [[0, 1]] * 30)
    starts += [np.where(s.first[:, None], s.obs, np.nan) for s in steps if s.first.any()]
    plain = gymnasium.make("CartPole-v1")
    for n in range(2):
        begun = [start[n] for start in starts if not np.isnan(start[n]).any()]
        assert len(begun) >= 3
        for episode, obs in enumerate(begun):
            seed = integer_seed(7, "environment", n, episode)
            assert np.array_equal(plain.reset(seed=seed)[0], obs)
    assert not np.array_equal(starts[0][0], starts[0][1])


@pytest.mark.parametrize("name", ["CartPole-v1", "Acrobot-v1", "Probe-v0"])
def test_an_environment_continues_bit_for_bit_from_every_kind_of_row(name: str) -> None:
    actions = np.random.default_rng(0).integers(0, 2, (120, 3))
    if name == "Probe-v0":
        actions = np.random.default_rng(0).integers(0, 4, (120, 3))
    whole = GymnasiumEnvs(name, 3, seed=1)
    whole.reset()
    steps = play(whole, actions)
    ends = [t for t, s in enumerate(steps[:100], 1) if (s.terminated | s.truncated).any()]
    middle = ends[-1] if ends else 40
    for until in (0, middle - 1, middle, middle + 1, middle + 2):
        stopped = GymnasiumEnvs(name, 3, seed=1)
        stopped.reset()
        play(stopped, actions[:until])
        resumed = GymnasiumEnvs(name, 3, seed=1)
        resumed.load_state_dict(stopped.state_dict())
        assert np.array_equal(resumed.obs, stopped.obs)
        assert np.array_equal(resumed.first, stopped.first)
        for a, b in zip(steps[until:], play(resumed, actions[until:]), strict=True):
            assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_an_environment_that_cannot_be_played_again_is_found_out() -> None:
    env = GymnasiumEnvs("Restless-v0", 1, seed=0)
    env.reset()
    play(env, [[0]] * 3)
    with pytest.raises(UsageError, match="depends on more than its seed and actions"):
        env.load_state_dict(env.state_dict())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Pendulum-v1", r"'Pendulum-v1' has actions Box.*choose an id with Discrete actions"),
        (".x:Y-v0", "'.x' is not the name of a module"),
        ("CartPole-v7", "'CartPole-v7' is not a registered Gymnasium id; did you mean CartPole-v1"),
        ("no_such_module:X-v0", "needs the module no_such_module, which is not imported"),
        (":X-v0", "'' is not the name of a module"),
    ],
)
def test_what_is_not_supported_is_refused_with_what_is(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        GymnasiumEnvs(name, 1, seed=0)


def test_images_have_their_channels_first_and_stay_bytes() -> None:
    env = GymnasiumEnvs("Images-v0", 2, seed=0)
    env.reset()
    assert env.observation[:3] == ((3, 8, 8), "uint8", 1)
    assert env.obs.shape == (2, 3, 8, 8)
    assert env.obs.dtype == np.uint8
    assert env.obs[1, :, 0, 1].tolist() == [1, 2, 3]
    assert env.obs.sum() == 12
    assert np.array_equal(play(env, [[0, 1]])[0].obs, env.obs)


def test_keywords_reach_the_environment_and_belong_to_its_state() -> None:
    env = GymnasiumEnvs("Images-v0", 1, seed=0, keywords={"red": 7, "names": ["a"]})
    env.reset()
    assert env.obs[0, 0, 0, 1] == 7
    state = env.state_dict()
    again = GymnasiumEnvs("Images-v0", 1, seed=0, keywords={"names": ["a"], "red": 7})
    again.load_state_dict(state)
    with pytest.raises(ValueError, match=r"names=\[\"a\"\] red=7.* this environment is"):
        GymnasiumEnvs("Images-v0", 1, seed=0).load_state_dict(state)


def test_gymnasiums_own_keywords_work() -> None:
    env = make_env("FrozenLake-v1", 1, seed=0, keywords={"map_name": "8x8"})
    assert env.observation.shape == (64,)
    env = make_env("MountainCar-v0", 1, seed=0, keywords={"max_episode_steps": 3})
    env.reset()
    assert [bool(s.truncated[0]) for s in play(env, [[1]] * 3)] == [False, False, True]


def test_a_keyword_that_the_environment_does_not_take_is_named() -> None:
    with pytest.raises(UsageError, match=r"^cannot make 'Images-v0': TypeError.*'green'$"):
        GymnasiumEnvs("Images-v0", 1, seed=0, keywords={"green": 7})


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("toy/Catch", "env_kwargs is for Gymnasium ids and MinAtar, and toy/Catch is a toy"),
        ("Pong", "Pong is a game of Atari, which has flags of its own"),
        (
            "MinAtar/Breakout-v1",
            "red is unknown to MinAtar/Breakout-v1; allowed: sticky_action_prob, difficulty_ramp",
        ),
    ],
)
def test_keywords_are_refused_where_they_would_reach_nothing(name: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        make_env(name, 1, seed=0, keywords={"red": 1})
    with pytest.raises(UsageError, match=sentence):
        make_config(env=name, env_kwargs={"red": 1})


def test_discrete_observations_become_one_hot() -> None:
    env = GymnasiumEnvs("FrozenLake-v1", 2, seed=0)
    env.reset()
    assert env.observation.shape == (16,)
    assert env.obs.tolist() == [[1.0] + [0.0] * 15] * 2


def test_observations_of_several_parts_are_joined() -> None:
    env = GymnasiumEnvs("Blackjack-v1", 1, seed=0)
    env.reset()
    assert env.observation.shape == (32 + 11 + 2,)
    assert env.obs.sum() == 3.0


def test_an_id_of_the_ale_is_refused_here() -> None:
    import ale_py

    assert ale_py.__version__
    for name in ("ALE/Breakout-v5", "Breakout-v0"):
        with pytest.raises(UsageError, match="is the ALE's; name the game alone, like Breakout"):
            GymnasiumEnvs(name, 1, seed=0)


def test_a_dependency_that_is_missing_is_named() -> None:
    class Missing(Probe):
        def __init__(self) -> None:
            raise gymnasium.error.DependencyNotInstalled("box is missing, run `pip install box`")

    gymnasium.register("Missing-v0", Missing)
    try:
        with pytest.raises(UsageError, match="DependencyNotInstalled: box is missing"):
            GymnasiumEnvs("Missing-v0", 1, seed=0)
    finally:
        gymnasium.registry.pop("Missing-v0")


def test_rows_follow_each_other_as_the_interface_says() -> None:
    env = GymnasiumEnvs("CartPole-v1", 2, seed=0)
    env.reset()
    for before, after in pairwise(play(env, [[0, 1]] * 60)):
        assert np.array_equal(after.first, before.terminated | before.truncated)
        assert not after.life_lost.any()
