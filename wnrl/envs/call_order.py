"""Checks of an environment's calls: their order, the actions that they pass, and that they return.

On a call out of order or an action out of range, the ALE's vector environment waits forever inside
C++, where Ctrl-C does not arrive. So every environment checks both first.
"""

import contextlib
from collections.abc import Iterator
from enum import Enum

import numpy as np

from wnrl.envs.vector import Actions, Flags, Observations, Recording


class Heartbeat:
    """A count that grows while this process gets on; a watchdog reads it.

    Every call of an environment that returns is a beat, in training, in an evaluation and while a
    checkpoint's episodes are played again; so is every update.
    """

    def __init__(self) -> None:
        self.count = 0
        self.expected = True

    def beat(self) -> None:
        """Count one; a few nanoseconds."""
        self.count += 1

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Expect no beat inside the context, which reads, writes or builds, and steps nothing."""
        self.expected = False
        try:
            yield
        finally:
            self.expected = True


HEARTBEAT = Heartbeat()


class _State(Enum):
    NEW = "reset() or load_state_dict() comes first"
    READY = "send() comes first"
    SENT = "recv() comes first"
    CLOSED = "the environment is closed"


class CallOrder:
    """The allowed order: reset or load, then send and recv alternately, until close."""

    def __init__(self) -> None:
        self._state = _State.NEW

    def start(self) -> None:
        """Record a reset or a load; RuntimeError while a step is outstanding or after close."""
        self._refuse("reset() or load_state_dict()", _State.SENT, _State.CLOSED)
        self._state = _State.READY

    def send(self) -> None:
        """Record a send; RuntimeError unless the environment waits for actions."""
        self.look("send()")
        self._state = _State.SENT

    def receive(self) -> None:
        """Record a recv; RuntimeError unless a send came before."""
        HEARTBEAT.beat()
        self._refuse("recv()", _State.NEW, _State.READY, _State.CLOSED)
        self._state = _State.READY

    def look(self, call: str) -> None:
        """Raise RuntimeError unless the environment is between two steps."""
        self._refuse(call, _State.NEW, _State.SENT, _State.CLOSED)

    def look_at_newest(self, call: str) -> None:
        """Raise RuntimeError unless there is a newest observation; a step may be outstanding."""
        self._refuse(call, _State.NEW, _State.CLOSED)

    def close(self) -> None:
        """Record the close; may be repeated."""
        self._state = _State.CLOSED

    def _refuse(self, call: str, *states: _State) -> None:
        if self._state in states:
            raise RuntimeError(f"{call} out of turn: {self._state.value}")


def check_actions(actions: Actions, num_envs: int, num_actions: int) -> Actions:
    """Return a copy of actions (N,) as int64, after checking type, shape and range.

    Raises:
        ValueError: a wrong type, shape or value; the message says what is allowed.
    """
    if not isinstance(actions, np.ndarray) or actions.dtype.kind not in "iu":
        kind = actions.dtype if isinstance(actions, np.ndarray) else type(actions).__name__
        raise ValueError(f"actions must be an integer array, got {kind}")
    if actions.shape != (num_envs,):
        raise ValueError(f"actions must have shape {(num_envs,)}, got {actions.shape}")
    outside = np.flatnonzero((actions < 0) | (actions >= num_actions))
    if outside.size:
        env = int(outside[0])
        raise ValueError(
            f"actions must be in [0, {num_actions}), got {int(actions[env])} for environment {env}"
        )
    return actions.astype(np.int64, copy=True)


def check_num_envs(num_envs: int) -> int:
    """Return `num_envs`. ValueError unless it is a positive integer."""
    if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
        raise ValueError(f"num_envs must be a positive integer, got {num_envs!r}")
    return num_envs


def check_identity(saved: object, own: object) -> None:
    """Raise ValueError unless a saved state is of the environment that is to load it."""
    if saved != own:
        raise ValueError(f"the state is of {saved}, this environment is {own}")


class SteppedEnv:
    """Base of environments that step in `recv`: what they are asked before and after it."""

    num_envs: int
    num_actions: int
    _order: CallOrder
    _obs: Observations  # (N, *shape)
    _first: Flags  # (N,)
    _sent: Actions  # (N,)

    @property
    def obs(self) -> Observations:
        """The newest observations (N, *shape)."""
        self._order.look_at_newest("obs")
        return self._obs

    @property
    def first(self) -> Flags:
        """Flags (N,): whether each newest observation is its episode's first."""
        self._order.look_at_newest("first")
        return self._first.copy()

    def send(self, actions: Actions) -> None:
        """Keep actions (N,) in [0, num_actions) for `recv`."""
        sent = check_actions(actions, self.num_envs, self.num_actions)
        self._order.send()
        self._sent = sent

    @property
    def records(self) -> bool:
        """Whether `recording` shows episodes as people see them: no."""
        return False

    def recording(self, env: int) -> Recording:
        """Return the newest episode of one environment, if `records`."""
        raise NotImplementedError(f"{type(self).__name__} has pictures of its observations alone")
