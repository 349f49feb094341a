"""scripts/parity/sb3_norms.py: its models, the stock policy, its table and the page about it."""

import csv
import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from script_modules import load_script
from torch import nn

sb3_norms = load_script("parity/sb3_norms.py")
with_sb3 = load_script("parity/with_sb3.py")
ROOT = Path(__file__).parents[2]
SHORT = {
    name: dataclasses.replace(problem, steps=600) for name, problem in sb3_norms.PROBLEMS.items()
}


@pytest.mark.parametrize("name", SHORT)
def test_a_policy_has_the_normalization_in_its_first_layer(name: str) -> None:
    if "minatar" in name:
        pytest.importorskip("minatar")
    kinds = {
        norm: [type(part) for part in SHORT[name].model(norm, seed=1).policy.modules()]
        for norm in ("none", "layer")
    }
    assert nn.LayerNorm not in kinds["none"]
    first = nn.Conv2d if "minatar" in name else nn.Linear
    layers = kinds["layer"]
    assert layers.index(first) < layers.index(nn.LayerNorm) < layers.index(nn.ReLU)


def test_none_is_the_stock_policy() -> None:
    problem = SHORT["ppo-cartpole"]
    stock = with_sb3.CASES["ppo"].sb3("CartPole-v1", 600, 1, with_sb3.stock("CartPole-v1"))
    _, theirs = with_sb3.learn(stock, 600)
    _, ours = problem.train("none", seed=1)
    np.testing.assert_array_equal(ours, theirs)
    assert len(ours) > 5
    _, other = problem.train("layer", seed=1)
    assert list(other) != list(ours)


def test_a_normalization_is_a_side_and_a_repeated_command_adds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sb3_norms, "PROBLEMS", SHORT)
    table = tmp_path / "norms.csv"
    asked = ["--task", "ppo-cartpole", "--norm", "layer", "weight", "--seeds", "2"]
    monkeypatch.setattr("sys.argv", ["sb3_norms.py", "--csv", str(table), *asked])
    sb3_norms.main()
    lines = capsys.readouterr().out.splitlines()[-2:]
    named = [f"| ppo | CartPole-v1 | {norm}, none |" for norm in ("layer", "weight")]
    assert [line.startswith(name) for line, name in zip(lines, named, strict=True)] == [True, True]
    assert all(line.endswith("| 2, 2 |") for line in lines)
    written = table.read_text()
    sides = [(row["side"], row["seed"]) for row in csv.DictReader(written.splitlines())]
    assert sides == [(norm, seed) for seed in "12" for norm in ("none", "layer", "weight")]
    sb3_norms.main()
    assert table.read_text() == written


def test_the_page_has_the_verdicts_of_the_table() -> None:
    with (ROOT / "scripts" / "results" / "sb3_norms.csv").open() as file:
        verdicts = sb3_norms.verdicts(list(csv.DictReader(file)), peer="none")
    words = {"better": "**better**", "worse": "**worse**", "within_margin": "within the margin"}
    measured = {}
    for pair, (claim, *_) in verdicts:
        interval, word = pair.difference.interval(), claim.name.lower()
        ends = map(round, (interval.value, interval.low, interval.high))
        measured[f"{pair.agent} {pair.env}".lower(), pair.side] = (*ends, words.get(word, word))
    page = (ROOT / "docs" / "sb3_which.md").read_text()
    header, *rows = [line.strip("| ").split(" | ") for line in page.splitlines() if "| " in line]
    sides = [name.strip("`") for name in header[2:]]
    said = {}
    for task, _, *cells in rows:
        agent, env, _ = task.split(", ", 2)
        for side, cell in zip(sides, cells, strict=True):
            ends = [int(number) for number in re.findall(r"[+-]?\d+", cell.split(": ")[1])]
            said[f"{agent} {env}".lower(), side] = (*ends, cell.rpartition(", ")[2])
    assert said == measured
    assert len(said) >= 9
