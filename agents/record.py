"""The record of an agent: all that a run needs to know about it. The agents are in the catalogue.

Dimension key: N environments, A actions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from wnrl._settings import SettingError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from wnrl.agents.base import Agent
    from wnrl.agents.learner import Learner
    from wnrl.envs.vector import ObservationSpec
    from wnrl.nn.networks.spec import NetworkSpec
    from wnrl.nn.norms.transition_values import Values

NO_FIELDS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Storage:
    """Memory for the rows that an agent learns from."""

    rows: int  # transitions held, over all environments
    bytes_of: Callable[[int], int]  # rows -> bytes
    settings: tuple[str, ...]  # settings that decide the number of rows
    shrinks_to: int = 0  # fewest rows that a default may shrink to; 0: it must not shrink
    least_rows: int = 0  # fewest rows that can be learnt from
    least_reason: str = ""  # names what needs them, for the message


class AgentSettings(Protocol):
    """Frozen, flat dataclass of `setting`s, with properties that follow from them."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def num_envs(self) -> int:
        """Environments stepped together."""
        ...

    @property
    def learning_rate(self) -> float:
        """Step size of the optimizer, initially if it decays."""
        ...

    @property
    def learning_rate_decay(self) -> bool:
        """Return whether the learning rate falls to 0 at the end of the schedule."""
        ...

    @property
    def optimizer(self) -> str:
        """Update rule, one of `OPTIMIZER_NAMES`."""
        ...

    @property
    def beta1(self) -> float:
        """Decay of the first moment."""
        ...

    @property
    def optimizer_eps(self) -> float:
        """Term added to the root of the second moment."""
        ...

    @property
    def max_grad_norm(self) -> float:
        """Largest global gradient norm; 0 for no limit."""
        ...

    @property
    def gamma(self) -> float:
        """Discount per step."""
        ...

    @property
    def clip_rewards(self) -> bool:
        """Return whether the learner sees rewards clipped to [-1, 1]."""
        ...

    @property
    def protocol_epsilon(self) -> bool:
        """Return whether evaluation has the Atari protocol's share of random actions."""
        ...

    @property
    def hidden(self) -> int:
        """Units in each of an MLP's two hidden layers."""
        ...

    @property
    def recurrent(self) -> bool:
        """Return whether the network has an LSTM."""
        ...

    @property
    def warmup_steps(self) -> int:
        """Agent steps of random actions before the first update."""
        ...

    @property
    def learning_batch(self) -> int:
        """Rows in the smallest batch that the network learns from."""
        ...

    @property
    def batch_settings(self) -> tuple[str, ...]:
        """Settings that decide `learning_batch`."""
        ...

    @property
    def rows_per_update(self) -> int:
        """Rows in an update's largest pass through the network."""
        ...

    @property
    def learns_from_pairs(self) -> bool:
        """Return whether an update sees both ends of each transition."""
        ...

    @property
    def depends_on_schedule(self) -> bool:
        """Return whether any hyperparameter follows the schedule's length."""
        ...

    @property
    def unused(self) -> tuple[str, ...]:
        """Settings that other settings leave without effect."""
        ...

    @property
    def network_fields(self) -> Mapping[str, Any]:
        """Fields of `NetworkSpec` that this agent sets."""
        ...

    @property
    def optimizer_fields(self) -> Mapping[str, Any]:
        """Fields of `OptimizerSpec` that this agent sets."""
        ...

    @property
    def stored(self) -> str:
        """The rows that the agent keeps, in words: `replay of 100,000 transitions`."""
        ...

    def storage(self, num_envs: int, observation: ObservationSpec) -> Storage:
        """Return the memory for the rows that the agent learns from."""
        ...

    def updates(self, agent_steps: int) -> int:
        """Return the number of optimizer steps in that many agent steps."""
        ...

    def why_no_update(self, agent_steps: int) -> str:
        """Say why no update is due in that many agent steps, and which settings to change."""
        ...

    def calibration(self) -> Mapping[str, Any]:
        """Return overrides with which a short trial costs per step what the run costs."""
        ...


@dataclass(frozen=True)
class AgentParts:
    """The parts from which any agent is built."""

    settings: Any  # instance of the record's class `settings`
    learner: Learner
    observation: ObservationSpec
    num_envs: int
    num_actions: int
    values: Values  # how networks see the two ends of a transition
    schedule_steps: int  # length of the schedules, in agent steps
    generator: Callable[[str], np.random.Generator]  # purpose -> random stream


@dataclass(frozen=True)
class AgentRecord:
    """One agent: its settings, and how it is built."""

    name: str
    summary: str  # one sentence
    settings: type[AgentSettings]  # defaults are for Atari
    control: Mapping[str, Any]  # other defaults for vectors and a toy's few pixels
    assemble: Callable[[NetworkSpec], nn.Module]  # as torch initializes it
    initialize: Callable[[nn.Module, torch.Generator], None]  # draws all weights
    build: Callable[[AgentParts], Agent]
    minatar: Mapping[str, Any] = field(default_factory=dict)  # other defaults for MinAtar
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    # other defaults of recurrent runs on Atari and MinAtar
    recurrent: Mapping[str, Any] = field(default_factory=dict)

    # settings that older config.json files lack and whose defaults changed what was done then
    before: Mapping[str, Any] = field(default_factory=dict)

    def preset(self, name: str) -> Mapping[str, Any]:
        """Return the values of a preset; SettingError if the agent has none of that name."""
        if name in self.presets:
            return self.presets[name]
        names = ", ".join(self.presets)
        others = f"it has {names}" if names else "its defaults are published ones"
        raise SettingError("preset", f"{name}: agent {self.name} has no preset {name}; {others}")
