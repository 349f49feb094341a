"""The instruments of a run: every N updates, what the normalization does to the network.

`Instruments` is an agent's `UpdateObserver`. It reads and never writes: a run with it ends with the
weights of a run without it, bit for bit. The formulas are wnrl.instruments.formulas'.
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
from wnrl.instruments.capacity import (
    DORMANT_TAUS,
    dormant_fraction,
    dormant_scores,
    effective_rank,
    singular_values,
    srank,
)
from wnrl.instruments.counters import Counts
from wnrl.instruments.formulas import (
    Moments,
    policy_churn,
    relative_gradient,
    row_angles,
    row_cosines,
    shift,
    stretch,
)
from wnrl.instruments.weight_rows import layer_weights, weight_vectors
from wnrl.nn.networks.heads import PolicyValue
from wnrl.optim.step import StepOptimizer

Reading = dict[str, Tensor | float]
STATES = 128  # of the last batches, on which activations, ranks and churn are read
_GAIN_QUANTILES = {"g_05": 0.05, "g_50": 0.5, "g_95": 0.95}


def greedy_actions(output: Any) -> Tensor | None:
    """Actions (B,) of a network that gives values (B, A), or a policy; None for other outputs."""
    output = output.logits if isinstance(output, PolicyValue) else output
    return output.argmax(dim=1) if isinstance(output, Tensor) and output.ndim == 2 else None


class Instruments:
    """Takes a reading around every N-th update, and one at the start to compare with.

    Between readings it counts the clipped gradients, one small operation per update. Several
    readings may come before one is taken: the newest is kept, with the counts of all.

    A reading's scalars by tag are `norm/<instrument>[/<layer>]` and `time/instruments_share`, the
    share of the time since the last reading that reading took (of the CPU's; a GPU is not waited
    for). Tensors stay where they are until somebody logs them.
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
        """Nothing is read yet.

        Args:
            network: obs (B, ...) -> what `actions` takes.
            optimizer: what steps it.
            every_updates: N; 0 for no reading at all.
            max_grad_norm: gradients longer than this are counted as clipped; inf for none.
            actions: the network's output -> greedy actions (B,), or None where there are none.
            now: a clock that never runs backwards, in s.

        Raises:
            ValueError: N is negative.
        """
        if every_updates < 0:
            raise ValueError(f"every_updates must be at least 0, came {every_updates}")
        self._network = network
        self._optimizer = optimizer
        self._every_updates = every_updates
        self._max_grad_norm = max_grad_norm
        self._actions = actions
        self._now = now
        self._updates = 0
        self._counts = Counts()
        self._recent: deque[Tensor] = deque()  # observations of the batches before a reading
        self._first: dict[str, Tensor] = {}  # by tag, what growth and drift are measured from
        self._began_s: float | None = None  # of the interval: the end of the last reading
        self._pending: _Pending | None = None  # between before_step and after_step
        self._reading: Reading = {}

    def take(self) -> Reading:
        """The newest reading that was not taken yet, else nothing."""
        reading, self._reading = self._reading, {}
        if reading:
            self._counts.taken()
        return reading

    def before_step(self, obs: Tensor, learning_batch: Tensor | None = None) -> None:
        """Keep the states of the last batches; at a reading, look at what the step will change.

        Args:
            obs: (B, ...) the states that were learnt at.
            learning_batch: what the network took to learn, whose statistics are compared with the
                running ones; None for `obs`.
        """
        if self._every_updates == 0:
            return
        update = self._updates + 1
        batches = min(math.ceil(STATES / len(obs)), self._every_updates)
        left = -update % self._every_updates  # updates until the next reading
        if left < batches or update <= batches:
            self._recent.append(obs.clone())
        if left == 0 or update == batches:  # the second is the run's first reading
            started_s = self._now()
            states = torch.cat(list(self._recent)[-batches:])
            self._pending = self._look(obs if learning_batch is None else learning_batch, states)
            self._recent.clear()
            self._pending.spent_s = self._now() - started_s

    @torch.no_grad()
    def after_step(self) -> None:
        """Count; at a reading, compare with before and keep the reading for `take`."""
        if self._every_updates == 0:
            return
        self._updates += 1
        self._counts.update(self._optimizer.grad_norm > self._max_grad_norm)
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        started_s = self._now()
        reading = pending.reading
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
            assert after is not None, "the network gives what it gave before"
            reading["norm/policy_churn"] = policy_churn(pending.actions, after)
        self._read_vectors(reading)
        reading["norm/gradient_clipped"] = self._counts.clipped_share()
        ended_s = self._now()
        if self._began_s is not None:
            spent_s = pending.spent_s + ended_s - started_s
            reading["time/instruments_share"] = spent_s / max(ended_s - self._began_s, 1e-9)
        self._began_s = ended_s
        self._reading = reading

    @torch.no_grad()
    def _look(self, learning_batch: Tensor, states: Tensor) -> "_Pending":
        reading: Reading = {}
        if not self._first and keeps_statistics(self._network):
            # Running statistics have not settled yet: measured from those, everything would drift.
            self._note_first(activity(self._network, states, batch_statistics=True))
        seen = activity(self._network, states)
        self._read_activity(reading, seen)
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
        return _Pending(reading, states, self._actions(seen.output), weights, gradients)

    def _read_activity(self, reading: Reading, seen: Activity) -> None:
        for name, layer in seen.layers.items():
            for what, now in _moments_of(layer).items():
                first = Moments(
                    self._at_first(f"{what}_mean/{name}", now.mean),
                    self._at_first(f"{what}_std/{name}", now.std),
                )
                reading[f"norm/{what}_mean/{name}"] = now.mean.mean()
                reading[f"norm/{what}_std/{name}"] = now.std.mean()
                reading[f"norm/{what}_shift/{name}"] = shift(first, now)
                reading[f"norm/{what}_stretch/{name}"] = stretch(first, now)
            if layer.mean_activation is not None:
                scores = dormant_scores(layer.mean_activation)
                for tau in DORMANT_TAUS:
                    reading[f"norm/dormant_{tau:g}/{name}"] = dormant_fraction(scores, tau)
        if seen.features is not None:
            sigma = singular_values(seen.features)
            reading["norm/srank"] = srank(sigma)
            reading["norm/effective_rank"] = effective_rank(sigma)

    def _note_first(self, seen: Activity) -> None:
        for name, layer in seen.layers.items():
            for what, now in _moments_of(layer).items():
                self._at_first(f"{what}_mean/{name}", now.mean)
                self._at_first(f"{what}_std/{name}", now.std)

    def _read_vectors(self, reading: Reading) -> None:
        for name, (gain, norm) in weight_vectors(self._network, self._optimizer).items():
            first = self._at_first(f"v_norm/{name}", norm)
            reading[f"norm/v_norm/{name}"] = norm.mean()
            growth = torch.where(first == 0, 1.0, norm / first)  # a row of zeros has no length yet
            reading[f"norm/v_growth/{name}"] = growth.mean()
            reading[f"norm/g_sign_flips/{name}"] = self._counts.flips(name, gain)
            for tag, quantile in _GAIN_QUANTILES.items():
                reading[f"norm/{tag}/{name}"] = gain.quantile(quantile)

    def _at_first(self, tag: str, value: Tensor) -> Tensor:
        """What the first reading gave under this tag."""
        return self._first.setdefault(tag, value.clone()).to(value)

    def state_dict(self) -> dict[str, Any]:
        """Counters, what the first reading saw, and states on their way to a reading."""
        return {
            "updates": self._updates,
            "recent": list(self._recent),
            "first": dict(self._first),
            **self._counts.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue: later readings are those of a run that was never stopped, times apart."""
        device = next(self._network.parameters()).device
        self._updates = state["updates"]
        self._recent = deque(obs.to(device) for obs in state["recent"])
        self._first = {  # as earlier runs called it
            tag.replace("v_length/", "v_norm/"): value for tag, value in state["first"].items()
        }
        self._counts.load_state_dict(state)


def _moments_of(layer: LayerActivity) -> dict[str, Moments]:
    """Of what comes before the nonlinearity, and of the layer's output where they differ."""
    read = {"preactivation": layer.preactivation}
    return read if layer.output is None else {**read, "output": layer.output}


@dataclass
class _Pending:
    """A reading between the two calls around a step."""

    reading: Reading
    states: Tensor
    actions: Tensor | None
    weights: dict[str, Tensor]  # effective rows before the step, by layer
    gradients: dict[str, Tensor]  # relative to the weight, before clipping
    spent_s: float = 0.0
