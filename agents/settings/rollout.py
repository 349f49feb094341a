"""Settings that follow from others, for every agent that learns from rollouts."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wnrl._settings.later import Later
from wnrl.agents.record import NO_FIELDS, Storage
from wnrl.envs.vector import ObservationSpec

if TYPE_CHECKING:
    from wnrl.rl import rollout
else:
    rollout = Later("wnrl.rl.rollout")


class RolloutSettings:
    """Settings that follow from others, for any agent that learns from rollouts."""

    num_envs: int
    rollout_steps: int
    epochs: int = 1
    minibatches: int = 1

    warmup_steps = 0
    recurrent = False
    learns_from_pairs = False
    protocol_epsilon = False  # evaluated as they act, or greedily
    batch_settings: tuple[str, ...] = ("num_envs", "rollout_steps", "minibatches")
    optimizer_fields: Mapping[str, Any] = NO_FIELDS

    @property
    def unused(self) -> tuple[str, ...]:
        """Return the settings that other settings leave without effect: none."""
        return ()

    @property
    def rows(self) -> int:
        """Rows of a rollout."""
        return self.num_envs * self.rollout_steps

    @property
    def learning_batch(self) -> int:
        """Rows of a minibatch."""
        return self.rows // self.minibatches

    @property
    def rows_per_update(self) -> int:
        """Rows in an update's largest pass through the network."""
        return self.learning_batch

    @property
    def stored(self) -> str:
        """The rows that the agent keeps, in words."""
        return f"rollouts of {self.rollout_steps:,} steps in each"

    def storage(self, num_envs: int, observation: ObservationSpec) -> Storage:
        """Return the memory of a rollout."""
        return Storage(
            rows=self.rollout_steps * num_envs,
            bytes_of=lambda rows: rollout.Rollout.bytes_needed(
                rows // num_envs, num_envs, observation.shape, observation.dtype
            ),
            settings=("rollout_steps", "num_envs"),
        )

    def updates(self, agent_steps: int) -> int:
        """Return the number of optimizer steps in that many agent steps."""
        return agent_steps // self.rows * self.epochs * self.minibatches

    def why_no_update(self, agent_steps: int) -> str:
        """Say why no update is due in that many agent steps, and which settings to change."""
        return f"are fewer than one rollout of {self.rows:,}; change steps or rollout_steps"
