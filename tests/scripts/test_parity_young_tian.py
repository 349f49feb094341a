"""scripts/parity/with_young_tian.py with a stand-in for their program, which is under the GPL."""

import csv
from pathlib import Path

import pytest
from script_modules import load_script

pytest.importorskip("minatar")
young_tian = load_script("parity/with_young_tian.py")
ROOT = Path(__file__).parents[2]

STAND_IN = """
import torch
from minatar import Environment

NUM_FRAMES, STEP_SIZE = 5_000_000, 0.1

def dqn(env, replay_off, target_off, output, step_size):
    ends, returns, total, step = [], [], 0.0, 0
    env.reset()
    while step < NUM_FRAMES:
        reward, ended = env.act(step % env.num_actions())
        total, step = total + reward, step + 1
        if ended:
            ends.append(step)
            returns.append(total)
            total = 0.0
            env.reset()
    torch.save({"returns": returns, "frame_stamps": ends}, output + "_data_and_weights")
"""


@pytest.mark.slow
def test_both_sides_train_and_a_repeated_command_adds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, table = tmp_path / "dqn.py", tmp_path / "rows.csv"
    program.write_text(STAND_IN)
    arguments = ["--program", str(program), "--csv", str(table), "--game", "Breakout"]
    arguments += ["--steps", "5500", "--seeds", "1"]
    monkeypatch.setattr("sys.argv", ["with_young_tian.py", *arguments])
    young_tian.main()
    written = table.read_text()
    runs = list(csv.DictReader(written.splitlines()))
    assert [run["side"] for run in runs] == ["theirs", "wnrl"]
    assert all(run["env"] == "MinAtar/Breakout-v0" for run in runs)
    assert all(int(run["episodes"]) > 100 for run in runs)
    young_tian.main()
    assert table.read_text() == written


def test_the_page_has_the_table_of_the_rows() -> None:
    with (ROOT / "scripts" / "results" / "minatar_dqn_young_tian.csv").open() as file:
        verdicts = young_tian.verdicts(list(csv.DictReader(file)), peer="theirs")
    page = (ROOT / "docs" / "reproducing.md").read_text()
    assert len(verdicts) == len(young_tian.GAMES)
    assert "\n".join(young_tian.table(verdicts)) in page


def test_a_seed_repeats_their_games(tmp_path: Path) -> None:
    program = tmp_path / "dqn.py"
    program.write_text(STAND_IN)
    module = young_tian.load(program)
    ends, returns = young_tian.train_theirs(module, "SpaceInvaders", 400, 1)
    again = young_tian.train_theirs(module, "SpaceInvaders", 400, 1)
    assert len(ends) > 1
    assert (ends.tolist(), returns.tolist()) == (again[0].tolist(), again[1].tolist())
    assert ends.tolist() != young_tian.train_theirs(module, "SpaceInvaders", 400, 2)[0].tolist()
