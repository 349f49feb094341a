"""A rollout in minibatches: rows shuffled, or whole sequences for a recurrent network.

Dimension key: T steps, N environments, B rows of a minibatch.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from wnrl.nn.weight_norm.lstm import State
from wnrl.rl.rollout import RolloutBatch, shuffled


class Minibatch(NamedTuple):
    """Rows to learn from, and how a network sees them."""

    rows: RolloutBatch  # (B, ...)
    output: Callable[[nn.Module], Any]  # network -> its output (B, ...) at rows.obs


# (rollout (T, N, ...), the state that it began with, how many, generator) -> minibatches
Minibatches = Callable[[RolloutBatch, State | None, int, np.random.Generator], Iterator[Minibatch]]


def shuffled_rows(
    rollout: RolloutBatch, began: State | None, parts: int, generator: np.random.Generator
) -> Iterator[Minibatch]:
    """All rows once, in random order, each by itself."""
    flat = rollout.flat()  # (T, N, ...) -> (T N, ...)
    for index in shuffled(len(flat.action), parts, generator):
        rows = flat.take(index.to(flat.action.device))
        yield Minibatch(rows, lambda network, obs=rows.obs: network(obs))  # type: ignore[misc]


def shuffled_sequences(
    rollout: RolloutBatch, began: State | None, parts: int, generator: np.random.Generator
) -> Iterator[Minibatch]:
    """All environments once, in random order, each with its T rows and the state before them."""
    assert began is not None, "a recurrent network has a state"
    for index in shuffled(rollout.action.shape[1], parts, generator):
        envs = index.to(rollout.action.device)
        rows = rollout.envs(envs)  # (T, n, ...)
        state = (began[0][:, envs], began[1][:, envs])
        yield Minibatch(rows.flat(), _unrolling(rows, state))


def _unrolling(rows: RolloutBatch, state: State) -> Callable[[nn.Module], Any]:
    def output(network: nn.Module) -> Any:
        seen, _ = network.unroll(rows.obs, rows.first, state)  # type: ignore[operator]
        if isinstance(seen, Tensor):
            return seen.flatten(0, 1)
        return type(seen)(*(x.flatten(0, 1) for x in seen))  # (T, n, ...) -> (T n, ...)

    return output
