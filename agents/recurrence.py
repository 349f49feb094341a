"""What acting remembers between steps: nothing, or the state of a recurrent network.

An agent calls its network through a memory, and reads the same with and without recurrence.

Dimension key: N environments, H units of the recurrent layer.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from wnrl.nn.weight_norm.lstm import State


class Memory(Protocol):
    """One state per environment, forgotten where an episode begins."""

    @property
    def state(self) -> State | None:
        """What is remembered before the next step; None where nothing ever is."""
        ...

    def step(self, network: nn.Module, obs: Tensor, first: Tensor) -> Any:
        """The network's output (N, ...) on obs (N, ...), first (N,) bool; remembers the step."""
        ...

    def peek(self, network: nn.Module, obs: Tensor, first: Tensor) -> Any:
        """The same output; the step is not remembered."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What is remembered."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember what was taken."""
        ...


class NoMemory:
    """Every observation by itself."""

    state = None

    def __init__(self, network: nn.Module, num_envs: int) -> None:
        pass

    def step(self, network: nn.Module, obs: Tensor, first: Tensor) -> Any:
        """The network's output on obs."""
        return network(obs)

    def peek(self, network: nn.Module, obs: Tensor, first: Tensor) -> Any:
        """The same."""
        return network(obs)

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing."""


class LSTMMemory:
    """The state (h, c) of a network with `unroll`, before the next step.

    Attributes:
        state: h (1, N, H) and c (1, N, H), never written in place: whoever keeps one keeps it.
    """

    def __init__(self, network: nn.Module, num_envs: int) -> None:
        self.state: State = network.initial_state(num_envs)  # type: ignore[operator]

    def step(self, network: nn.Module, obs: Tensor, first: Tensor) -> Any:
        """The network's output (N, ...); the state moves one step on."""
        output, self.state = self._unrolled(network, obs, first)
        return output

    def peek(self, network: nn.Module, obs: Tensor, first: Tensor) -> Any:
        """The network's output (N, ...); the state stays."""
        return self._unrolled(network, obs, first)[0]

    def _unrolled(self, network: nn.Module, obs: Tensor, first: Tensor) -> tuple[Any, State]:
        output, state = network.unroll(obs[None], first[None], self.state)  # type: ignore[operator]
        return first_step(output), state

    def state_dict(self) -> dict[str, Any]:
        """h and c."""
        return {"h": self.state[0], "c": self.state[1]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from h and c."""
        h, c = self.state
        if state["h"].shape != h.shape:
            raise ValueError(f"the state is {tuple(state['h'].shape)}, expected {tuple(h.shape)}")
        self.state = (state["h"].to(h), state["c"].to(c))


def first_step(output: Any) -> Any:
    """The output at the first of T steps: of a tensor (T, N, ...), or of each in a named tuple."""
    if isinstance(output, Tensor):
        return output[0]
    return type(output)(*(x[0] for x in output))


Remember = Callable[[nn.Module, int], Memory]  # (network, N)
