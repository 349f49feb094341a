"""Counters accumulated between readings; reset only once a reading has been logged.

If several readings are made before one is logged, only the newest is logged. The counts of the
others go to the next one.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from wnrl.instruments.formulas import sign_flips


class Counters:
    """Numbers of updates, of updates with a clipped gradient, and of gains that changed sign."""

    def __init__(self) -> None:
        self._updates = 0
        self._clipped: Tensor | float = 0.0  # updates with a clipped gradient
        self._flips: dict[str, Tensor | int] = {}  # sign changes of each weight's gains
        self._signs: dict[str, Tensor] = {}  # signs of the gains at the last reading
        self._reported: tuple[int, Tensor | float] = (0, 0.0)  # updates, clipped in that reading

    def update(self, clipped: Tensor) -> None:
        """Count one update, and () whether its gradient was clipped."""
        self._updates += 1
        self._clipped = self._clipped + clipped

    def clipped_share(self) -> Tensor | float:
        """Report the share of updates with a clipped gradient to a reading."""
        self._reported = (self._updates, self._clipped)
        return self._clipped / self._updates

    def flips(self, name: str, gain: Tensor) -> Tensor:
        """Report to a reading how many of a weight's gains (O,) changed their sign."""
        since = sign_flips(self._signs.get(name, gain).to(gain), gain)
        self._flips[name] = flips = since + self._flips.get(name, 0)
        self._signs[name] = gain.sign()
        return flips

    def subtract_reported(self) -> None:
        """Subtract what the last reading reported, because it has been logged."""
        updates, clipped = self._reported
        self._updates, self._clipped = self._updates - updates, self._clipped - clipped
        self._reported = (0, 0.0)
        self._flips.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return all counts that have not been logged."""
        return {
            "unread_updates": self._updates,
            "clipped": float(self._clipped),
            "flips": {name: int(flips) for name, flips in self._flips.items()},
            "signs": dict(self._signs),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the counts; those of a reading that was not logged go to the next one."""
        self._updates = state["unread_updates"]
        self._clipped = state["clipped"]
        self._flips = dict(state.get("flips", {}))  # missing in old checkpoints
        self._signs = dict(state["signs"])
        self._reported = (0, 0.0)
