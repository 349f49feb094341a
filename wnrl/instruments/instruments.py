"""The instruments of a run: every N updates, measure what the normalization does to the network.

`Instruments` is an agent's `UpdateObserver`. It only reads: the weights of a run do not depend on
it, bit for bit. The formulas are in `formulas`.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wnrl.instruments.activations import (
    Activity,
    LayerActivity,
    activity,
    keeps_statistics,
    same_modes,
    statistics_gaps,
)
from wnrl.instruments.counters import Counters
from wnrl.instruments.formulas import (
    DORMANT_TAUS,
    Moments,
    dormant_fraction,
    dormant_scores,
    effective_rank,
    policy_churn,
    relative_gradient,
    row_angles,
    row_cosines,
    shift,
    singular_values,
    srank,
    stretch,
)
from wnrl.instruments.weight_rows import layer_weights, weight_vectors
from wnrl.nn.networks.heads import PolicyValue
from wnrl.optim.step import StepOptimizer

Reading = dict[str, Tensor | float]
STATES = 128  # states from the last batches on which activations, ranks and churn are measured
_GAIN_QUANTILES = {"g_05": 0.05, "g_50": 0.5, "g_95": 0.95}


def greedy_actions(output: Any) -> Tensor | None:
    """Return greedy actions (B,) of values (B, A) or of a policy; None for other outputs."""
    output = output.logits if isinstance(output, PolicyValue) else output
    return output.argmax(dim=1) if isinstance(output, Tensor) and output.ndim == 2 else None


class Instruments:
    """Makes a reading around every N-th update, and a first one early in the run to compare with.

    Between readings it counts clipped gradients, one small operation per update. If several
    readings are made before one is popped, the newest is kept, with the counts of all.

    The tags of a reading's scalars are `norm/<instrument>[/<layer>]` and `time/instruments_share`,
    the share of CPU time since the last reading that this reading took (a GPU is not awaited).
    Tensors stay on their device until they are logged.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: StepOptimizer,
        every_updates: int,
        *,
        max_grad_norm: float = math.inf,
        actions: Callable[[Any], Tensor | None] = greedy_actions,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Prepare to read a network.

        Args:
            network: obs (B, ...) -> the argument of `actions`.
            optimizer: steps the network.
            every_updates: N; 0 for no readings.
            max_grad_norm: longer gradients count as clipped; inf for none.
            actions: the network's output -> greedy actions (B,), or None if it has none.
            now: a monotonic clock in s.

        Raises:
            ValueError: N is negative.
        """
        if every_updates < 0:
            raise ValueError(f"every_updates is {every_updates}: it must be at least 0")
        self._network = network
        self._optimizer = optimizer
        self._every_updates = every_updates
        self._max_grad_norm = max_grad_norm
        self._actions = actions
        self._now = now
        self._updates = 0
        self._counters = Counters()
        self._recent: deque[Tensor] = deque()  # observations of the batches before a reading
        self._first: dict[str, Tensor] = {}  # by tag, the reference of growth and drift
        self._last_reading_s: float | None = None
        self._pending: _Pending | None = None  # between before_step and after_step
        self._reading: Reading = {}

    def pop_reading(self) -> Reading:
        """Return the newest reading once; empty if there is no new one."""
        reading, self._reading = self._reading, {}
        if reading:
            self._counters.subtract_reported()
        return reading

    def looks(self, rows: int, ahead: int = 0) -> bool:
        """Return whether an update is or precedes a reading.

        Args:
            rows: states that it learns from.
            ahead: updates that come before it; 0 for the next.
        """
        if self._every_updates == 0:
            return False
        update, batches = self._updates + 1 + ahead, self._batches_of(rows)
        return -update % self._every_updates < batches or update <= batches

    def _batches_of(self, rows: int) -> int:
        """Return the number of batches, of so many rows each, whose states a reading measures."""
        return min(math.ceil(STATES / rows), self._every_updates)

    def before_step(self, obs: Tensor, learning_batch: Tensor | None = None) -> None:
        """Keep the states of the last batches; if a reading is due, measure the network before.

        Args:
            obs: (B, ...) states of the update.
            learning_batch: the batch that the network processed in the update, whose statistics
                are compared with the running ones; None for `obs`.
        """
        if not self.looks(len(obs)):
            return
        self._recent.append(obs.clone())
        update, batches = self._updates + 1, self._batches_of(len(obs))
        if update % self._every_updates == 0 or update == batches:  # the run's first reading
            started_s = self._now()
            states = torch.cat(list(self._recent)[-batches:])
            batch = obs if learning_batch is None else learning_batch
            self._pending = self._measure_before(batch, states)
            self._recent.clear()
            self._pending.spent_s = self._now() - started_s

    @torch.no_grad()
    def after_step(self) -> None:
        """Count the update; if a reading is due, complete it for `pop_reading`."""
        if self._every_updates == 0:
            return
        self._updates += 1
        self._counters.update(self._optimizer.grad_norm > self._max_grad_norm)
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        started_s = self._now()
        reading = pending.reading
        self._read_step(reading, pending)
        self._read_vectors(reading)
        reading["norm/gradient_clipped"] = self._counters.clipped_share()
        ended_s = self._now()
        if self._last_reading_s is not None:
            spent_s = pending.spent_s + ended_s - started_s
            interval_s = max(ended_s - self._last_reading_s, 1e-9)
            reading["time/instruments_share"] = spent_s / interval_s
        self._last_reading_s = ended_s
        self._reading = reading

    def _read_step(self, reading: Reading, pending: "_Pending") -> None:
        """Read what the step changed: angles of the weights, and greedy actions."""
        rates = {
            id(parameter): float(group["lr"])  # a schedule may have written it in the step
            for group in self._optimizer.param_groups
            for parameter in group["params"]
        }
        for weight in layer_weights(self._network):
            angles = row_angles(pending.weights[weight.name], weight.effective_rows())
            reading[f"norm/angle/{weight.name}"] = angles.mean()
            rate, gradient = rates.get(id(weight.parameter)), pending.gradients.get(weight.name)
            if rate is not None and gradient is not None:
                reading[f"norm/gradient_step/{weight.name}"] = rate * gradient
        if pending.actions is not None:
            with same_modes(self._network):
                after = self._actions(self._network.eval()(pending.states))
            assert after is not None, "the output has the same form as before the step"
            reading["norm/policy_churn"] = policy_churn(pending.actions, after)

    @torch.no_grad()
    def _measure_before(self, learning_batch: Tensor, states: Tensor) -> "_Pending":
        reading: Reading = {}
        if not self._first and keeps_statistics(self._network):
            # Running statistics have not settled yet; with them everything would seem to drift.
            self._note_first(activity(self._network, states, batch_statistics=True))
        current = activity(self._network, states)
        self._read_activity(reading, current)
        for name, gap in statistics_gaps(self._network, learning_batch).items():
            reading[f"norm/statistics_gap/{name}"] = gap.means
            if gap.variances is not None:
                reading[f"norm/statistics_variance_ratio/{name}"] = gap.variances
        weights, gradients = {}, {}
        for weight in layer_weights(self._network):
            rows, gradient = weight.rows(), weight.gradient()
            weights[weight.name] = weight.effective_rows().clone()
            if gradient is not None:
                cosines = row_cosines(gradient, rows)
                reading[f"norm/gradient_cosine/{weight.name}"] = cosines.abs().mean()
                gradients[weight.name] = relative_gradient(gradient, rows)
        return _Pending(reading, states, self._actions(current.output), weights, gradients)

    def _read_activity(self, reading: Reading, current: Activity) -> None:
        for name, layer in current.layers.items():
            for kind, now in _moments_of(layer).items():
                first = Moments(
                    self._first_value(f"{kind}_mean/{name}", now.mean),
                    self._first_value(f"{kind}_std/{name}", now.std),
                )
                reading[f"norm/{kind}_mean/{name}"] = now.mean.mean()
                reading[f"norm/{kind}_std/{name}"] = now.std.mean()
                reading[f"norm/{kind}_shift/{name}"] = shift(first, now)
                reading[f"norm/{kind}_stretch/{name}"] = stretch(first, now)
            if layer.mean_activation is not None:
                scores = dormant_scores(layer.mean_activation)
                for tau in DORMANT_TAUS:
                    reading[f"norm/dormant_{tau:g}/{name}"] = dormant_fraction(scores, tau)
        if current.features is not None:
            sigma = singular_values(current.features)
            reading["norm/srank"] = srank(sigma)
            reading["norm/effective_rank"] = effective_rank(sigma)

    def _note_first(self, current: Activity) -> None:
        for name, layer in current.layers.items():
            for kind, now in _moments_of(layer).items():
                self._first_value(f"{kind}_mean/{name}", now.mean)
                self._first_value(f"{kind}_std/{name}", now.std)

    def _read_vectors(self, reading: Reading) -> None:
        for name, (gain, norm) in weight_vectors(self._network, self._optimizer).items():
            first = self._first_value(f"v_norm/{name}", norm)
            reading[f"norm/v_norm/{name}"] = norm.mean()
            growth = torch.where(first == 0, 1.0, norm / first)  # a row of zeros has no length yet
            reading[f"norm/v_growth/{name}"] = growth.mean()
            reading[f"norm/g_sign_flips/{name}"] = self._counters.flips(name, gain)
            for tag, quantile in _GAIN_QUANTILES.items():
                reading[f"norm/{tag}/{name}"] = gain.quantile(quantile)

    def _first_value(self, tag: str, value: Tensor) -> Tensor:
        """Return the tag's value in the first reading, which may be this one."""
        return self._first.setdefault(tag, value.clone()).to(value)

    def state_dict(self) -> dict[str, Any]:
        """Return the counters, the first reading's values, and states kept for the next reading."""
        return {
            "updates": self._updates,
            "recent": list(self._recent),
            "first": dict(self._first),
            **self._counters.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state; later readings equal those of an uninterrupted run, except times."""
        device = next(self._network.parameters()).device
        self._updates = state["updates"]
        self._recent = deque(obs.to(device) for obs in state["recent"])
        self._first = {  # old checkpoints have v_length
            tag.replace("v_length/", "v_norm/"): value for tag, value in state["first"].items()
        }
        self._counters.load_state_dict(state)


def _moments_of(layer: LayerActivity) -> dict[str, Moments]:
    """Return the moments of the pre-activation and, if it differs, of the layer's output."""
    preactivation = {"preactivation": layer.preactivation}
    return preactivation if layer.output is None else {**preactivation, "output": layer.output}


@dataclass
class _Pending:
    """An incomplete reading, between `before_step` and `after_step`."""

    reading: Reading
    states: Tensor
    actions: Tensor | None
    weights: dict[str, Tensor]  # effective rows before the step, by layer
    gradients: dict[str, Tensor]  # relative to the weight, before clipping
    spent_s: float = 0.0
