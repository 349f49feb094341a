"""Break lines that guard a promise, one at a time, and see which tests notice.

    python scripts/mutants.py [--only NAME ...] [--jobs 2]

`mutants.toml` lists each line with how it is broken and the tests that should notice. Every mutant
runs in a copy of the tree. Prints a line for each, and exits with 1 if one goes unnoticed.
"""

import argparse
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_name("mutants.toml")
LIMIT_S = 900.0


class Mutant(NamedTuple):
    """A line that guards a promise, and how it is broken."""

    name: str
    file: str
    old: str  # occurs once in the file
    new: str
    tests: list[str]  # arguments of pytest

    @property
    def fits(self) -> bool:
        """Return whether the line is still there, once."""
        return (ROOT / self.file).read_text().count(self.old) == 1


def read_mutants() -> list[Mutant]:
    """Read the list."""
    return [Mutant(**entry) for entry in tomllib.loads(LIST.read_text())["mutant"]]


def noticed_by(mutant: Mutant) -> str:
    """Run a mutant's tests on it; return the first test that fails, empty if none does."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        tree = Path(folder) / "tree"
        ignored = shutil.ignore_patterns(".*cache*", "__pycache__", "*.egg-info", "runs", "build")
        shutil.copytree(ROOT, tree, symlinks=True, ignore=ignored)
        source = tree / mutant.file
        source.write_text(source.read_text().replace(mutant.old, mutant.new))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider"]
        try:
            done = subprocess.run(
                [*command, *mutant.tests],
                cwd=tree,
                env={**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "a test that hangs"
    if done.returncode not in (0, 1):
        sys.exit(f"{mutant.name}: pytest ended with {done.returncode}\n{done.stdout[-2_000:]}")
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0].split(" ")[1] if failed else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mutants and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], help="names of mutants")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time [default 2]")
    given = parser.parse_args(arguments)
    mutants = [x for x in read_mutants() if not given.only or x.name in given.only]
    gone = [mutant.name for mutant in mutants if not mutant.fits]
    if gone:
        print(f"the lines of these mutants have changed: {', '.join(gone)}")
        return 2
    unnoticed = 0
    with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
        for mutant, test in zip(mutants, pool.map(noticed_by, mutants), strict=True):
            print(f"{mutant.name}: {f'noticed by {test}' if test else 'UNNOTICED'}", flush=True)
            unnoticed += not test
    print(f"{len(mutants) - unnoticed} of {len(mutants)} were noticed")
    return int(unnoticed > 0)


if __name__ == "__main__":
    sys.exit(main())
