"""Stable-Baselines3's `VecEnv` over the ALE's C++ vector environment.

`AtariVecEnv("Breakout", 8, seed=0)` takes the place of

    VecFrameStack(make_atari_env("BreakoutNoFrameskip-v4", n_envs=8, seed=0), n_stack=4)

and gives what that gives: the same rewards, dones, `terminal_observation`, `lives`,
`TimeLimit.truncated` and raw scores in `episode` (its length in frames, as SB3's `Monitor` has it),
an empty stack after each done. It departs from it here:

- Observations are (4, 84, 84), as the ALE makes them and networks read them. SB3 sees that they are
  channels-first and transposes nothing.
- A pixel is the greater gray of two frames, SB3's the gray of the greater colours. The two differ
  where things move over a coloured background, in under 1 % of the pixels.
- A reset lets 0 to 29 frames pass, not 1 to 30, and presses FIRE for one frame, where SB3 presses
  FIRE and then the third action for four frames each.
- After a lost life the next observation is the terminal frame itself, and the step from it presses
  FIRE whatever the action is, if the game has FIRE. SB3 plays NOOP, FIRE and the third action
  inside its reset, and the learner never sees their rewards. Without FIRE a policy that SB3 trained
  would wait for a ball for ever: it never had to press it. Protocol `sticky` presses nothing.
- `reset` is always a real one; SB3's continues a game that has lives left.

Dimension key: N environments, S frames in an observation.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import gymnasium
import numpy as np
import numpy.typing as npt
from ale_py import Action
from ale_py.vector_env import AtariVectorEnv
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from wnrl._settings import UsageError
from wnrl.envs.atari_emulator import open_emulator
from wnrl.envs.call_order import check_actions
from wnrl.envs.games import require_rom_id
from wnrl.envs.protocols import AtariProtocol, protocol_named
from wnrl.envs.vector import Flags

SEEDS = 2**31  # the ALE takes an int32; SB3 draws uint32 where none is given
PIXELS_UPSCALED = 4  # of a rendered frame, along each side
ATTRIBUTES = ("action_space", "metadata", "observation_space", "render_mode", "spec")


class AtariVecEnv(VecEnv):
    """N copies of one Atari game, stepped by the ALE's own threads.

    Do not fork the process while one is open: its threads do not survive that.
    """

    spec: None = None  # Gymnasium has no id for it
    render_mode: str | None = "rgb_array"

    def __init__(
        self,
        game: str,
        n_envs: int = 1,
        seed: int | None = None,
        protocol: str = "classic",
        *,
        noop_max: int | None = None,
        frame_skip: int | None = None,
        screen_size: int | None = None,
        terminal_on_life_loss: bool | None = None,
        clip_reward: bool = True,
        action_repeat_probability: float | None = None,
        n_stack: int | None = None,
        num_threads: int = 0,
    ) -> None:
        """Build the emulators; `reset` comes next, which SB3's algorithms do themselves.

        The names are `AtariWrapper`'s and `VecFrameStack`'s. None is the protocol's value, which is
        their default where the protocol is `classic`.

        Args:
            game: `Breakout`, `breakout`, `ALE/Breakout-v5`, `BreakoutNoFrameskip-v4`.
            n_envs: N.
            seed: as for `VecEnv.seed`: environment n begins from seed + n. None draws one.
            protocol: a name in `wnrl.envs.protocols.PROTOCOLS`.
            noop_max: a reset lets fewer frames than this pass; 0: none.
            frame_skip: frames of one step.
            screen_size: side of the square observation, in pixels.
            terminal_on_life_loss: a lost life is a done; the game goes on.
            clip_reward: rewards are the sign of the score's change; `episode` has the score.
            action_repeat_probability: of repeating the last frame's action.
            n_stack: S.
            num_threads: emulator threads; 0 is one per environment, at most one per core.

        Raises:
            UsageError: an unknown game or protocol, a game for several players, or a number out of
                range.
        """
        self._protocol = _changed(
            protocol_named(protocol),
            noop_max=noop_max,
            frameskip_frames=frame_skip,
            screen_pixels=screen_size,
            life_loss=terminal_on_life_loss,
            repeat_action_probability=action_repeat_probability,
            stack=n_stack,
        )
        _check_whole("n_envs", n_envs, at_least=1)
        _check_whole("num_threads", num_threads, at_least=0)
        self._clip_reward = clip_reward
        self._emulator: AtariVectorEnv | None = open_emulator(
            require_rom_id(game), n_envs, self._protocol, num_threads=num_threads
        )
        self._actions: list[Action] = self._emulator.ale.get_action_set()
        presses = self._protocol.fire_reset and Action.FIRE in self._actions
        self._fire = self._actions.index(Action.FIRE) if presses else None
        self._opened_s = time.time()
        self._stepping = False
        self._frames: npt.NDArray[np.uint8] | None = None  # (N, height, width) the newest
        self._lives = np.zeros(n_envs, np.int32)
        self._scores = np.zeros(n_envs, np.float64)  # of the running games
        self._age = np.ones(n_envs, np.int64)  # frames since the last done that may be seen
        self._relaunch = np.zeros(n_envs, np.bool_)  # the next step presses FIRE
        side, frames = self._protocol.screen_pixels, self._protocol.stack
        super().__init__(
            n_envs,
            spaces.Box(0, 255, (frames, side, side), np.uint8),
            spaces.Discrete(len(self._actions)),
        )
        self.seed(seed)

    def reset(self) -> npt.NDArray[np.uint8]:
        """Start N games, from the seeds where `seed` was called, and drop an outstanding step.

        Returns:
            (N, S, height, width) Their first observations.
        """
        emulator = self._open("reset()")
        if self._stepping:
            self._stepping = False
            emulator.recv()
        seeds = None
        if self._seeds[0] is not None:
            seeds = np.array([seed % SEEDS for seed in self._seeds if seed is not None])
        obs, info = emulator.reset(seed=seeds)
        self._reset_seeds()
        self._reset_options()
        self._scores[:] = 0.0
        self._relaunch[:] = False
        return self._begin(obs, info, np.ones(self.num_envs, np.bool_))

    def step_async(self, actions: npt.ArrayLike) -> None:
        """Let the emulators begin a step with actions (N,); they work until `step_wait`.

        Raises:
            ValueError: actions of another type or shape, or out of range.
            RuntimeError: out of turn.
        """
        emulator = self._open("step_async()")
        if self._frames is None or self._stepping:
            first = "step_wait()" if self._stepping else "reset()"
            raise RuntimeError(f"step_async() out of turn: {first} comes first")
        chosen = check_actions(np.asarray(actions), self.num_envs, len(self._actions))
        if self._fire is not None:
            chosen[self._relaunch] = self._fire
        self._stepping = True
        emulator.send(chosen)

    def step_wait(self) -> VecEnvStepReturn:
        """Finish the step begun by `step_async`.

        Returns:
            obs: (N, S, height, width) uint8, the next episode's first where done.
            rewards: (N,) float32.
            dones: (N,) bool.
            infos: one dict per environment.

        Raises:
            RuntimeError: out of turn.
        """
        emulator = self._open("step_wait()")
        if not self._stepping:
            raise RuntimeError("step_wait() out of turn: step_async() comes first")
        # Before the call, out of which Ctrl-C comes: a second recv() of one step waits for ever.
        self._stepping = False
        obs, score, game_over, capped, info = emulator.recv()
        lives = info["lives"]
        # At 0 lives some games, Qbert among them, go on for a few frames; then the game is over.
        life_lost = (lives > 0) & (lives < self._lives) & self._protocol.life_loss
        terminated = game_over | life_lost
        ended = game_over | capped
        dones = terminated | capped
        truncated = capped & ~terminated
        infos = [
            {**_row(info, env), "TimeLimit.truncated": bool(truncated[env])}
            for env in range(self.num_envs)
        ]
        self._hide_earlier_episodes(obs, self._age + 1)
        for env in np.flatnonzero(dones).tolist():
            infos[env]["terminal_observation"] = obs[env].copy()
        self._scores += score
        for env in np.flatnonzero(ended).tolist():
            infos[env]["episode"] = self._episode(env, infos[env]["episode_frame_number"])
        if ended.any():
            self._scores[ended] = 0.0
            obs, info = emulator.reset(options={"reset_mask": ended})
        rewards = (np.sign(score) if self._clip_reward else score).astype(np.float32)
        self._relaunch = life_lost & ~ended
        return self._begin(obs, info, dones), rewards, dones, infos

    def close(self) -> None:
        """Stop the emulators' threads. Harmless when repeated."""
        self._emulator = None  # its own close() does nothing; the last reference does

    def get_images(self) -> Sequence[npt.NDArray[np.uint8] | None]:
        """The newest frames as the policy sees them, enlarged: gray, N of (336, 336, 3)."""
        if self._frames is None:
            raise RuntimeError("get_images() out of turn: reset() comes first")
        large = self._frames.repeat(PIXELS_UPSCALED, axis=1).repeat(PIXELS_UPSCALED, axis=2)
        return list(np.repeat(large[..., None], 3, axis=3))

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """One of `ATTRIBUTES`, once per environment. AttributeError for any other."""
        if attr_name not in ATTRIBUTES:
            raise AttributeError(
                f"AtariVecEnv has no attribute {attr_name!r} per environment, its emulators being "
                f"C++; it has {', '.join(ATTRIBUTES)}"
            )
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> NoReturn:
        """AttributeError: nothing can be changed once the emulators are built."""
        raise AttributeError(
            f"{attr_name!r} cannot be set: AtariVecEnv's emulators are C++ and keep what they were "
            "built with; pass it to AtariVecEnv(...)"
        )

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """`get_action_meanings()`, once per environment. AttributeError for any other."""
        if method_name != "get_action_meanings":
            raise AttributeError(
                f"AtariVecEnv has no method {method_name!r} per environment, its emulators being "
                "C++; it has get_action_meanings"
            )
        return [[action.name for action in self._actions] for _ in self._get_indices(indices)]

    def env_is_wrapped(
        self,
        wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]],
        indices: VecEnvIndices = None,
    ) -> list[bool]:
        """True for `Monitor`, whose `episode` is given: `evaluate_policy` then reports scores."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def __reduce__(self) -> NoReturn:
        """Neither pickle nor deepcopy."""
        raise TypeError(
            "AtariVecEnv can be neither pickled nor copied, its emulators being C++ threads; "
            "construct another one"
        )

    def _open(self, call: str) -> AtariVectorEnv:
        if self._emulator is None:
            raise RuntimeError(f"{call} after close(): construct another AtariVecEnv")
        return self._emulator

    def _begin(
        self, obs: npt.NDArray[np.uint8], info: dict[str, Any], begun: Flags
    ) -> npt.NDArray[np.uint8]:
        """Take observations as the newest: each the first of its episode where `begun` (N,)."""
        self._lives = info["lives"]
        self._age = np.where(begun, 1, self._age + 1)
        self._hide_earlier_episodes(obs, self._age)
        self._frames = obs[:, -1]
        for env in np.flatnonzero(begun).tolist():
            self.reset_infos[env] = _row(info, env)
        return obs

    def _hide_earlier_episodes(
        self, obs: npt.NDArray[np.uint8], age: npt.NDArray[np.int64]
    ) -> None:
        """Blacken the frames of obs (N, S, ...) that are older than `age` (N,)."""
        newest_last = np.arange(self._protocol.stack, 0, -1)
        obs[newest_last > age[:, None]] = 0

    def _episode(self, env: int, length_frames: int) -> dict[str, float]:
        """A finished game, as `Monitor` inside `make_atari_env` tells it: `l` is in frames."""
        return {
            "r": float(self._scores[env]),
            "l": length_frames,
            "t": round(time.time() - self._opened_s, 6),
        }


def _row(info: Mapping[str, Any], env: int) -> dict[str, Any]:
    """What the ALE's info tells of one environment, under Gymnasium's names."""
    return {
        name: int(info[name][env]) for name in ("lives", "frame_number", "episode_frame_number")
    }


def _changed(protocol: AtariProtocol, **changes: Any) -> AtariProtocol:
    """The protocol with every change that is not None.

    Raises:
        UsageError: a number is out of range.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    changed = dataclasses.replace(protocol, **given)
    _check_whole("noop_max", changed.noop_max, at_least=0)
    _check_whole("frame_skip", changed.frameskip_frames, at_least=1)
    _check_whole("screen_size", changed.screen_pixels, at_least=1)
    _check_whole("n_stack", changed.stack, at_least=1)
    if not 0 <= changed.repeat_action_probability <= 1:
        raise UsageError(
            "action_repeat_probability must be in [0, 1], "
            f"got {changed.repeat_action_probability!r}"
        )
    return changed


def _check_whole(name: str, value: object, at_least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise UsageError(f"{name} must be an integer of {at_least} or more, got {value!r}")
