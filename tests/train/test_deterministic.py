"""--deterministic: every agent trains with torch's deterministic algorithms alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from wnrl.train import command


@pytest.fixture
def as_before() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize("agent", [["dqn"], ["dqn", "--recurrent"], ["ppo"], ["a2c"], ["pqn"]])
def test_every_agent_trains_with_deterministic_algorithms_alone(
    agent: list[str], tmp_path: Path
) -> None:
    warmup = ["--warmup-steps=50"] if agent[0] == "dqn" else ["--rollout-steps=16"]
    flags = ["--env=toy/Catch", "--no-calibrate", "--eval-every-steps=0", "--steps=200"]
    code = command.main(
        ["--deterministic", "--agent", *agent, *warmup, *flags, f"--run-dir={tmp_path}"]
    )
    assert code == 0
    assert torch.are_deterministic_algorithms_enabled()


def test_without_the_flag_torch_chooses(tmp_path: Path) -> None:
    flags = ["--env=toy/Catch", "--no-calibrate", "--steps=20", f"--run-dir={tmp_path}"]
    assert command.main(flags) == 0
    assert not torch.are_deterministic_algorithms_enabled()
