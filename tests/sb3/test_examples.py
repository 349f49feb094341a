"""The examples for Stable-Baselines3 in README.md and docs/ run as they are, but short."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHORT = {
    "10_000_000": "256",
    "learn(100_000)": "learn(256)",
    "100_000": "1_000",
    "learn(": "learn(log_interval=1, total_timesteps=",
}
LINES = 10


def _examples() -> dict[str, str]:
    """Return the examples by page and algorithm."""
    examples = {}
    for page in ("README.md", "docs/sb3.md", "docs/sb3_which.md"):
        text = (ROOT / page).read_text()
        for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
            if algorithm := re.search("import (DQN|PPO|A2C)", block):
                examples[f"{page} {algorithm[1]}"] = block
    return examples


def test_there_is_an_example_of_each_algorithm_in_under_ten_lines() -> None:
    examples = _examples()
    pages = {"README.md PPO", "docs/sb3_which.md PPO"}
    assert set(examples) == pages | {f"docs/sb3.md {x}" for x in ("DQN", "PPO", "A2C")}
    assert all(len(example.splitlines()) < LINES for example in examples.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", list(_examples()))
def test_the_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example = _examples()[name]
    for long, short in SHORT.items():
        example = example.replace(long, short)
    names: dict[str, object] = {}
    exec(example, names)
    model = names["model"]
    assert model.num_timesteps >= 160  # type: ignore[attr-defined]  # an algorithm
    model.env.close()  # type: ignore[attr-defined]
    logged = list(tmp_path.glob("runs/sb3/*/events.out.tfevents.*"))
    assert len(logged) == ("tensorboard_log" in example)
