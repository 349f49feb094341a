"""Published scores to hold one's own against: same game, same protocol, same number of frames."""

from typing import NamedTuple


class Reference(NamedTuple):
    """A published score."""

    algorithm: str  # as its source calls it
    score: float  # raw mean return
    frames: int  # emulator frames of training
    runs: int | None  # seeds
    source: str  # where it stands
    protocol: str  # in the source's words


def reference_scores(env: str, *, agent: str, protocol: str, frames: int) -> tuple[Reference, ...]:
    """The published scores of a game that a run of this length may be held against."""
    raise NotImplementedError
