"""What `--tune` chose: one value of each tuned setting for each normalization."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from wnrl._settings import flag_name
from wnrl.report.number_format import counted, listed
from wnrl.report.run_result import TUNING

FIRST_SEED = 1_001  # of the runs that choose; those that judge have lower numbers

_NAME = re.compile(r"[a-z][a-z0-9_.]*")


@dataclass(frozen=True)
class TunedRecord:
    """The tuning of a comparison, as compare.json keeps it."""

    tried: dict[str, list[str]]  # values by setting
    envs: list[str]  # games over which the values were chosen
    seeds: int  # per combination, numbered from `FIRST_SEED`
    steps: int  # agent steps of each run
    chosen: dict[str, dict[str, str]]  # values by normalization and setting

    def __post_init__(self) -> None:
        """Raise ValueError if a file holds what no tuning chooses."""
        settings = {*self.tried, *(name for values in self.chosen.values() for name in values)}
        if self.seeds < 1 or not all(map(_NAME.fullmatch, settings)):
            raise ValueError("tuned: this cannot be a choice")

    def same_plan(self, other: "TunedRecord") -> bool:
        """Return whether both choose from the same values with the same runs."""
        plans = [(x.tried, sorted(x.envs), x.seeds, x.steps) for x in (self, other)]
        return plans[0] == plans[1]


def plan_text(record: TunedRecord) -> str:
    """Return the flags that planned a tuning, for messages."""
    values = " ".join(f"{flag_name(name)}={','.join(x)}" for name, x in record.tried.items())
    return f"--tune {values} --tune-seeds {record.seeds}"


def chosen_text(chosen: Mapping[str, Mapping[str, str]]) -> str:
    """Return `none with --learning-rate 0.001 and weight with --learning-rate 0.003`."""
    return listed([f"{norm} with {_flags(values)}" for norm, values in chosen.items()])


def _flags(values: Mapping[str, str]) -> str:
    flags = [f"--{flag_name(name)} {value}" for name, value in values.items()]
    return " ".join(flags) if flags else "its defaults"


def tuned_sentence(record: TunedRecord, norms: Sequence[str]) -> str:
    """Return which values a comparison was made with, and that its verdicts did not choose them.

    Args:
        record: the choice.
        norms: normalizations of the comparison.
    """
    chosen = {norm: record.chosen[norm] for norm in norms if norm in record.chosen}
    tried = listed([f"--{flag_name(name)} {', '.join(x)}" for name, x in record.tried.items()])
    last = FIRST_SEED + record.seeds - 1
    numbers = f"{FIRST_SEED} to {last}" if record.seeds > 1 else str(FIRST_SEED)
    over = f" over {counted(len(record.envs), 'game')}" if len(record.envs) > 1 else ""
    return (
        f"Each normalization was tuned{over} on {counted(record.seeds, 'seed')} ({numbers}) over "
        f"{tried}; the best were {chosen_text(chosen)}. The verdicts use other seeds, which the "
        f"tuning did not see. All tuning results: {TUNING}/report.html."
        f"{''.join(_ends(record, chosen))}"
    )


def _ends(record: TunedRecord, chosen: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Yield a sentence for each end of the tried values that was chosen."""
    for name, texts in record.tried.items():
        try:
            tried = sorted(float(text) for text in texts)
        except ValueError:  # words have no ends
            continue
        for word, end in (("lowest", tried[0]), ("highest", tried[-1])):
            norms = [norm for norm, x in chosen.items() if name in x and float(x[name]) == end]
            if norms and tried[0] < tried[-1]:
                yield (
                    f" For {listed(norms)}, the chosen --{flag_name(name)} is the {word} one that "
                    "was tried; a better one may lie beyond."
                )
