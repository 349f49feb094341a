"""The examples of the README's section on Stable-Baselines3, run as they stand but short."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
SHORT = {
    "10_000_000": "256",
    "100_000": "1_000",
    "learn(": "learn(log_interval=1, total_timesteps=",
}


def _examples() -> dict[str, str]:
    section = README.read_text().split("### Stable-Baselines3\n")[1].split("\n### ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    return {re.findall(r"import (DQN|PPO|A2C)", block)[0]: block for block in blocks}


def test_there_is_an_example_of_each_algorithm_in_under_ten_lines() -> None:
    examples = _examples()
    assert set(examples) == {"DQN", "PPO", "A2C"}
    assert all(len(example.splitlines()) < 10 for example in examples.values())


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["DQN", "PPO", "A2C"])
def test_the_example_runs(algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example = _examples()[algorithm]
    for long, short in SHORT.items():
        example = example.replace(long, short)
    names: dict[str, object] = {}
    exec(example, names)
    model = names["model"]
    assert model.num_timesteps >= 160  # type: ignore[attr-defined]  # an algorithm
    model.env.close()  # type: ignore[attr-defined]
    logged = list(tmp_path.glob("runs/sb3/*/events.out.tfevents.*"))
    assert len(logged) == (algorithm != "A2C")
