"""Vector environments of Gymnasium, taken as they are."""

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from wnrl._settings import UsageError
from wnrl.envs.guard.guarded_env import BrokenInterface, EnvironmentRaised, NotFiniteStep
from wnrl.envs.make import make_env
from wnrl.envs.vector import Step, VectorEnv


class Grids(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """Bool images with the episode's number of steps; environment n ends after 3 + n steps."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012
    single_observation_space: Any = spaces.Box(0, 1, (5, 6, 2), np.bool_)
    single_action_space: Any = spaces.Discrete(3, start=1)

    def __init__(self, num_envs: int, bonus: float = 0.0, max_episode_steps: int = 0) -> None:
        self.num_envs = num_envs
        self.bonus = bonus
        self.limits = 3 + np.arange(num_envs)
        self.observation_space = gymnasium.vector.utils.batch_space(
            self.single_observation_space, num_envs
        )
        self.action_space = spaces.MultiDiscrete([3] * num_envs, start=[1] * num_envs)
        self.buffer = np.zeros((num_envs, 5, 6, 2), np.bool_)  # the same array at every step

    def look(self) -> Any:
        self.buffer[..., 0] = self.np_random.random((self.num_envs, 5, 6)) < 0.5
        self.buffer[:, 0, 0, 1] = self.ages % 2
        return self.buffer

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.ages = np.zeros(self.num_envs, np.int64)
        self.over = np.zeros(self.num_envs, np.bool_)
        return self.look(), {}

    def step(self, actions: Any) -> Any:
        self.ages = np.where(self.over, 0, self.ages + 1)
        rewards = actions + self.bonus  # also where an environment is only reset
        self.over = ~self.over & (self.ages >= self.limits)
        by_time = self.over & (np.arange(self.num_envs) % 2 == 1)
        return self.look(), rewards, self.over & ~by_time, by_time, {}


class SameStep(Grids):
    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012


class Silent(Grids):
    metadata: dict[str, Any] = {}  # noqa: RUF012


class Seven(Grids):
    def __init__(self, num_envs: int) -> None:
        super().__init__(7)


class Continuous(Grids):
    single_action_space = spaces.Box(-1.0, 1.0, (2,))


class NoVector(gymnasium.Env[Any, Any]):
    num_envs = 2

    def __init__(self, num_envs: int) -> None:
        pass


class Faulty(Grids):
    """Its fault is in its fourth step."""

    def fault(self, step: tuple[Any, ...]) -> Any:
        raise ValueError("the simulator\nwent away")

    def step(self, actions: Any) -> Any:
        step = super().step(actions)
        return self.fault(step) if self.ages[1] == 4 else step


class NanReward(Faulty):
    def fault(self, step: tuple[Any, ...]) -> Any:
        return step[0], np.array([1.0, np.nan]), *step[2:]


class OneReward(Faulty):
    def fault(self, step: tuple[Any, ...]) -> Any:
        return step[0], 1.0, *step[2:]


class FourValues(Faulty):
    def fault(self, step: tuple[Any, ...]) -> Any:
        return step[:4]


class OtherShape(Faulty):
    def fault(self, step: tuple[Any, ...]) -> Any:
        return step[0][:, :4], *step[1:]


class Halves(Faulty):
    def fault(self, step: tuple[Any, ...]) -> Any:
        return step[0] / 2, *step[1:]


class EndsTwice(Faulty):
    def fault(self, step: tuple[Any, ...]) -> Any:
        return step[0], step[1], np.ones(2, np.bool_), *step[3:]


KINDS = (
    *(Grids, SameStep, Silent, Seven, Continuous, NoVector),
    *(Faulty, NanReward, OneReward, FourValues, OtherShape, Halves, EndsTwice),
)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    for kind in KINDS:
        gymnasium.register(f"{kind.__name__}-v0", vector_entry_point=kind)
    gymnasium.register("Carts-v0", vector_entry_point=_carts)
    yield
    for kind in KINDS:
        gymnasium.registry.pop(f"{kind.__name__}-v0")
    gymnasium.registry.pop("Carts-v0")


def _carts(num_envs: int, **keywords: Any) -> Any:
    """A factory in place of a class, as a user's wrappers would be."""
    return gymnasium.make_vec("CartPole-v1", num_envs, vectorization_mode="sync", **keywords)


def play(env: VectorEnv, actions: Any) -> list[Step]:
    steps = []
    for row in actions:
        env.send(np.array(row))
        steps.append(env.recv())
    return steps


def some_actions(steps: int, num_envs: int, count: int) -> Any:
    return np.random.default_rng(0).integers(0, count, (steps, num_envs))


def test_images_are_read_as_those_of_one_environment() -> None:
    env = make_env("Grids-v0", 3, seed=0)
    assert env.observation[:3] == ((2, 5, 6), "uint8", 1)
    assert env.num_actions == 3
    env.reset()
    (step,) = play(env, [[0, 1, 2]])
    assert step.obs[:, 1, 0, 0].tolist() == [255] * 3
    assert set(np.unique(step.obs)) == {0, 255}
    assert step.reward.tolist() == [1, 2, 3]  # actions begin at 1
    assert step.obs[:, 0].tolist() != play(env, [[0, 1, 2]])[0].obs[:, 0].tolist()
    assert step.obs[:, 1, 0, 0].tolist() == [255] * 3  # not the array that was overwritten


def test_rows_follow_each_other_as_the_interface_says() -> None:
    env = make_env("Grids-v0", 2, seed=0)
    env.reset()
    assert env.first.all()
    steps = play(env, [[2, 2]] * 6)
    assert [s.terminated.tolist() for s in steps[2:5]] == [[1, 0], [0, 0], [0, 0]]
    assert [s.truncated.tolist() for s in steps[2:5]] == [[0, 0], [0, 1], [0, 0]]
    assert [s.first.tolist() for s in steps[2:6]] == [[0, 0], [1, 0], [0, 1], [0, 0]]
    assert [s.reward.tolist() for s in steps[2:6]] == [[3, 3], [0, 3], [3, 0], [3, 3]]
    assert env.first.tolist() == steps[-1].first.tolist()


def test_keywords_reach_it_and_belong_to_its_state() -> None:
    env = make_env("Grids-v0", 2, seed=0, keywords={"bonus": 0.5})
    env.reset()
    assert play(env, [[0, 0]])[0].reward.tolist() == [1.5, 1.5]
    with pytest.raises(ValueError, match=r"the state is of .*bonus=0\.5.* this environment is"):
        make_env("Grids-v0", 2, seed=0).load_state_dict(env.state_dict())


@pytest.mark.parametrize(("name", "count"), [("Grids-v0", 3), ("Carts-v0", 2)])
def test_it_continues_bit_for_bit(name: str, count: int) -> None:
    actions = some_actions(60, 3, count)
    whole = make_env(name, 3, seed=1)
    whole.reset()
    steps = play(whole, actions)
    for until in (0, 1, 3, 4, 5, 31):
        stopped = make_env(name, 3, seed=1)
        stopped.reset()
        play(stopped, actions[:until])
        resumed = make_env(name, 3, seed=1)
        resumed.load_state_dict(stopped.state_dict())
        assert np.array_equal(resumed.obs, stopped.obs)
        assert np.array_equal(resumed.first, stopped.first)
        for a, b in zip(steps[until:], play(resumed, actions[until:]), strict=True):
            assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    other = make_env(name, 3, seed=2)
    other.reset()
    assert not np.array_equal(play(other, actions)[-1].obs, steps[-1].obs)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("SameStep-v0", "has the autoreset mode SameStep; only .* AutoresetMode.NEXT_STEP"),
        ("Silent-v0", "has the autoreset mode None;"),
        ("Seven-v0", "has 7 environments where 2 were asked for; .* num_envs"),
        ("Continuous-v0", "has actions Box.*choose an id with Discrete actions"),
        ("NoVector-v0", "its vector_entry_point gives NoVector; it must give a gymnasium.vector"),
    ],
)
def test_what_it_cannot_be_is_told_in_one_sentence(name: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        make_env(name, 2, seed=0)
    assert "\n" not in str(caught.value)


def test_a_keyword_that_it_does_not_take_is_named() -> None:
    with pytest.raises(UsageError, match=r"cannot make 'Grids-v0': TypeError.*'speed'"):
        make_env("Grids-v0", 2, seed=0, keywords={"speed": 3})


@pytest.mark.parametrize(
    ("name", "fault", "sentence"),
    [
        ("Faulty-v0", EnvironmentRaised, r"Faulty-v0 \(at step 4\) raised ValueError: the sim"),
        ("NanReward-v0", NotFiniteStep, r"\(environment 1, at step 4\) is nan"),
        ("OneReward-v0", BrokenInterface, r"reward is float64 of shape \(\); .* each of 2 env"),
        ("FourValues-v0", BrokenInterface, "asks for a tuple of 5 values"),
        ("OtherShape-v0", BrokenInterface, "observations do not fit their space"),
        ("Halves-v0", BrokenInterface, "do not fit bool"),
        ("EndsTwice-v0", BrokenInterface, "ended an episode that it had just reset"),
    ],
)
def test_a_fault_names_its_step_and_the_state_before_it_can_be_saved(
    name: str, fault: type[Exception], sentence: str
) -> None:
    env = make_env(name, 2, seed=0)
    env.reset()
    play(env, [[0, 0]] * 3)
    before = env.obs.copy()
    with pytest.raises(fault, match=sentence):
        play(env, [[0, 0]])
    resumed = make_env(name, 2, seed=0)
    resumed.load_state_dict(env.state_dict())
    assert np.array_equal(resumed.obs, before)
