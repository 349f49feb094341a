"""The contest with CleanRL: what it takes from CleanRL's script, here one that learns nothing."""

import sys
from pathlib import Path

import pytest
from script_modules import load_script

from wnrl._settings import UsageError

pytest.importorskip("stable_baselines3")
bench_peers = load_script("bench/peers.py")


def test_the_turn_is_what_the_script_printed_last(tmp_path: Path) -> None:
    script = tmp_path / "pqn_atari_envpool.py"
    script.write_text(
        "import sys, torch\n"
        "assert sys.argv[1:] == ['--no-cuda', '--total-timesteps', '4096'], sys.argv\n"
        "assert torch.get_num_threads() == 3\n"
        "print('SPS: 80')\nprint('global_step=9, episodic_return=SPS: 5')\nprint('SPS: 128')\n"
    )
    turn = bench_peers.cleanrl_turn(sys.executable, script, 4_096, 3)
    assert (turn.steps, turn.rate) == (4_096, 128)


@pytest.mark.parametrize("text", ["raise ImportError('no envpool')", "print('SPS: 0')"])
def test_a_script_that_fails_is_one_line(text: str, tmp_path: Path) -> None:
    script = tmp_path / "pqn_atari_envpool.py"
    script.write_text(text)
    with pytest.raises(UsageError, match=r"no envpool|printed no speed") as error:
        bench_peers.cleanrl_turn(sys.executable, script, 4_096, 1)
    assert "\n" not in str(error.value)


def test_a_folder_without_the_script_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no pqn_atari_envpool\.py"):
        bench_peers.main(["--cleanrl", str(tmp_path), "--python", sys.executable])
