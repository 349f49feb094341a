"""Odd environments: each fault is one sentence with what Gymnasium asks for; the rest is taken."""

import fractions
from collections.abc import Callable
from typing import Any, NamedTuple

import faulty_envs
import gymnasium
import numpy as np
import pytest
import torch
from faulty_envs import Plain
from gymnasium import spaces

from wnrl._settings import UsageError
from wnrl.envs.guard.guarded_env import (
    BrokenInterface,
    EnvironmentFault,
    EnvironmentRaised,
    GuardedEnv,
    NotFiniteStep,
)
from wnrl.envs.registered.gymnasium_env import GymnasiumEnvs
from wnrl.envs.vector import Step

RESET = "; Gymnasium's reset(seed=..., options=...) returns (observation, info)"
STEP = "; Gymnasium's step(action) returns (observation, reward, terminated, truncated, info)"
BYTES = spaces.Box(0, 255, (3,), np.uint8)
PARTS = spaces.Dict({"goal": spaces.Box(-1, 1, (2, 3)), "left": spaces.Discrete(4)})


class Odd(NamedTuple):
    """An environment with what a run of it leads to."""

    name: str
    changes: dict[str, Any]  # methods and attributes in place of those of `Plain`
    message: str = ""  # part of the one that is expected; X is the environment at the fault
    fault: type[Exception] = BrokenInterface
    options: dict[str, Any] = {}  # noqa: RUF012  # of `gymnasium.register`
    at: str = "at its reset"


def returns(value: Any) -> Callable[..., Any]:
    """Return a method that returns a value."""
    return lambda *_, **__: value


def sees(space: gymnasium.Space[Any], value: Any) -> dict[str, Any]:
    """Return changes that give an environment one observation."""
    return {"observation_space": space, "look": returns(value)}


def step_of(number: int) -> str:
    return f"at step {number} of its episode"


def raises(error: BaseException) -> Callable[..., Any]:
    """Return a method that raises an error."""

    def method(*_: Any, **__: Any) -> Any:
        raise error

    return method


class Untold(Exception):
    """An error whose text cannot be made."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def play(name: str, steps: int, num_envs: int = 1) -> list[Step]:
    env = GymnasiumEnvs(f"{name}-v0", num_envs, seed=0)
    env.reset()
    played = []
    for _ in range(steps):
        env.send(np.zeros(num_envs, np.int64))
        played.append(env.recv())
    env.close()
    return played


def played(odd: Odd, steps: int = 25) -> list[Step]:
    kind = type(odd.name, (Plain,), odd.changes)
    with faulty_envs.registered({odd.name: kind}, **odd.options):
        return play(odd.name, steps)


LIMIT = {"max_episode_steps": 5}  # Gymnasium's TimeLimit is around the environment
AT_FIRST = step_of(1)
FAULTS = [
    Odd("NanSeen", sees(spaces.Box(-1, 1, (3,)), np.float32([0, np.nan, 0])),
        "the observation of X is nan at position 1; it must be finite in float32", NotFiniteStep),
    Odd("HugeSeen", sees(spaces.Box(-np.inf, np.inf, (1,), np.float64), np.array([-1e300])),
        "the observation of X is -inf at position 0; it must be finite in", NotFiniteStep),
    Odd("NanReward", {"reward": returns(np.nan)},
        "the reward of X is nan; it must be finite", NotFiniteStep, at=AT_FIRST),
    Odd("InfiniteReward", {"reward": returns(np.float64("-inf"))},
        "the reward of X is -inf; it must be finite", NotFiniteStep, at=AT_FIRST),
    Odd("EndlessReward", {"reward": returns(10**400)},
        "the reward of X is inf; it must be finite", NotFiniteStep, at=AT_FIRST),
    Odd("PairReward", {"reward": returns(np.array([1.0, 2.0]))},
        "X: the reward is an array of shape (2,) and type float64; it must be one number",
        at=AT_FIRST),
    Odd("ListReward", {"reward": returns([1.0])},
        "X: the reward is a list of 1 values; it must be one number", at=AT_FIRST),
    Odd("TextReward", {"reward": returns("1.0")},
        "X: the reward is '1.0'; it must be one number", at=AT_FIRST),
    Odd("NoReward", {"reward": returns(None)},
        "X: the reward is None; it must be one number", at=AT_FIRST),
    Odd("ComplexReward", {"reward": returns(1j)},
        "X: the reward is 1j; it must be one number", at=AT_FIRST),
    Odd("TensorReward", {"reward": returns(torch.ones(2))},
        "X: the reward is a value of type Tensor; it must be one number", at=AT_FIRST),
    Odd("WrongShape", {"look": returns(np.zeros((1, 3), np.float32))},
        "X: an observation does not fit its space Box(-1.0, 1.0, (3,), float32): its shape is "
        "(1, 3)"),
    Odd("ChangingShape", {"look": lambda self: np.zeros(4 if self.steps == 3 else 3)},
        "X: an observation does not fit its space Box(-1.0, 1.0, (3,), float32): its shape is "
        "(4,)", at=step_of(3)),
    Odd("OneNumberSeen", {"look": returns(0.5)}, "float32): it is 0.5"),
    Odd("NothingSeen", {"look": returns(None)}, "float32): it is None"),
    Odd("WordSeen", {"look": returns("up")}, "float32): it is 'up'"),
    Odd("TextSeen", {"look": returns(["1", "2", "3"])}, "float32): its type is <U1"),
    Odd("RaggedSeen", {"look": returns([[1], [1, 2], 3])}, "inhomogeneous shape"),
    Odd("TensorWithGradient", {"look": returns(torch.ones(3, requires_grad=True))},
        "Can't call numpy() on Tensor that requires grad"),
    Odd("FractionsInBytes", sees(BYTES, np.float32([0.2, 0.7, 1.0])),
        "X: an observation does not fit its space Box(0, 255, (3,), uint8): its numbers are of "
        "type float32 and do not fit uint8"),
    Odd("NegativeBytes", sees(BYTES, np.array([0, -1, 1])), "type int64 and do not fit uint8"),
    Odd("NanInBytes", sees(BYTES, np.array([0, np.nan, 1])), "type float64 and do not fit uint8"),
    Odd("BeforeTheFirst", sees(spaces.Discrete(5), -1),
        "X: an observation does not fit its space Discrete(5): -1 is outside"),
    Odd("BehindTheLast", sees(spaces.Discrete(5, start=2), np.int64(7)), "start=2): 7 is outside"),
    Odd("HalfAPlace", sees(spaces.Discrete(5), 0.5), "type float64 and do not fit int64"),
    Odd("TwoPlaces", sees(spaces.Discrete(5), [1, 2]), "Discrete(5): its shape is (2,)"),
    Odd("OutsideOfMany", sees(spaces.MultiDiscrete([3, 3]), np.array([2, 3])),
        "MultiDiscrete([3 3]): [2, 3] is outside"),
    Odd("NotBinary", sees(spaces.MultiBinary(2), np.array([0, 2])),
        "MultiBinary(2): [0, 2] is outside"),
    Odd("PartMissing", sees(PARTS, {"goal": np.zeros((2, 3))}), "it has no 'left'"),
    Odd("PartMisshapen", sees(PARTS, {"goal": np.zeros(6), "left": 0}), "its shape is (6,)"),
    Odd("NoParts", sees(PARTS, np.zeros(10)), "it is no dict"),
    Odd("ShortTuple", sees(spaces.Tuple([spaces.Discrete(2)] * 2), (1,)), "no tuple of 2 parts"),
    Odd("OldReset", {"reset": lambda self, seed=None, options=None: np.zeros(3)},
        f"X: reset() returned an array of shape (3,) and type float64{RESET}"),
    Odd("OldResetOfAPair", {**sees(spaces.Tuple([spaces.Discrete(2)] * 2), (0, 1)),
        "reset": lambda self, seed=None, options=None: (0, 1)},
        "X: info is 1; it must be a dict"),
    Odd("ResetWithoutResult", {"reset": lambda self, seed=None, options=None: None},
        f"X: reset() returned None{RESET}"),
    Odd("NoInfo", {"info": returns(None)}, "X: info is None; it must be a dict"),
    Odd("ListInfo", {"info": lambda self: [] if self.steps else {}},
        "X: info is a list of 0 values; it must be a dict", at=AT_FIRST),
    Odd("OldStep", {"step": returns((np.zeros(3), 1.0, False, {}))},
        f"X: step() returned a tuple of 4 values{STEP}", at=AT_FIRST),
    Odd("OldStepWithALimit", {"step": returns((np.zeros(3), 1.0, False, {}))},
        "X: step() returned no such tuple (ValueError: not enough values to unpack (expected 5, "
        f"got 4)){STEP}", options=LIMIT, at=AT_FIRST),
    Odd("StepWithoutResult", {"step": returns(None)}, f"X: step() returned None{STEP}",
        at=AT_FIRST),
    Odd("StepWithoutResultAndALimit", {"step": returns(None)},
        "X: step() returned no such tuple (TypeError: cannot unpack non-iterable NoneType object)"
        f"{STEP}", options=LIMIT, at=AT_FIRST),
    Odd("LongStep", {"step": returns((np.zeros(3), 1.0, False, False, {}, {}))},
        f"X: step() returned a tuple of 6 values{STEP}", at=AT_FIRST),
    Odd("TextFlag", {"terminated": returns("no")},
        "X: terminated is 'no'; it must be True or False", at=AT_FIRST),
    Odd("NoFlag", {"truncated": returns(None)},
        "X: truncated is None; it must be True or False", at=AT_FIRST),
    Odd("CountAsFlag", {"terminated": returns(2)},
        "X: terminated is 2; it must be True or False", at=AT_FIRST),
    Odd("FractionAsFlag", {"terminated": returns(0.0)},
        "X: terminated is 0.0; it must be True or False", at=AT_FIRST),
    Odd("TwoFlags", {"terminated": returns(np.array([True, False]))},
        "X: terminated is an array of shape (2,) and type bool; it must be", at=AT_FIRST),
    Odd("RaggedFlag", {"terminated": returns([[1], [1, 2]])},
        "X: terminated is a list of 2 values; it must be True or False", at=AT_FIRST),
    Odd("RaisesAtReset", {"reset": raises(OSError("no such level"))},
        "reset() of X raised OSError: no such level", EnvironmentRaised),
    Odd("Raises", {"reward": lambda self: 1 / (self.steps - 4)},
        "step() of X raised ZeroDivisionError: ", EnvironmentRaised, at=step_of(4)),
    Odd("RaisesAboutUnpacking", {"reward": raises(ValueError("cannot unpack the box"))},
        "step() of X raised ValueError: cannot unpack the box", EnvironmentRaised, at=AT_FIRST),
    Odd("RaisesWithoutText", {"reward": raises(Untold())},
        "step() of X raised Untold: its message cannot be shown", EnvironmentRaised, at=AT_FIRST),
    Odd("Exits", {"reward": raises(SystemExit(0))},
        "step() of X raised SystemExit: 0", EnvironmentRaised, at=AT_FIRST),
]  # fmt: skip


@pytest.mark.parametrize("odd", FAULTS, ids=lambda odd: odd.name)
def test_a_fault_names_the_environment_the_step_and_what_came(odd: Odd) -> None:
    with pytest.raises(EnvironmentFault) as fault:
        played(odd)
    assert type(fault.value) is odd.fault
    where = f"{odd.name}-v0 (environment 0, {odd.at})"
    assert odd.message.replace("X", where) in str(fault.value)


class TakesNoSeed(gymnasium.Wrapper[Any, Any, Any, Any]):
    def reset(self) -> Any:  # type: ignore[override]
        return self.env.reset()


class OwnSpace(gymnasium.Space[Any]):
    def __repr__(self) -> str:
        return "OwnSpace()"


SPACE = "; Gymnasium asks for one of gymnasium.spaces"
SEED = "; Gymnasium asks for reset(self, *, seed=None, options=None)"
REFUSED = [
    ("RaisesWhenMade", {"__init__": raises(OSError("no licence"))},
     "cannot make 'RaisesWhenMade-v0': OSError: no licence"),
    ("ExitsWhenMade", {"__init__": raises(SystemExit("no display"))},
     "cannot make 'ExitsWhenMade-v0': SystemExit: no display"),
    ("NeedsASize", {"__init__": lambda self, size: None},
     "cannot make 'NeedsASize-v0': TypeError: "),
    ("NoObservationSpace", {"observation_space": None},
     f"observation_space of NoObservationSpace-v0 is None{SPACE}"),
    ("ShapeAsSpace", {"observation_space": (3,)},
     f"observation_space of ShapeAsSpace-v0 is a tuple of 1 values{SPACE}"),
    ("NumberAsSpace", {"action_space": 2}, f"action_space of NumberAsSpace-v0 is 2{SPACE}"),
    ("RaisesInSpace", {"action_space": property(raises(OSError("no such file")))},
     "action_space of RaisesInSpace-v0 raised OSError: no such file"),
    ("OwnSpaceSeen", {"observation_space": OwnSpace()},
     "OwnSpaceSeen-v0 has observations OwnSpace(), a class of its own; use one of gymnasium.spac"),
    ("NoNumbers", {"observation_space": spaces.Box(0, 1, (0,))}, "which hold no number"),
    ("SequenceSeen", {"observation_space": spaces.Sequence(spaces.Discrete(2))},
     "whose size varies; choose an id with observations of a fixed size"),
    ("ContinuousActions", {"action_space": spaces.Box(-1, 1)}, "; choose an id with Discrete"),
    ("SeveralActions", {"action_space": spaces.MultiDiscrete([2, 2])}, "; choose an id with Disc"),
    ("NoSeed", {"reset": lambda self: None}, f"reset of NoSeed-v0 takes no seed, with which an ep"
     f"isode is repeated{SEED}"),
    ("SeedByPosition", {"reset": lambda self, seed=None, /, options=None: None},
     f"reset of SeedByPosition-v0 takes no seed, with which an episode is repeated{SEED}"),
    ("NoOptions", {"reset": lambda self, seed=None: None}, "reset of NoOptions-v0 takes no opti"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changes", "message"), REFUSED, ids=[x[0] for x in REFUSED])
def test_what_can_be_seen_before_a_run_is_refused_before_it(
    name: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as refusal:
        played(Odd(name, changes))
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("entry_point", "message"),
    [
        (dict, "TypeError: The environment must inherit from the gymnasium.Env class"),
        ("no_such_module:Env", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("faulty_envs:Nothing", "AttributeError: module 'faulty_envs' has no attribute 'Nothing'"),
        (lambda: TakesNoSeed(Plain()), "reset of Made-v0 takes no seed"),
    ],
)
def test_what_cannot_be_made_is_refused(entry_point: Any, message: str) -> None:
    with faulty_envs.registered({"Made": entry_point}), pytest.raises(UsageError) as refusal:
        play("Made", 1)
    assert message in str(refusal.value)


TAKEN_REWARDS = {
    "ArrayReward": (np.array([2.0]), 2.0),
    "NumpyReward": (np.float16(2.0), 2.0),
    "WholeReward": (2, 2.0),
    "SwitchReward": (True, 1.0),
    "FractionReward": (fractions.Fraction(1, 2), 0.5),
    "TensorReward": (torch.tensor(2.0), 2.0),
    "HugeReward": (-1e300, -np.finfo(np.float32).max),
}


@pytest.mark.parametrize("name", TAKEN_REWARDS)
def test_one_finite_number_is_a_reward_whatever_its_type(name: str) -> None:
    reward, expected = TAKEN_REWARDS[name]
    assert played(Odd(name, {"reward": returns(reward)}), 1)[0].reward.tolist() == [expected]


TAKEN_OBSERVATIONS = [
    (spaces.Box(-1, 1, (3,)), [0.5, 0, 1], [0.5, 0, 1]),
    (spaces.Box(-1, 1, (3,)), np.array([0.5, 0, 1]), [0.5, 0, 1]),
    (spaces.Box(-1, 1, (3,)), np.array([0.5, 0, 1], object), [0.5, 0, 1]),
    (spaces.Box(-1, 1, (3,)), torch.tensor([0.5, 0, 1]), [0.5, 0, 1]),
    (spaces.Box(-1, 1, (3,)), [7.0, -7.0, 0.0], [7, -7, 0]),  # outside of its bounds
    (spaces.Box(-1, 1, ()), 0.5, [0.5]),
    (spaces.Box(0, 1, (1, 2)), [[0.5, 1]], [0.5, 1]),
    (BYTES, [1, 2, 255], [1, 2, 255]),
    (spaces.Box(-9, 9, (2,), np.int64), np.float64([-9, 9]), [-9, 9]),
    (spaces.Box(0, 1, (2,), np.bool_), [1, 0], [1, 0]),
    (spaces.Discrete(3, start=-1), np.array([1]), [0, 0, 1]),
    (spaces.Discrete(3), 1.0, [0, 1, 0]),
    (spaces.MultiDiscrete([2, 3]), [1, 2], [0, 1, 0, 0, 1]),
    (spaces.MultiBinary(3), [True, False, True], [1, 0, 1]),
    (spaces.Tuple([spaces.Discrete(2), spaces.Box(-1, 1)]), [1, [0.5]], [0, 1, 0.5]),
    (PARTS, {"goal": np.ones((2, 3)), "left": 3, "more": 0}, [1] * 6 + [0, 0, 0, 1]),
]


@pytest.mark.parametrize(("space", "value", "expected"), TAKEN_OBSERVATIONS)
def test_the_same_numbers_are_an_observation_whatever_their_type(
    space: gymnasium.Space[Any], value: Any, expected: list[float]
) -> None:
    (step,) = played(Odd("Seen", sees(space, value)), 1)
    assert step.obs.dtype == (np.uint8 if space is BYTES else np.float32)
    assert step.obs.reshape(1, -1).tolist() == [expected]


@pytest.mark.parametrize("kind", [bool, np.bool_, int, np.int64, lambda x: np.array([x])])
def test_flags_may_be_numpys_or_numbers(kind: Callable[[bool], Any]) -> None:
    steps = played(Odd("Flags", {"terminated": lambda self: kind(self.steps == 4)}), 4)
    assert [step.terminated.tolist() for step in steps] == [[False]] * 3 + [[True]]


def test_an_array_that_the_environment_changes_in_place_is_a_new_row_each_time() -> None:
    array = np.zeros(3, np.float32)

    def look(self: Plain) -> np.ndarray:
        array[:] = self.steps
        return array

    env_steps = played(Odd("SameArray", {"look": look}), 12)
    array[:] = -1
    assert [step.obs[0, 0] for step in env_steps] == [*range(1, 11), 0, 1]


def test_a_guarded_environment_returns_a_copy() -> None:
    array = np.zeros(3, np.float32)
    env = GuardedEnv(type("SameArray", (Plain,), {"look": returns(array)})(), "SameArray-v0", 0)
    first, (second, *_) = env.reset(0), env.step(0)
    array[:] = 1
    assert first.tolist() == second.tolist() == [0, 0, 0]


def test_no_action_is_taken_after_an_end_or_before_a_reset() -> None:
    class Strict(Plain):
        ended = True

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            self.ended = False
            return super().reset(seed=seed)

        def step(self, action: Any) -> Any:
            assert not self.ended
            self.ended = True
            return self.look(), 1.0, True, False, {}

    with faulty_envs.registered({"Strict": Strict}):
        ends = [bool(step.terminated[0]) for step in play("Strict", 6)]
    assert ends == [True, False] * 3


def test_an_action_has_the_type_that_its_space_samples() -> None:
    samples = spaces.Discrete(2, start=-1).sample()

    def step(self: Plain, action: Any) -> Any:
        return self.look(), action.item(), type(action) is not type(samples), False, {}

    changes = {"step": step, "action_space": spaces.Discrete(2, start=-1)}
    (only,) = played(Odd("Items", changes), 1)
    assert only.reward.tolist() == [-1.0]
    assert only.terminated.tolist() == [False]


def test_a_space_of_one_action_is_played() -> None:
    assert len(played(Odd("OneAction", {"action_space": spaces.Discrete(1)}))) == 25


def test_an_environment_that_cannot_be_closed_is_left() -> None:
    played(Odd("NeverCloses", {"close": raises(OSError("busy"))}), 1)


def test_what_an_environment_raised_is_the_cause() -> None:
    with pytest.raises(EnvironmentRaised) as fault:
        played(Odd("Raises", {"reward": raises(ZeroDivisionError())}))
    assert isinstance(fault.value.__cause__, ZeroDivisionError)


def test_the_state_after_a_fault_is_that_before_the_step_for_every_environment() -> None:
    states = []

    def play_on() -> None:
        for _ in range(200):
            states.append(env.state_dict())
            env.send(np.zeros(3, np.int64))
            env.recv()

    with faulty_envs.registered():
        env = GymnasiumEnvs("Raises-v0", 3, seed=0)
        env.reset()
        with pytest.raises(EnvironmentRaised):
            play_on()
    before, after = states[-1], env.state_dict()
    for name in ("episodes", "first", "ended", "checksums"):
        assert after[name] == before[name]
    pairs = zip(after["actions"], before["actions"], strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
