"""An environment that its seed does not repeat is told from one that it does."""

from collections.abc import Iterator

import faulty_envs
import pytest

from wnrl.envs.registered.gymnasium_env import GymnasiumEnvs
from wnrl.train.faults.repeat_check import repeats


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    with faulty_envs.registered():
        yield


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CartPole-v1", True),
        ("Plain-v0", True),
        ("Restless-v0", False),
        ("RaisesAtReset-v0", True),  # for the run to report
    ],
)
def test_only_a_function_of_seed_and_actions_repeats(name: str, expected: bool) -> None:
    assert repeats(lambda: GymnasiumEnvs(name, 2, seed=3)) is expected
