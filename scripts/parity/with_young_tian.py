"""Train DQN on MinAtar with Young & Tian's own program and with wnrl, and compare the returns.

    git clone https://github.com/kenjyoung/MinAtar
    python scripts/parity/with_young_tian.py --program MinAtar/examples/dqn.py --csv FILE
        [--game Asterix ...] [--steps 200_000] [--seeds 3]

Both have the settings of their paper, all six actions, and one thread; the number of steps is ours,
since the paper's five million take hours. Each run is one row of the CSV file, and a repeated
command does what is missing. At the end it prints a table with each game's difference of the mean
final returns, its interval and a verdict.
"""

import argparse
import importlib.util
import itertools
import random
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from contest import Episodes, Task, table, train_missing, train_wnrl, verdicts

GAMES = ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")


def load(program: Path) -> ModuleType:
    """Return Young & Tian's program as a module."""
    spec = importlib.util.spec_from_file_location("young_tian_dqn", program)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def train_theirs(program: ModuleType, game: str, steps: int, seed: int) -> Episodes:
    """Train with their program, all of whose random numbers are seeded."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the generator that their program and the games use
    name = "space_invaders" if game == "SpaceInvaders" else game.lower()
    environment = program.Environment(name)
    environment.seed(seed)
    program.NUM_FRAMES = steps
    with tempfile.TemporaryDirectory() as folder:
        program.dqn(environment, False, False, f"{folder}/run", step_size=program.STEP_SIZE)
        saved = torch.load(f"{folder}/run_data_and_weights", weights_only=False)
    return np.array(saved["frame_stamps"], np.float64), np.array(saved["returns"], np.float64)


def train_ours(game: str, steps: int, seed: int) -> Episodes:
    """Train with wnrl's defaults on MinAtar."""
    return train_wnrl(env=f"MinAtar/{game}-v0", agent="dqn", seed=seed, steps=steps)


def main() -> None:
    """Train what the file lacks, every game of a seed before the next seed; print the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, required=True, help="their examples/dqn.py")
    parser.add_argument("--csv", type=Path, required=True, help="file of the runs' scores")
    parser.add_argument("--game", nargs="+", choices=GAMES, default=list(GAMES), help="games")
    parser.add_argument("--steps", type=int, default=200_000, help="agent steps of a run")
    parser.add_argument("--seeds", type=int, default=3, help="seeds, numbered from 1")
    given = parser.parse_args()
    program = load(given.program)
    sides: dict[str, Callable[[str, int, int], Episodes]] = {
        "theirs": partial(train_theirs, program),
        "wnrl": train_ours,
    }
    tasks = (
        Task(
            "dqn",
            f"MinAtar/{game}-v0",
            side,
            seed,
            given.steps,
            partial(sides[side], game, given.steps, seed),
        )
        for seed, game, side in itertools.product(range(1, given.seeds + 1), given.game, sides)
    )
    for line in table(verdicts(train_missing(tasks, given.csv), peer="theirs")):
        print(line)


if __name__ == "__main__":
    main()
