"""MinAtar's games behind the vector interface play as the package's own environment does."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from wnrl._settings import UsageError
from wnrl.envs.make import make_env
from wnrl.envs.minatar import vector_env
from wnrl.envs.minatar.names import GAMES
from wnrl.envs.seeding import seed_sequence
from wnrl.envs.vector import Step, VectorEnv

CHANNELS = {"Asterix": 4, "Breakout": 4, "Freeway": 7, "Seaquest": 10, "SpaceInvaders": 6}
MINIMAL = {
    "Asterix": [0, 1, 2, 3, 4],
    "Breakout": [0, 1, 3],
    "Freeway": [0, 2, 4],
    "Seaquest": [0, 1, 2, 3, 4, 5],
    "SpaceInvaders": [0, 1, 3, 5],
}

each_game = pytest.mark.parametrize("game", GAMES)


def play(env: VectorEnv, actions: Any) -> list[Step]:
    steps = []
    for row in actions:
        env.send(np.array(row))
        steps.append(env.recv())
    return steps


def same(a: Step, b: Step) -> bool:
    return all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(a, b, strict=True))


def reference(game: str, seed: int, env: int, **keywords: Any) -> Any:
    """The package's environment with sticky actions, on the random numbers of one copy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib", None)  # drawing takes seconds to import
        from minatar import Environment

    made = Environment(GAMES[game], **keywords)
    made.random = np.random.RandomState(np.random.PCG64(seed_sequence(seed, "environment", env)))
    made.env.random = made.random
    made.reset()
    return made


@each_game
@pytest.mark.parametrize("version", [0, 1])
def test_games_have_the_packages_shapes_and_actions(game: str, version: int) -> None:
    env = make_env(f"MinAtar/{game}-v{version}", 2, seed=1)
    assert env.observation == ((CHANNELS[game], 10, 10), "uint8", 1, "")
    assert env.num_actions == (len(MINIMAL[game]) if version else 6)
    env.reset()
    assert env.obs.shape == (2, CHANNELS[game], 10, 10)
    assert env.obs.dtype == np.uint8
    assert set(np.unique(env.obs)) == {0, 255}


@each_game
@pytest.mark.parametrize("version", [0, 1])
def test_thousands_of_steps_are_those_of_the_package(game: str, version: int) -> None:
    env = make_env(f"MinAtar/{game}-v{version}", 2, seed=3)
    env.reset()
    originals = [reference(game, 3, n) for n in range(2)]
    table = MINIMAL[game] if version else list(range(6))
    over = [False, False]
    actions = np.random.default_rng(version).integers(env.num_actions, size=(1_500, 2))
    for step in play(env, actions):
        for n, original in enumerate(originals):
            reward, was_over = 0, over[n]
            if was_over:
                original.reset()
                over[n] = False
            else:
                reward, over[n] = original.act(table[step.action[n]])
            assert step.first[n] == was_over
            assert step.reward[n] == reward
            assert step.terminated[n] == over[n]
            assert np.array_equal(step.obs[n], 255 * original.state().transpose(2, 0, 1))
        assert not step.truncated.any()
        assert not step.life_lost.any()


def test_a_tenth_of_actions_are_sticky() -> None:
    """In Freeway's rules nothing else is random between two rewards."""
    env = make_env("MinAtar/Freeway-v1", 1, seed=0)
    env.reset()
    used = []
    assert isinstance(env, vector_env.MinAtarEnvs)
    for index in range(4_000):
        play(env, [[index % 2]])  # no-op and up in turns: a repeated action is the other one
        used.append(env._last_actions[0])
    wanted = [(0, 2)[index % 2] for index in range(4_000)]
    share = np.mean(np.array(used) != wanted)
    assert 0.07 < share < 0.12  # a repeat of a repeat is right again: 0.1 / 1.1 are wrong


@each_game
@pytest.mark.parametrize("until", [1, 150, 151])
def test_a_game_continues_bit_for_bit(game: str, until: int, tmp_path: Path) -> None:
    def make() -> VectorEnv:
        return make_env(f"MinAtar/{game}-v0", 3, seed=5)

    whole, saved = make(), make()
    actions = np.random.default_rng(0).integers(6, size=(300, 3))
    for env in (whole, saved):
        env.reset()
        play(env, actions[:until])
    torch.save(saved.state_dict(), tmp_path / "state.pt")
    state = saved.state_dict()
    play(saved, actions[:40])  # the state is a copy
    obs, first = whole.obs.copy(), whole.first
    expected = play(whole, actions[until:])
    resumed = make()
    for each in (state, state, torch.load(tmp_path / "state.pt", weights_only=True)):
        resumed.load_state_dict(each)
        assert np.array_equal(resumed.obs, obs)
        assert np.array_equal(resumed.first, first)
        assert all(map(same, play(resumed, actions[until:]), expected))


def test_seeds_copies_and_resets() -> None:
    def played(seed: int) -> np.ndarray[Any, Any]:
        env = make_env("MinAtar/Asterix-v1", 3, seed)
        env.reset()
        return np.stack([step.obs for step in play(env, [[0, 0, 0]] * 60)])

    assert np.array_equal(played(1), played(1))
    assert not np.array_equal(played(1), played(2))
    assert not np.array_equal(played(1)[:, 0], played(1)[:, 1])
    env = make_env("MinAtar/Asterix-v1", 3, 1)
    env.reset()
    play(env, [[1, 2, 3]] * 20)
    env.reset()
    assert np.array_equal(np.stack([s.obs for s in play(env, [[0, 0, 0]] * 60)]), played(1))


@pytest.mark.parametrize(
    ("name", "num_envs", "seed"),
    [
        ("MinAtar/Breakout-v1", 2, 0),
        ("MinAtar/Asterix-v0", 2, 0),
        ("MinAtar/Breakout-v0", 3, 0),
        ("MinAtar/Breakout-v0", 2, 1),
    ],
)
def test_a_state_of_something_else_is_refused(name: str, num_envs: int, seed: int) -> None:
    env = make_env("MinAtar/Breakout-v0", 2, seed=0)
    env.reset()
    with pytest.raises(ValueError, match=r"the state is of .*'sticky_actions': 0.1"):
        make_env(name, num_envs, seed).load_state_dict(env.state_dict())


@pytest.mark.parametrize("game", ["Asterix", "SpaceInvaders"])
@pytest.mark.parametrize(
    "keywords",
    [{"sticky_action_prob": 0.6}, {"difficulty_ramping": False, "sticky_action_prob": 0}],
)
def test_keywords_are_those_of_the_package(game: str, keywords: dict[str, Any]) -> None:
    env = make_env(f"MinAtar/{game}-v0", 1, seed=3, keywords=keywords)
    env.reset()
    package = reference(game, 3, 0, **keywords)
    for action in np.random.default_rng(5).integers(0, 6, 2_000):
        (step,) = play(env, [[action]])
        if step.first[0]:
            package.reset()
        else:
            reward, over = package.act(int(action))
            assert (step.reward[0], step.terminated[0]) == (reward, over)
        assert np.array_equal(step.obs[0].transpose(1, 2, 0) == 255, package.state())


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"sticky_action_prob": 2}, "sticky_action_prob is a number from 0 to 1, not 2"),
        ({"sticky_action_prob": True}, "sticky_action_prob is a number from 0 to 1, not True"),
        ({"difficulty_ramping": 0}, "difficulty_ramping is true or false, not 0"),
        ({"sticky_actions": 0.5}, "sticky_actions is unknown to .*did you mean sticky_action_prob"),
    ],
)
def test_keywords_out_of_range_are_refused(keywords: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=f"env_kwargs {sentence}"):
        make_env("MinAtar/Breakout-v1", 1, seed=0, keywords=keywords)


@pytest.mark.parametrize("keywords", [{"sticky_action_prob": 0.2}, {"difficulty_ramping": False}])
def test_a_state_of_a_game_with_other_keywords_is_refused(keywords: dict[str, Any]) -> None:
    env = make_env("MinAtar/Breakout-v1", 1, seed=0)
    env.reset()
    with pytest.raises(ValueError, match="the state is of"):
        make_env("MinAtar/Breakout-v1", 1, seed=0, keywords=keywords).load_state_dict(
            env.state_dict()
        )


def test_calls_out_of_order_are_refused() -> None:
    env = make_env("MinAtar/Breakout-v1", 2, seed=0)
    with pytest.raises(RuntimeError, match=r"reset\(\) or load_state_dict\(\) comes first"):
        env.send(np.array([0, 0]))
    env.reset()
    with pytest.raises(ValueError, match=r"actions must be in \[0, 3\)"):
        env.send(np.array([0, 3]))
    env.close()
    with pytest.raises(RuntimeError, match="closed"):
        env.reset()


def test_a_stack_is_refused() -> None:
    with pytest.raises(UsageError, match="MinAtar/Breakout-v1 has no frames to stack"):
        make_env("minatar/breakout", 1, seed=0, stack=4)


def test_the_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    vector_env.game_class.cache_clear()
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(
        UsageError, match=r"need the package MinAtar; pip install 'wnrl\[minatar\]'"
    ):
        make_env("MinAtar/Breakout-v1", 1, seed=0)
