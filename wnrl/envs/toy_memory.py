"""A toy that only a policy with memory can play: a cue, a delay, a question.

Dimension key: N environments.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from wnrl.envs.seeding import integer_seed
from wnrl.envs.toy_base import Integers, Outcome, Toy
from wnrl.envs.vector import Flags, Observations, ObservationSpec


class Memory(Toy):
    """Show one of two cues in the first observation, then blanks, then a query: name the cue.

    The float32 observation (3,) is (cue 0, cue 1, query). One cue is 1 in an episode's first
    observation, the query is 1 in the one before the last, and all else is 0. The action on the
    query earns 1 if it names the cue and -1 if not; other actions earn nothing. An episode has 5 to
    7 steps, and the last one answers the query.

    The cues are equally probable. So the mean return of any policy that sees only the newest
    observation is 0.

    Source: bsuite, environments/memory_chain.py with one bit (memory_len, Osband et al. 2020,
    arXiv 1908.03568); the T-maze of Bakker 2001 (NIPS 14) without its corridor.
    """

    CUES = 2
    SHORTEST_STEPS, LONGEST_STEPS = 5, 7

    def __init__(self, num_envs: int, seed: int) -> None:
        super().__init__(num_envs, seed, self.CUES, ObservationSpec((self.CUES + 1,), "float32", 1))
        self._cue: Integers = np.zeros(num_envs, np.int64)
        self._length: Integers = np.full(num_envs, self.SHORTEST_STEPS)

    def _begin(self, which: Flags) -> None:
        lengths = self.LONGEST_STEPS - self.SHORTEST_STEPS + 1
        for env in np.flatnonzero(which).tolist():
            drawn = integer_seed(self._seed, "environment", env, int(self._episode[env]))
            self._cue[env] = drawn % self.CUES
            self._length[env] = self.SHORTEST_STEPS + drawn // self.CUES % lengths

    def _advance(self) -> Outcome:
        answered = self._t == self._length
        right = np.where(self._sent == self._cue, 1.0, -1.0)
        nothing = np.zeros(self.num_envs, np.bool_)
        return Outcome(
            np.where(answered, right, 0.0).astype(np.float32), answered, nothing, nothing
        )

    def _frames(self) -> Observations:
        frames = np.zeros((self.num_envs, self.CUES + 1), np.float32)
        begun = self._t == 0
        frames[begun, self._cue[begun]] = 1.0
        frames[self._t == self._length - 1, self.CUES] = 1.0
        return frames

    def _moving(self) -> dict[str, npt.NDArray[Any]]:
        return {**super()._moving(), "cue": self._cue, "length": self._length}
