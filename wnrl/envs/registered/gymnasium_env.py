"""Gymnasium environments with a discrete action space, behind `VectorEnv`.

N copies step one after the other in this process. Every episode is seeded, so an environment that
depends only on its seed and actions resumes bit for bit: the episode is played again.

Dimension key: N environments, D numbers in an observation.
"""

import contextlib
import sys
import zlib
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from wnrl._settings import UsageError, nearest
from wnrl._settings.later import Later
from wnrl.envs.call_order import CallOrder, SteppedEnv, check_identity, check_num_envs
from wnrl.envs.guard.guarded_env import GuardedEnv
from wnrl.envs.recording import STEPS_PER_S
from wnrl.envs.registered.construct import constructed, discrete_actions
from wnrl.envs.registered.keywords import NO_KEYWORDS, keywords_text
from wnrl.envs.registered.observations import observation_reader
from wnrl.envs.seeding import integer_seed
from wnrl.envs.vector import Observations, Picture, Recording, Step

if TYPE_CHECKING:
    import torch
else:
    torch = Later("torch")

RENDERED = "rgb_array"  # Gymnasium's name of pictures


def gymnasium_ids() -> tuple[str, ...]:
    """Return every registered id except the ALE's, which go through `wnrl.envs.atari`."""
    return tuple(name for name, spec in gymnasium.registry.items() if not _is_ale(spec))


def gymnasium_spec(name: str) -> EnvSpec:
    """Return the registered environment of that id. Imports nothing: the name may be a stranger's.

    Args:
        name: `CartPole-v1`, or `module:Name-v0`, whose module must have been imported before.

    Raises:
        UsageError: no such id, a module that was not imported, or an id of the ALE.
    """
    _check_imported(name)
    environment = name.rpartition(":")[2]
    spec = gymnasium.registry.get(environment)
    if spec is None:
        hint = nearest(environment, gymnasium_ids())
        raise UsageError(f"{environment!r} is not a registered Gymnasium id{hint}")
    if _is_ale(spec):
        raise UsageError(f"{environment!r} is the ALE's; name the game alone, like Breakout")
    return spec


def _check_imported(name: str) -> None:
    """Refuse `module:Name-v0` unless the module is imported; it is never imported here."""
    module, colon, _ = name.rpartition(":")
    if not colon or module in sys.modules:
        return
    if not all(part.isidentifier() for part in module.split(".")):
        raise UsageError(f"{name!r}: {module!r} is not the name of a module; write MODULE:ID")
    raise UsageError(
        f"{name!r} needs the module {module}, which is not imported by itself; if you trust it, "
        f"add --import {module} (in Python: import {module})"
    )


def _is_ale(spec: EnvSpec) -> bool:
    return str(spec.entry_point).startswith("ale_py")


class GymnasiumEnvs(SteppedEnv):
    """N copies of a Gymnasium environment: a `VectorEnv` of images or vectors.

    Arrays of two or three axes are images, scaled by their bounds. Other observations are flattened
    by Gymnasium (discrete ones become one-hot, dictionaries and tuples are joined) and cast to
    float32. Time limits are the id's own.
    """

    def __init__(
        self, name: str, num_envs: int, seed: int, keywords: Mapping[str, Any] = NO_KEYWORDS
    ) -> None:
        """Build the copies; call `reset` or `load_state_dict` next.

        Args:
            name: a name that `gymnasium_spec` knows.
            num_envs: N.
            seed: the run's seed; every episode derives its own from it.
            keywords: arguments for `gymnasium.make`.

        Raises:
            UsageError: an unknown id, one that cannot be made or lacks what Gymnasium asks for,
                actions that are not discrete, or observations that a network cannot take.
            ValueError: num_envs out of range.
        """
        self.num_envs = check_num_envs(num_envs)
        self._seed = seed
        self._spec = gymnasium_spec(name)
        self._keywords = dict(keywords)
        self._order = CallOrder()
        self._copies: list[GuardedEnv] = []
        try:
            first = self._add_copy()
            self.num_actions, self._action_start = discrete_actions(name, first.action_space)
            self.observation, self._read = observation_reader(name, first.observation_space)
            while len(self._copies) < num_envs:
                self._add_copy()
        except UsageError:
            self.close()
            raise
        self._episodes = [0] * num_envs
        self._actions: list[list[int]] = [
            [] for _ in range(num_envs)
        ]  # actions of each newest episode
        self._obs = np.zeros((num_envs, *self.observation.shape), self.observation.dtype)
        self._first = np.zeros(num_envs, np.bool_)
        self._ended = np.zeros(num_envs, np.bool_)
        self._sent = np.zeros(num_envs, np.int64)

    @property
    def space(self) -> spaces.Space[Any]:
        """The space of the observations as the environment gives them."""
        return self._copies[0].observation_space

    def reset(self) -> None:
        """Start every environment's first episode, from the seed given at construction.

        Raises:
            EnvironmentFault: an environment raised or returned what it must not.
        """
        self._order.start()
        obs = np.empty_like(self._obs)
        for env in range(self.num_envs):
            obs[env] = self._first_obs(env, 0)
        self._obs = obs
        self._episodes = [0] * self.num_envs
        self._actions = [[] for _ in range(self.num_envs)]
        self._first = np.ones(self.num_envs, np.bool_)
        self._ended = np.zeros(self.num_envs, np.bool_)

    def recv(self) -> Step:
        """Step the copies one after the other.

        Raises:
            EnvironmentFault: an environment raised or returned what it must not. The state is then
                still that before the step, and can be saved; only a load or a reset can go on.
        """
        self._order.receive()
        first = self._ended
        obs = np.empty_like(self._obs)
        reward = np.zeros(self.num_envs, np.float32)
        terminated = np.zeros(self.num_envs, np.bool_)
        capped = np.zeros(self.num_envs, np.bool_)
        for env, action in enumerate(self._sent.tolist()):
            if first[env]:
                obs[env] = self._first_obs(env, self._episodes[env] + 1)
            else:
                obs[env], reward[env], terminated[env], capped[env] = self._act(env, action)
        for env, action in enumerate(self._sent.tolist()):  # only now: no environment raised
            if first[env]:
                self._episodes[env] += 1
                self._actions[env] = []
            else:
                self._actions[env].append(action)
        self._obs = obs
        self._first = first
        self._ended = terminated | capped
        return Step(
            action=self._sent,
            reward=reward,
            terminated=terminated,
            truncated=capped & ~terminated,
            life_lost=np.zeros(self.num_envs, np.bool_),
            first=first.copy(),
            obs=obs.copy(),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return each newest episode's index and actions, and a checksum of its observation."""
        self._order.look("state_dict()")
        return {
            "identity": self._identity(),
            "episodes": list(self._episodes),
            "actions": [torch.tensor(actions, dtype=torch.int64) for actions in self._actions],
            "first": self._first.tolist(),
            "ended": self._ended.tolist(),
            "checksums": self._checksums(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Play each newest episode again.

        Raises:
            ValueError: the state is of another id, seed or number of environments.
            UsageError: the observations differ, so the environment depends on more than seed and
                actions, or its version has changed.
        """
        check_identity(state["identity"], self._identity())
        self._order.start()
        for env, (episode, actions) in enumerate(
            zip(state["episodes"], state["actions"], strict=True)
        ):
            self._obs[env] = self._first_obs(env, episode)
            for action in actions.tolist():
                self._obs[env] = self._act(env, action)[0]
        self._episodes = list(state["episodes"])
        self._actions = [actions.tolist() for actions in state["actions"]]
        self._first = np.array(state["first"], np.bool_)
        self._ended = np.array(state["ended"], np.bool_)
        if self._checksums() != state["checksums"]:
            raise UsageError(
                f"playing {self._spec.id} again did not lead to the saved observations: it depends "
                "on more than its seed and actions, or another version of it made the state"
            )

    @property
    def records(self) -> bool:
        """Whether the environment says that it renders pictures."""
        return RENDERED in (self._copies[0].metadata.get("render_modes") or ())

    def recording(self, env: int) -> Recording:
        """Return the newest episode of one environment, as its own `render` shows it."""
        self._order.look("recording()")
        speed = self._copies[env].metadata.get("render_fps") or STEPS_PER_S
        return Recording(self._rendered(env, self._episodes[env], list(self._actions[env])), speed)

    def _rendered(self, env: int, episode: int, actions: list[int]) -> Iterator[Picture]:
        """Play an episode again in a copy that renders; yield its pictures."""
        copy = GuardedEnv(self._made(render_mode=RENDERED), self._spec.id, env)
        with contextlib.closing(copy):
            copy.reset(integer_seed(self._seed, "environment", env, episode))
            yield copy.render()
            for action in actions:
                copy.step(self._action_start + action)
                yield copy.render()

    def close(self) -> None:
        """Close the copies. Harmless when repeated."""
        self._order.close()
        for copy in self._copies:
            copy.close()
        self._copies = []

    def _add_copy(self) -> GuardedEnv:
        """Make one more copy."""
        self._copies.append(GuardedEnv(self._made(), self._spec.id, len(self._copies)))
        return self._copies[-1]

    def _made(self, **more: Any) -> gymnasium.Env[Any, Any]:
        options = {"disable_env_checker": True, **deepcopy(self._keywords), **more}
        return constructed(self._spec, lambda: gymnasium.make(self._spec, **options))

    def _identity(self) -> dict[str, Any]:
        identity = {"id": self._spec.id, "num_envs": self.num_envs, "seed": self._seed}
        return identity | ({"keywords": keywords_text(self._keywords)} if self._keywords else {})

    def _checksums(self) -> list[int]:
        return [zlib.crc32(observation.tobytes()) for observation in self._obs]

    def _first_obs(self, env: int, episode: int) -> Observations:
        """Start an episode of one environment and return its first observation."""
        seed = integer_seed(self._seed, "environment", env, episode)
        return self._read(self._copies[env].reset(seed))

    def _act(self, env: int, action: int) -> tuple[Observations, float, bool, bool]:
        """Step one environment; return observation, reward, terminated, time limit reached."""
        flat, reward, terminated, capped = self._copies[env].step(self._action_start + action)
        return self._read(flat), reward, terminated, capped
