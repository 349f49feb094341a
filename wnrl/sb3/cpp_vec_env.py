"""Answer what Stable-Baselines3 asks each environment's Python object; here there are none."""

from typing import Any, NoReturn

import gymnasium
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

ATTRIBUTES = ("action_space", "metadata", "observation_space", "render_mode", "spec")


class CppVecEnv(VecEnv):
    """A `VecEnv` whose environments run in C++ threads: no object per environment, no copies."""

    spec: None = None  # Gymnasium has no id for it
    render_mode: str | None = "rgb_array"

    def action_meanings(self) -> list[str]:
        """Return the names of the actions, in order."""
        raise NotImplementedError

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return one of `ATTRIBUTES`, once per environment. AttributeError for any other."""
        if attr_name not in ATTRIBUTES:
            raise AttributeError(
                f"{type(self).__name__} has no attribute {attr_name!r} per environment, because "
                f"its emulators are C++; it has {', '.join(ATTRIBUTES)}"
            )
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> NoReturn:
        """Raise AttributeError: nothing can be changed once the emulators are built."""
        name = type(self).__name__
        raise AttributeError(
            f"{attr_name!r} cannot be set, because the emulators of {name} are C++ and keep what "
            f"they were built with; pass it to {name}(...)"
        )

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Call `get_action_meanings()`, once per environment. AttributeError for any other."""
        if method_name != "get_action_meanings":
            raise AttributeError(
                f"{type(self).__name__} has no method {method_name!r} per environment, because "
                "its emulators are C++; it has get_action_meanings"
            )
        return [self.action_meanings() for _ in self._get_indices(indices)]

    def env_is_wrapped(
        self,
        wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]],
        indices: VecEnvIndices = None,
    ) -> list[bool]:
        """Return True for `Monitor`: infos have `episode`, so `evaluate_policy` reports scores."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def __reduce__(self) -> NoReturn:
        """Raise TypeError: C++ threads can be neither pickled nor copied."""
        raise TypeError(
            f"{type(self).__name__} can be neither pickled nor copied, because its emulators are "
            "C++ threads; construct another one"
        )
