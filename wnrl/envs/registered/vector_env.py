"""A `gymnasium.vector.VectorEnv` that is registered with Gymnasium, taken as it is.

It is one object with all N environments, which it steps and resets by itself. Its episodes cannot
be seeded one by one, so a checkpoint keeps every action since the start, a byte for each, and a
resumed run plays them all again.

Dimension key: N environments, D numbers in an observation, T steps.
"""

import warnings
import zlib
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import iterate

from wnrl._settings import UsageError, cut
from wnrl._settings.later import Later
from wnrl.envs.call_order import HEARTBEAT, CallOrder, SteppedEnv, check_identity, check_num_envs
from wnrl.envs.guard.description import described, kind_of, text_of
from wnrl.envs.guard.guarded_env import BrokenInterface, EnvironmentRaised, NotFiniteStep
from wnrl.envs.guard.space_values import fitted
from wnrl.envs.registered.construct import constructed, discrete_actions
from wnrl.envs.registered.keywords import NO_KEYWORDS, keywords_text
from wnrl.envs.registered.observations import observation_reader
from wnrl.envs.seeding import integer_seed
from wnrl.envs.vector import Actions, Flags, Observations, Step

if TYPE_CHECKING:
    import torch
else:
    torch = Later("torch")

_LARGEST = float(np.finfo(np.float32).max)


class RegisteredVectorEnv(SteppedEnv):
    """The N environments of a `gymnasium.vector.VectorEnv` that resets them on the next step."""

    def __init__(
        self, spec: EnvSpec, num_envs: int, seed: int, keywords: Mapping[str, Any] = NO_KEYWORDS
    ) -> None:
        """Make the vector environment; call `reset` or `load_state_dict` next.

        Args:
            spec: registered with a `vector_entry_point`.
            num_envs: N.
            seed: the run's seed.
            keywords: arguments for `gymnasium.make_vec`.

        Raises:
            UsageError: it is no vector environment of N environments that are reset on the next
                step, its actions are not discrete, a network cannot take its observations, or it
                cannot be made.
            ValueError: num_envs out of range.
        """
        self.num_envs = check_num_envs(num_envs)
        self._spec, self._seed, self._keywords = spec, seed, dict(keywords)
        self._env = self._make()
        try:
            _check(spec.id, self._env, num_envs)
            self._space = self._env.single_observation_space
            actions = discrete_actions(spec.id, self._env.single_action_space)
            self.num_actions, self._action_start = actions
            self.observation, self._read = observation_reader(spec.id, self._space)
        except UsageError:
            self._env.close()
            raise
        self._size = spaces.flatdim(self._space)
        self._order = CallOrder()
        self._log_type = np.min_scalar_type(self.num_actions - 1)
        self._log = bytearray()  # every action (T, N) since the start
        self._obs: Observations = np.zeros(
            (num_envs, *self.observation.shape), self.observation.dtype
        )
        self._first = np.zeros(num_envs, np.bool_)
        self._ended = np.zeros(num_envs, np.bool_)
        self._sent = np.zeros(num_envs, np.int64)

    def reset(self) -> None:
        """Start every environment's first episode, from the seed given at construction.

        Raises:
            EnvironmentFault: the environment raised or returned what it must not.
        """
        self._order.start()
        seed = integer_seed(self._seed, "environment")
        returned = self._call("at its reset", lambda: self._env.reset(seed=seed), 2)
        self._obs = self._observed("at its reset", returned[0])
        self._log.clear()
        self._first = np.ones(self.num_envs, np.bool_)
        self._ended = np.zeros(self.num_envs, np.bool_)

    def recv(self) -> Step:
        """Step all environments at once.

        Raises:
            EnvironmentFault: the environment raised or returned what it must not. The state is then
                still that before the step, and can be saved; only a load or a reset can go on.
        """
        self._order.receive()
        first = self._ended
        reward, terminated, capped = self._step(self._sent)
        self._first = first
        return Step(
            action=self._sent,
            reward=reward,
            terminated=terminated,
            truncated=capped & ~terminated,
            life_lost=np.zeros(self.num_envs, np.bool_),
            first=first.copy(),
            obs=self._obs.copy(),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return every action since the start, and a checksum of the observations."""
        self._order.look("state_dict()")
        return {
            "identity": self._identity(),
            "actions": torch.from_numpy(np.frombuffer(bytes(self._log), np.uint8).copy()),
            "first": self._first.tolist(),
            "checksum": self._checksum(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Play every action since the start again.

        Raises:
            ValueError: the state is of another id, seed or number of environments.
            UsageError: the observations differ, so the environment depends on more than seed and
                actions, or its version has changed.
        """
        check_identity(state["identity"], self._identity())
        self.reset()
        played = np.frombuffer(state["actions"].numpy().tobytes(), self._log_type)
        for actions in played.reshape(-1, self.num_envs):
            self._step(actions.astype(np.int64))
        self._first = np.array(state["first"], np.bool_)
        if self._checksum() != state["checksum"]:
            raise UsageError(
                f"playing {self._spec.id} again did not lead to the saved observations: it depends "
                "on more than its seed and actions, or another version of it made the state"
            )

    def close(self) -> None:
        """Close the environment. Harmless when repeated."""
        self._order.close()
        self._env.close()

    def _make(self) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
        with warnings.catch_warnings(action="ignore"):  # about what `_check` refuses
            return constructed(
                self._spec,
                lambda: gymnasium.make_vec(
                    self._spec,
                    num_envs=self.num_envs,
                    vectorization_mode="vector_entry_point",
                    **deepcopy(self._keywords),
                ),
            )

    def _identity(self) -> dict[str, Any]:
        keywords = keywords_text(self._keywords)
        identity = {"id": self._spec.id, "num_envs": self.num_envs, "seed": self._seed}
        return identity | ({"keywords": keywords} if keywords else {})

    def _checksum(self) -> int:
        return zlib.crc32(self._obs.tobytes())

    def _step(self, sent: Actions) -> tuple[npt.NDArray[np.float32], Flags, Flags]:
        """Take a step and log it; return reward, terminated and time limit reached, each (N,)."""
        step = len(self._log) // (self.num_envs * self._log_type.itemsize) + 1
        where = f"at step {step:,}"
        returned = self._call(where, lambda: self._env.step(self._action_start + sent), 5)
        terminated = self._values(where, "terminated", returned[2], np.bool_)
        capped = self._values(where, "truncated", returned[3], np.bool_)
        reward = self._values(where, "reward", returned[1], np.float64)
        if not np.isfinite(reward).all():
            env = int(np.flatnonzero(~np.isfinite(reward))[0])
            raise NotFiniteStep(
                f"the reward of {self._spec.id} (environment {env}, {where}) is {reward[env]}; it "
                "must be finite"
            )
        if (self._ended & (terminated | capped)).any():
            raise BrokenInterface(
                f"{self._spec.id} ({where}) ended an episode that it had just reset; with "
                f"{AutoresetMode.NEXT_STEP} the step after an end only resets"
            )
        self._obs = self._observed(where, returned[0])
        self._log += sent.astype(self._log_type).tobytes()
        reward[self._ended] = 0.0
        self._ended = terminated | capped
        return reward.clip(-_LARGEST, _LARGEST).astype(np.float32), terminated, capped

    def _call(self, where: str, call: Callable[[], Any], values: int) -> Any:
        """Return what a call of the environment returns, if it is a tuple of so many values."""
        try:
            returned = call()
        except (Exception, SystemExit) as error:
            said = described(error)
            raise EnvironmentRaised(f"{self._spec.id} ({where}) raised {said}") from error
        HEARTBEAT.beat()
        if not isinstance(returned, tuple) or len(returned) != values:
            raise BrokenInterface(
                f"{self._spec.id} ({where}) returned {kind_of(returned)}; Gymnasium asks for a "
                f"tuple of {values} values"
            )
        return returned

    def _values(self, where: str, name: str, given: Any, dtype: Any) -> npt.NDArray[Any]:
        """Return a copy of what is given for each environment, (N,), as another type."""
        array = np.array(given)
        if array.shape != (self.num_envs,) or array.dtype.kind not in "biuf":
            raise BrokenInterface(
                f"{self._spec.id} ({where}): {name} is {array.dtype} of shape {array.shape}; it "
                f"must be one number for each of {self.num_envs} environments"
            )
        return array.astype(dtype)

    def _observed(self, where: str, batch: Any) -> Observations:
        """Return observations (N, *shape) of what the environment gives."""
        try:
            flat = self._flat(batch)
        except Exception as error:  # spaces raise what NumPy, dict or list raise
            space = cut(str(self._env.observation_space), 200)
            raise BrokenInterface(
                f"{self._spec.id} ({where}): observations do not fit their space {space}: "
                f"{text_of(error)}"
            ) from error
        if not np.isfinite(flat).all():
            env, position = (int(index[0]) for index in np.nonzero(~np.isfinite(flat)))
            raise NotFiniteStep(
                f"the observation of {self._spec.id} (environment {env}, {where}) is "
                f"{flat[env, position]} at position {position}; it must be finite in float32"
            )
        return self._read(flat)

    def _flat(self, batch: Any) -> npt.NDArray[np.float32]:
        """Return a copy of observations as Gymnasium flattens them, (N, D)."""
        space = self._env.observation_space
        if isinstance(self._space, spaces.Box):
            return np.array(fitted(space, batch), np.float32).reshape(self.num_envs, self._size)
        each = (fitted(self._space, one) for one in iterate(space, batch))
        rows = [np.asarray(spaces.flatten(self._space, one), np.float32) for one in each]
        return np.stack(rows).reshape(self.num_envs, self._size)


def _check(name: str, env: Any, num_envs: int) -> None:
    """Raise UsageError unless a vector environment works as one of ours does."""
    if not isinstance(env, gymnasium.vector.VectorEnv):
        raise UsageError(
            f"{name!r} is registered as a vector environment, and its vector_entry_point gives "
            f"{type(env).__name__}; it must give a gymnasium.vector.VectorEnv"
        )
    if env.num_envs != num_envs:
        raise UsageError(
            f"{name!r} has {env.num_envs} environments where {num_envs} were asked for; its "
            "vector_entry_point must make as many as its argument num_envs says"
        )
    mode = env.metadata.get("autoreset_mode")
    if mode != AutoresetMode.NEXT_STEP:
        raise UsageError(
            f"{name!r} has the autoreset mode {getattr(mode, 'value', mode)}; only environments "
            "that reset on the next step are taken: metadata['autoreset_mode'] must be "
            "AutoresetMode.NEXT_STEP"
        )
