"""What the instruments count between readings, kept until a reading that tells it was taken.

When several readings come before anybody looks, only the newest is seen. What was counted for the
others must not be lost with them.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from wnrl.instruments.formulas import sign_flips


class Counts:
    """Updates, how many had a clipped gradient, and gains that changed their sign."""

    def __init__(self) -> None:
        self._updates = 0
        self._clipped: Tensor | float = 0.0  # how many of them
        self._flips: dict[str, Tensor | int] = {}  # of each weight's gains, from reading to reading
        self._signs: dict[str, Tensor] = {}  # of the gains at the last reading, taken or not
        self._told: tuple[int, Tensor | float] = (0, 0.0)  # updates and clipped of that reading

    def update(self, clipped: Tensor) -> None:
        """One more; () whether its gradient was clipped."""
        self._updates += 1
        self._clipped = self._clipped + clipped

    def clipped_share(self) -> Tensor | float:
        """Tell a reading the share of updates with a clipped gradient."""
        self._told = (self._updates, self._clipped)
        return self._clipped / self._updates

    def flips(self, name: str, gain: Tensor) -> Tensor:
        """Tell a reading how many of a weight's gains (O,) changed their sign."""
        since = sign_flips(self._signs.get(name, gain).to(gain), gain)
        self._flips[name] = flips = since + self._flips.get(name, 0)
        self._signs[name] = gain.sign()
        return flips

    def taken(self) -> None:
        """The last reading was taken: what it told counts no more, what came after it does."""
        updates, clipped = self._told
        self._updates, self._clipped = self._updates - updates, self._clipped - clipped
        self._told = (0, 0.0)
        self._flips.clear()

    def state_dict(self) -> dict[str, Any]:
        """All that was not taken."""
        return {
            "unread_updates": self._updates,
            "clipped": float(self._clipped),
            "flips": {name: int(flips) for name, flips in self._flips.items()},
            "signs": dict(self._signs),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue; a reading that was not taken is gone, and its counts go to the next one."""
        self._updates = state["unread_updates"]
        self._clipped = state["clipped"]
        self._flips = dict(state.get("flips", {}))  # none in a run from before they were kept
        self._signs = dict(state["signs"])
        self._told = (0, 0.0)
