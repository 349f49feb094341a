"""Which runs may stand in one comparison: they differ in what is compared, and in nothing else."""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from wnrl.config import Config
from wnrl.errors import UsageError
from wnrl.grid import compared, describe_differences, differences

_OF_ONE_RUN = ("seed", "run_dir")


def check_comparable(
    runs: Sequence[tuple[Path, Config]], swept: Iterable[str], *, same_threads: bool = True
) -> None:
    """Refuse runs that differ in more than what is compared.

    Args:
        runs: folders and their configurations.
        swept: settings that are compared beside environment, normalization and seed.
        same_threads: refuse another number of threads too. It changes what is learnt by rounding
            alone, but what a run costs: one for all while a choice is left, any once they are done.

    Raises:
        UsageError: two do, which it names with the difference; or two are one and the same.
    """
    swept = tuple(swept)

    def differing(first: Config, second: Config) -> dict[str, tuple[Any, Any]]:
        found = differences(first, second, swept)
        if not same_threads:
            found.pop("threads", None)
        return found

    at: dict[Path, Config] = {}
    kinds: dict[frozenset[tuple[str, Any]], tuple[Path, Config]] = {}  # one run of all seeds
    for folder, config in runs:
        if found := differing(at.setdefault(folder, config), config):
            raise UsageError(
                f"{folder} holds a run with other settings than asked for now: "
                f"{describe_differences(found)}; give another --out"
            )
        but_seed = {name: x for name, x in config.values.items() if name not in _OF_ONE_RUN}
        kinds.setdefault(frozenset(but_seed.items()), (folder, config))
    for (a, first), (b, second) in itertools.combinations(kinds.values(), 2):
        if found := differing(first, second):
            names = "" if found.keys() & {"agent", "steps", "threads"} else " ".join(found)
            hint = f"; if that is what is compared, give --sweep {names}" if names else ""
            raise UsageError(
                f"{a} and {b} differ in more than environment, normalization"
                f"{''.join(f', {name}' for name in swept)} and seed: "
                f"{describe_differences(found)}{hint}; or keep them in folders of their own"
            )
    seen: dict[tuple[Any, ...], Path] = {}
    for folder, config in runs:
        what = (*compared(config, swept).items(), config.run.seed)
        if (other := seen.setdefault(what, folder)) != folder:
            raise UsageError(
                f"{other} and {folder} are both {config.run.env} with norm {config.run.norm} and "
                f"seed {config.run.seed}, which would count twice: keep one of them"
            )
