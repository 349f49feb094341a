"""Stable-Baselines3's `VecEnv` over the ALE's C++ vector environment.

`AtariVecEnv("Breakout", 8, seed=0)` replaces

    VecFrameStack(make_atari_env("BreakoutNoFrameskip-v4", n_envs=8, seed=0), n_stack=4)

and returns the same rewards, dones, `terminal_observation`, `lives`, `TimeLimit.truncated` and raw
scores in `episode` (with the length in frames, like SB3's `Monitor`). The stack is empty after each
done. The differences are:

- Observations are (4, 84, 84), as the ALE makes them and networks read them. SB3 detects that they
  are channels-first and does not transpose them.
- A pixel is the maximum of two frames' grays; SB3's is the gray of their maximal colours. They
  differ where things move over a coloured background, in under 1 % of the pixels.
- A reset lets 0 to 29 frames pass (SB3: 1 to 30) and presses FIRE for one frame. SB3 presses FIRE
  and then the third action, for four frames each.
- After a lost life the next observation is the terminal frame itself, and the next step presses
  FIRE instead of the given action, if the game has FIRE. SB3 plays NOOP, FIRE and the third action
  inside its reset, and the learner never sees their rewards. A policy that SB3 trained has never
  learned to press FIRE, so without this it would wait for a ball forever. Protocol `sticky` presses
  nothing.
- `reset` always starts a new game; SB3's continues a game that has lives left.

Dimension key: N environments, S frames in an observation.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from ale_py import Action
from gymnasium import spaces
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from wnrl._settings import SettingError
from wnrl.envs.atari_emulator import VectorEmulator, open_emulator
from wnrl.envs.call_order import check_actions
from wnrl.envs.game_modes.catalogue import check_modes, other_modes
from wnrl.envs.game_modes.emulator import ModeEmulators
from wnrl.envs.games import require_rom_id
from wnrl.envs.protocols import GAMES_OWN, AtariProtocol, protocol_named
from wnrl.envs.vector import Flags
from wnrl.sb3.cpp_vec_env import CppVecEnv

SEEDS = 2**31  # the ALE takes an int32; SB3 draws a uint32 if no seed is given
PIXELS_UPSCALED = 4  # screen pixels per pixel of a rendered frame, along each side
OPTIONS = ("mode", "difficulty")  # of `set_options`
# Names of `AtariWrapper`, `VecFrameStack` and Gymnasium -> fields of the protocol.
PROTOCOL_FIELDS = {
    "noop_max": "noop_max",
    "frame_skip": "frameskip_frames",
    "screen_size": "screen_pixels",
    "terminal_on_life_loss": "life_loss",
    "fire_reset": "fire_reset",
    "full_action_space": "full_action_space",
    "max_episode_steps": "max_episode_frames",
    "mode": "mode",
    "difficulty": "difficulty",
    "action_repeat_probability": "repeat_action_probability",
    "n_stack": "stack",
}
SMALLEST = {
    "noop_max": 0,
    "frame_skip": 1,
    "screen_size": 1,
    "max_episode_steps": 1,
    "mode": 0,
    "difficulty": 0,
    "n_stack": 1,
}
LARGEST = {"screen_size": 160, "noop_max": 10_000, "frame_skip": 60, "max_episode_steps": 10**7}


class AtariVecEnv(CppVecEnv):
    """N copies of one Atari game, stepped by the ALE's own threads.

    Do not fork the process while an environment is open: its threads do not survive that.
    """

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
        fire_reset: bool | None = None,
        full_action_space: bool = False,
        max_episode_steps: int | None = None,
        mode: int | None = None,
        difficulty: int | None = None,
        clip_reward: bool = True,
        action_repeat_probability: float | None = None,
        n_stack: int | None = None,
        num_threads: int = 0,
    ) -> None:
        """Build the emulators; call `reset` next, as SB3's algorithms do themselves.

        The names are those of `AtariWrapper` and `VecFrameStack`. None means the protocol's value;
        for protocol `classic` this is their default.

        Args:
            game: `Breakout`, `breakout`, `ALE/Breakout-v5`, `BreakoutNoFrameskip-v4`.
            n_envs: N.
            seed: as in `VecEnv.seed`: environment n starts from seed + n. None draws one.
            protocol: a name in `wnrl.envs.protocols.PROTOCOLS`.
            noop_max: a reset lets fewer frames than this pass; 0 for none.
            frame_skip: frames per step.
            screen_size: side of the square observation, in pixels.
            terminal_on_life_loss: report a lost life as a done; the game goes on.
            fire_reset: press FIRE at a reset and after a lost life, where the game has it.
            full_action_space: all 18 actions instead of the game's own.
            max_episode_steps: longest game, in steps.
            mode: version of the game, by the ALE's number; None is the game's default. Another
                mode or difficulty runs on one core, because the ALE's threads know none.
            difficulty: position of the console's switches, likewise.
            clip_reward: make rewards the sign of the score's change; `episode` has the score.
            action_repeat_probability: probability of repeating the last frame's action.
            n_stack: S.
            num_threads: emulator threads; 0 is one per environment, at most one per core.

        Raises:
            UsageError: an unknown game or protocol, a game for several players, or a number out of
                range.
        """
        self.protocol = _protocol_with(
            game,
            protocol,
            noop_max=noop_max,
            frame_skip=frame_skip,
            screen_size=screen_size,
            terminal_on_life_loss=terminal_on_life_loss,
            fire_reset=fire_reset,
            full_action_space=full_action_space,
            max_episode_steps=max_episode_steps,
            mode=mode,
            difficulty=difficulty,
            action_repeat_probability=action_repeat_probability,
            n_stack=n_stack,
        )
        _check_whole("n_envs", n_envs, smallest=1)
        _check_whole("num_threads", num_threads, smallest=0)
        self._clip_reward = clip_reward
        self._rom = require_rom_id(game)
        self._emulator: VectorEmulator | None = open_emulator(
            self._rom, n_envs, self.protocol, num_threads=num_threads
        )
        self._modes = [{name: getattr(self.protocol, name) for name in OPTIONS}] * n_envs
        self._actions: list[Action] = self._emulator.ale.get_action_set()
        presses = self.protocol.fire_reset and Action.FIRE in self._actions
        self._fire = self._actions.index(Action.FIRE) if presses else None
        self._newest_seeds: list[int | None] = []  # of the newest reset from seeds
        self._opened_s = time.time()
        self._stepping = False
        self._frames: npt.NDArray[np.uint8] | None = None  # (N, height, width), the newest
        self._lives = np.zeros(n_envs, np.int32)
        self._scores = np.zeros(n_envs, np.float64)  # scores of the running games
        self._age = np.ones(n_envs, np.int64)  # frames since the last done: the stack shows these
        self._relaunch = np.zeros(n_envs, np.bool_)  # the next step presses FIRE
        super().__init__(n_envs, _pictures(self.protocol), spaces.Discrete(len(self._actions)))
        self.seed(seed)

    def set_options(self, options: list[dict[str, Any]] | dict[str, Any] | None = None) -> None:
        """Choose the modes and difficulties that the games have from the next reset on.

        Args:
            options: `mode`, `difficulty` or both, for all environments; or a list of such dicts,
                one for each. What is left out stays.

        Raises:
            UsageError: another option, or a mode or difficulty that the game does not have.
        """
        each = options if isinstance(options, list) else [options or {}] * self.num_envs
        if len(each) != self.num_envs or not all(isinstance(x, Mapping) for x in each):
            raise SettingError(
                "options", f"must be a dict, or a list of {self.num_envs} dicts, got {options!r}"
            )
        for chosen in each:
            self._check_options(chosen)
        super().set_options(options)

    def _check_options(self, chosen: Mapping[str, Any]) -> None:
        for name, value in chosen.items():
            if name not in OPTIONS:
                raise SettingError("options", f"{name!r} is unknown; allowed: {', '.join(OPTIONS)}")
            _check_whole(name, value, smallest=0)
        check_modes(self._rom, *(chosen.get(name, GAMES_OWN) for name in OPTIONS))

    def _switch_modes(self) -> None:
        """Open emulators in the modes of the options, if these are others than now."""
        chosen = [{**now, **new} for now, new in zip(self._modes, self._options, strict=True)]
        modes = [other_modes(self._rom, *(each[name] for name in OPTIONS)) for each in chosen]
        if modes == self._modes:
            return
        self._modes = modes
        self._emulator = emulators = ModeEmulators(self._rom, self.num_envs, self.protocol)
        for env, each in enumerate(modes):
            emulators.switch(env, **each)
        if self._seeds[0] is None:
            self._seeds = list(self._newest_seeds)

    def reset(self) -> npt.NDArray[np.uint8]:
        """Start N games, from seeds if `seed` was called, and drop an outstanding step.

        Returns:
            The first observations (N, S, height, width).
        """
        emulator = self._open("reset()")
        if self._stepping:
            self._stepping = False
            emulator.recv()
        self._switch_modes()
        emulator = self._open("reset()")
        seeds = None
        if self._seeds[0] is not None:
            self._newest_seeds = list(self._seeds)
            seeds = np.array([seed % SEEDS for seed in self._seeds if seed is not None])
        obs, info = emulator.reset(seed=seeds)
        self._reset_seeds()
        self._reset_options()
        self._scores[:] = 0.0
        self._relaunch[:] = False
        return self._begin(obs, info, np.ones(self.num_envs, np.bool_))

    def step_async(self, actions: npt.ArrayLike) -> None:
        """Let the emulators begin a step with actions (N,).

        Raises:
            ValueError: actions of another type or shape, or out of range.
            RuntimeError: a call out of turn.
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
            obs: (N, S, height, width) uint8, the next episode's first if done.
            rewards: (N,) float32.
            dones: (N,) bool.
            infos: one dict per environment.

        Raises:
            RuntimeError: a call out of turn.
        """
        emulator = self._open("step_wait()")
        if not self._stepping:
            raise RuntimeError("step_wait() out of turn: step_async() comes first")
        # Set before recv(), which Ctrl-C may leave: a second recv() of one step waits forever.
        self._stepping = False
        obs, score, game_over, capped, info = emulator.recv()
        lives = info["lives"]
        # At 0 lives some games, Qbert among them, go on for a few frames; then the game is over.
        life_lost = (lives > 0) & (lives < self._lives) & self.protocol.life_loss
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
        self._emulator = None  # its own close() does nothing; dropping the last reference stops it

    def get_images(self) -> Sequence[npt.NDArray[np.uint8] | None]:
        """Return the newest frames as the policy sees them: gray, enlarged, N of (336, 336, 3)."""
        if self._frames is None:
            raise RuntimeError("get_images() out of turn: reset() comes first")
        large = self._frames.repeat(PIXELS_UPSCALED, axis=1).repeat(PIXELS_UPSCALED, axis=2)
        return list(np.repeat(large[..., None], 3, axis=3))

    def action_meanings(self) -> list[str]:
        """Return the ALE's names of the actions, in order."""
        return [action.name for action in self._actions]

    def _open(self, call: str) -> VectorEmulator:
        if self._emulator is None:
            raise RuntimeError(f"{call} after close(): construct another AtariVecEnv")
        return self._emulator

    def _begin(
        self, obs: npt.NDArray[np.uint8], info: dict[str, Any], begun: Flags
    ) -> npt.NDArray[np.uint8]:
        """Record and return the newest observations, first of their episodes where `begun` (N,)."""
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
        """Set the frames of obs (N, S, ...) that are older than `age` (N,) to 0."""
        newest_last = np.arange(self.protocol.stack, 0, -1)
        obs[newest_last > age[:, None]] = 0

    def _episode(self, env: int, length_frames: int) -> dict[str, float]:
        """Return a finished game as `make_atari_env`'s `Monitor` reports it; `l` is in frames."""
        return {
            "r": float(self._scores[env]),
            "l": length_frames,
            "t": round(time.time() - self._opened_s, 6),
        }


def _row(info: Mapping[str, Any], env: int) -> dict[str, Any]:
    """Return the ALE's info of one environment under Gymnasium's names."""
    return {
        name: int(info[name][env]) for name in ("lives", "frame_number", "episode_frame_number")
    }


def _pictures(protocol: AtariProtocol) -> spaces.Box:
    """Return the space of an environment's observations."""
    side = protocol.screen_pixels
    return spaces.Box(0, 255, (protocol.stack, side, side), np.uint8)


def _protocol_with(game: str, protocol: str, **arguments: Any) -> AtariProtocol:
    """Return the protocol changed by every argument that is not None.

    Args:
        game: the game.
        protocol: name of the protocol to start from.
        **arguments: names of `PROTOCOL_FIELDS`.

    Raises:
        UsageError: an unknown game or protocol.
        SettingError: a number out of range, or a mode that the game does not have.
    """
    rom, named = require_rom_id(game), protocol_named(protocol)
    given = {name: value for name, value in arguments.items() if value is not None}
    for name in ("fire_reset", "full_action_space", "terminal_on_life_loss"):
        if not isinstance(given.get(name, False), bool):
            raise SettingError(name, f"must be True or False, got {given[name]!r}")
    for name, smallest in SMALLEST.items():
        if name in given:
            _check_whole(name, given[name], smallest, LARGEST.get(name))
    probability = given.get("action_repeat_probability", 0.0)
    if not 0 <= probability <= 1:
        raise SettingError("action_repeat_probability", f"must be in [0, 1], got {probability!r}")
    modes = given.pop("mode", GAMES_OWN), given.pop("difficulty", GAMES_OWN)
    check_modes(game, *modes)
    if "max_episode_steps" in given:
        given["max_episode_steps"] *= given.get("frame_skip", named.frameskip_frames)
    changes = {PROTOCOL_FIELDS[name]: value for name, value in given.items()}
    return named.changed(changes | other_modes(rom, *modes))


def _check_whole(name: str, value: object, smallest: int, largest: int | None = None) -> None:
    """Raise SettingError unless an argument is an integer from `smallest` to `largest`."""
    if type(value) is not int or value < smallest or (largest is not None and value > largest):
        allowed = f"{smallest} or more" if largest is None else f"{smallest} to {largest:_}"
        raise SettingError(name, f"must be an integer of {allowed}, got {value!r}")
