"""Keep the pictures of an episode while a policy plays it. Nothing in the play changes."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from wnrl._settings import SettingError
from wnrl.agents.base import Policy
from wnrl.envs.recording import of_observations
from wnrl.envs.vector import Actions, Episode, Flags, Observations, Recording, VectorEnv


class EpisodeRecorder:
    """Keeps the first episode that ends: as the environment shows it, or else its observations."""

    def __init__(self, env: VectorEnv, name: str, setting: str) -> None:
        """Nothing is kept yet.

        Args:
            env: plays the episodes.
            name: of the environment, for the message.
            setting: that asks for the pictures, for the message.

        Raises:
            SettingError: the environment has no pictures.
        """
        spec = env.observation
        if not env.records and (len(spec.shape) != 3 or spec.dtype != "uint8"):
            raise SettingError(
                setting,
                f"cannot show {name}: it does not render with render_mode rgb_array, and its "
                "observations are no images; leave it out",
            )
        self._env = env
        self._newest = spec.shape[0] // spec.stack  # channels of the newest frame
        self._seen: list[list[npt.NDArray[np.uint8]]] = [[] for _ in range(env.num_envs)]
        self.recording: Recording | None = None

    def watching(self, policy: Policy) -> Policy:
        """Return the policy, which keeps what it sees."""
        return policy if self._env.records else Watching(policy, self._see)

    def listening(self, listen: Callable[[Episode], None]) -> Callable[[Episode], None]:
        """Return `listen`, which keeps the first episode that it hears of."""

        def keep(episode: Episode) -> None:
            if self.recording is None:
                self.recording = self._recorded(episode.env)
            listen(episode)

        return keep

    def _see(self, obs: Observations, first: Flags) -> None:
        if self.recording is not None:
            return
        for env in range(self._env.num_envs):
            if first[env]:
                self._seen[env] = []
            self._seen[env].append(obs[env, -self._newest :].astype(np.uint8))

    def _recorded(self, env: int) -> Recording:
        if self._env.records:
            return self._env.recording(env)
        last = self._env.obs[env, -self._newest :].astype(np.uint8)
        return of_observations([*self._seen[env], last])


class Watching:
    """A policy whose observations are seen."""

    def __init__(self, policy: Policy, see: Callable[[Observations, Flags], None]) -> None:
        self._policy = policy
        self._see = see

    def act(self, obs: Observations, first: Flags) -> Actions:
        """Return the policy's actions (N,)."""
        self._see(obs, first)
        return self._policy.act(obs, first)
