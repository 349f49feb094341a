"""Faulty environments: each fault is one sentence that names the environment and the step."""

from collections.abc import Iterator

import faulty_envs
import numpy as np
import pytest
import torch

from wnrl._settings import UsageError
from wnrl.envs.guarded_env import (
    BrokenInterface,
    EnvironmentFault,
    EnvironmentRaised,
    NotFiniteStep,
)
from wnrl.envs.gymnasium_env import GymnasiumEnvs
from wnrl.envs.vector import Step

STEP_OF = "(environment 0, at step {} of its episode)"


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    with faulty_envs.registered():
        yield


def play(name: str, steps: int, num_envs: int = 1) -> tuple[GymnasiumEnvs, list[Step]]:
    env = GymnasiumEnvs(f"{name}-v0", num_envs, seed=0)
    env.reset()
    played = []
    for _ in range(steps):
        env.send(np.zeros(num_envs, np.int64))
        played.append(env.recv())
    return env, played


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("NanObservation", NotFiniteStep, "the observation of NanObservation-v0 (environment 0, at "
         "step 5 of its episode) is nan at position 1; it must be finite"),
        ("NanReward", NotFiniteStep, "the reward of NanReward-v0 (environment 0, at step 5 of its "
         "episode) is nan; it must be finite"),
        ("InfiniteReward", NotFiniteStep, "is -inf; it must be finite"),
        ("PairReward", BrokenInterface, "PairReward-v0 (environment 0, at step 1 of its episode): "
         "the reward is an array of shape (2,) and type float64; it must be one number"),
        ("TextReward", BrokenInterface, "the reward is a value of type str; it must be one number"),
        ("WrongShape", BrokenInterface, "WrongShape-v0 (environment 0, at its reset): an "
         "observation does not fit its space Box(-1.0, 1.0, (3,), float32): its shape is (1, 3)"),
        ("NoObservation", BrokenInterface, "an observation does not fit its space"),
        ("OldReset", BrokenInterface, "reset() returned an array of shape (3,) and type float32; "
         "Gymnasium's reset(seed=..., options=...) returns (observation, info)"),
        ("OldStep", BrokenInterface, "step() returned a tuple of 4 values; Gymnasium's "
         "step(action) returns (observation, reward, terminated, truncated, info)"),
        ("OddFlag", BrokenInterface, "terminated is a value of type str; it must be True or False"),
        ("RaisesAtReset", EnvironmentRaised, "reset() of RaisesAtReset-v0 (environment 0, at its "
         "reset) raised OSError: no such level"),
        ("Raises", EnvironmentRaised, "step() of Raises-v0 (environment 0, at step 4 of its "
         "episode) raised ZeroDivisionError: the simulator"),
    ],
)  # fmt: skip
def test_a_fault_names_the_environment_the_step_and_what_came(
    name: str, kind: type[EnvironmentFault], message: str
) -> None:
    with pytest.raises(kind) as fault:
        play(name, 100)
    assert message in str(fault.value)


def test_what_an_environment_raised_is_the_cause() -> None:
    with pytest.raises(EnvironmentRaised) as fault:
        play("Raises", 100)
    assert isinstance(fault.value.__cause__, ZeroDivisionError)


def test_an_environment_whose_reset_takes_no_seed_is_refused_before_it_runs() -> None:
    with pytest.raises(UsageError, match=r"reset of NoSeed-v0 takes no seed.*seed=None"):
        GymnasiumEnvs("NoSeed-v0", 1, seed=0)


def test_a_finite_reward_is_taken_however_large() -> None:
    _, steps = play("HugeReward", 12)
    assert all(np.isfinite(step.reward).all() for step in steps)
    assert steps[0].reward[0] == np.finfo(np.float32).max


def test_a_reward_in_an_array_of_one_is_a_number() -> None:
    assert play("ArrayReward", 1)[1][0].reward.tolist() == [2.0]


def test_flags_may_be_numpys_or_numbers() -> None:
    steps = play("NumberFlags", 10)[1]
    assert [bool(step.terminated[0]) for step in steps] == [False] * 9 + [True]


def test_the_state_after_a_fault_is_that_before_the_step_for_every_environment() -> None:
    env = GymnasiumEnvs("Raises-v0", 3, seed=0)
    env.reset()
    states = []

    def play_on() -> None:
        for _ in range(200):
            states.append(env.state_dict())
            env.send(np.zeros(3, np.int64))
            env.recv()

    with pytest.raises(EnvironmentRaised):
        play_on()
    before, after = states[-1], env.state_dict()
    for name in ("episodes", "first", "ended", "checksums"):
        assert after[name] == before[name]
    pairs = zip(after["actions"], before["actions"], strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
