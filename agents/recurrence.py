"""State that acting keeps between steps: none, or that of a recurrent network.

An agent calls its network through a memory, so its code is the same with and without recurrence.

Dimension key: N environments, H units of the LSTM.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from torch import Tensor, nn

from wnrl.nn.networks.recurrent import Recurrent
from wnrl.nn.weight_norm.lstm import State


class Memory(Protocol):
    """One state per environment, set to zero where an episode begins."""

    @property
    def state(self) -> State | None:
        """State before the next step; None without recurrence."""
        ...

    def step(self, network: nn.Module, obs: Tensor, first: Tensor) -> Any:
        """Return the network's output (N, ...) on obs (N, ...), first (N,); advance the state."""
        ...

    def peek(self, network: nn.Module, obs: Tensor, first: Tensor) -> Any:
        """Return the same output and leave the state as it is."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state by name."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where the state was taken."""
        ...


class NoMemory:
    """Memory of a network that takes every observation by itself."""

    state = None

    def __init__(self, network: nn.Module, num_envs: int) -> None:
        pass

    def step(self, network: nn.Module, obs: Tensor, first: Tensor) -> Any:
        """Return the network's output on obs."""
        return network(obs)

    def peek(self, network: nn.Module, obs: Tensor, first: Tensor) -> Any:
        """Return the network's output on obs."""
        return network(obs)

    def state_dict(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""


class LSTMMemory:
    """The state (h, c) of a network with `unroll`.

    Attributes:
        state: h (1, N, H) and c (1, N, H) before the next step. They are never written in place,
            so a reference to them stays valid.
    """

    def __init__(self, network: nn.Module, num_envs: int) -> None:
        self.state: State = cast(Recurrent[Any], network).initial_state(num_envs)

    def step(self, network: nn.Module, obs: Tensor, first: Tensor) -> Any:
        """Return the network's output (N, ...) and advance the state."""
        output, self.state = self._unrolled(network, obs, first)
        return output

    def peek(self, network: nn.Module, obs: Tensor, first: Tensor) -> Any:
        """Return the network's output (N, ...) and leave the state as it is."""
        return self._unrolled(network, obs, first)[0]

    def _unrolled(self, network: nn.Module, obs: Tensor, first: Tensor) -> tuple[Any, State]:
        unroll = cast(Recurrent[Any], network).unroll
        output, state = unroll(obs[None], first[None], self.state)
        return each_tensor(output, lambda x: x[0]), state  # (1, N, ...) -> (N, ...)

    def state_dict(self) -> dict[str, Any]:
        """Return h and c."""
        return {"h": self.state[0], "c": self.state[1]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from h and c.

        Raises:
            ValueError: their shape is not that of this network and number of environments.
        """
        h, c = self.state
        if state["h"].shape != h.shape:
            raise ValueError(f"the state is {tuple(state['h'].shape)}, expected {tuple(h.shape)}")
        self.state = (state["h"].to(h), state["c"].to(c))


def each_tensor(output: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Change a network's output: a tensor, or each tensor in a named tuple."""
    if isinstance(output, Tensor):
        return change(output)
    return type(output)(*(change(x) for x in output))


MakeMemory = Callable[[nn.Module, int], Memory]  # (network, N)
