"""The episodes of a run: episodes.csv, and the means over the newest ones."""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from wnrl.envs.vector import Episode
from wnrl.train.storage.csv_log import EPISODES, HEADERS, WRAPS, CsvLog


class RecentEpisodes:
    """The newest episodes of a run; SB3 logs their means as `rollout/ep_rew_mean` and so on."""

    def __init__(self, size: int = 100) -> None:
        """Start without episodes.

        Args:
            size: number of episodes in the means (SB3's stats_window_size: 100).
        """
        self._returns: deque[float] = deque(maxlen=size)
        self._lengths: deque[int] = deque(maxlen=size)

    def __len__(self) -> int:
        """Return the number of episodes in the means."""
        return len(self._returns)

    def add(self, episode: Episode) -> None:
        """Count an episode; the oldest one beyond `size` is forgotten."""
        self._returns.append(episode.raw_return)
        self._lengths.append(episode.length_steps)

    @property
    def mean_return(self) -> float | None:
        """Mean raw return; None before the first episode."""
        return math.fsum(self._returns) / len(self) if self._returns else None

    @property
    def mean_length_steps(self) -> float | None:
        """Mean length in agent steps; None before the first episode."""
        return sum(self._lengths) / len(self) if self._lengths else None

    def state_dict(self) -> dict[str, Any]:
        """Return returns and lengths, oldest first."""
        return {"returns": list(self._returns), "lengths": list(self._lengths)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state's episodes."""
        self._returns = deque(state["returns"], self._returns.maxlen)
        self._lengths = deque(state["lengths"], self._lengths.maxlen)


class EpisodeLog:
    """episodes.csv: a row per finished episode, with the training time."""

    def __init__(
        self,
        path: Path,
        *,
        resume: bool = False,
        wall_time: bool = True,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the file, or open it to continue once `load_state_dict` has been called.

        Args:
            path: the file, in a folder that exists.
            resume: whether the run resumes.
            wall_time: False writes 0 in place of the time, so that files can be compared.
            now: a clock that never runs backwards, in s.

        Raises:
            UsageError: the file exists already (`resume` False) or is missing (True).
        """
        self.table = CsvLog(path, HEADERS[EPISODES], resume=resume)
        self._has_wraps = not resume or _has_wraps(path)
        self._wall_time = wall_time
        self._now = now
        self._start_s = now()
        self._earlier_s = 0.0  # training time of the parts before this one

    @property
    def wall_time_s(self) -> float:
        """Training time since the run's first start, summed over its resumed parts."""
        return self._earlier_s + self._now() - self._start_s if self._wall_time else 0.0

    def write(self, agent_step: int, episode: Episode) -> None:
        """Append an episode.

        Args:
            agent_step: agent steps done when it ended.
            episode: the finished episode.
        """
        wall_time = f"{self.wall_time_s:.3f}" if self._wall_time else "0"
        wraps = [episode.wraps] if self._has_wraps else []
        self.table.write(
            agent_step, episode.env, episode.raw_return, episode.length_steps, wall_time, *wraps
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the table's length and the training time."""
        return {**self.table.state_dict(), "wall_time_s": self.wall_time_s}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Cut the file back to its length at the checkpoint; UsageError if it is shorter."""
        self.table.load_state_dict(state)
        self._earlier_s = state["wall_time_s"]
        self._start_s = self._now()


def _has_wraps(path: Path) -> bool:
    """Return whether a table that exists has the column of the newest version."""
    with path.open("rb") as file:
        return WRAPS.encode() in file.readline(len(HEADERS[EPISODES]))
