"""Emulators in a chosen mode and difficulty, with the interface of the ALE's vector environment.

The ALE's vector environment plays every game in its default mode. So this one steps the ALE's
single emulators one after the other. In the default mode its observations, rewards and ends are
the same, bit for bit; only no-ops are drawn from another generator. It works on one core, and the
learner waits meanwhile.

Dimension key: N emulators, S frames in an observation, H x W pixels.
"""

import numpy as np
import numpy.typing as npt
from ale_py import Action

from wnrl.envs.game_modes.area_average import shrink
from wnrl.envs.game_modes.catalogue import game_facts, load_game, new_emulator
from wnrl.envs.protocols import GAMES_OWN, AtariProtocol
from wnrl.envs.vector import Actions, Flags

Played = tuple[
    npt.NDArray[np.uint8], npt.NDArray[np.int32], Flags, Flags, dict[str, npt.NDArray[np.int32]]
]


class ModeEmulators:
    """N emulators of one game. Each has its own mode and difficulty, at first the protocol's."""

    def __init__(
        self, rom: str, num_envs: int, protocol: AtariProtocol, *, colour: bool = False
    ) -> None:
        """Load nothing yet; the arguments are those of `wnrl.envs.atari_emulator.open_emulator`."""
        facts, self._protocol, self._rom = game_facts(rom), protocol, rom
        self._actions = facts.all_actions if protocol.full_action_space else facts.own_actions
        self._presses = protocol.fire_reset and Action.FIRE in self._actions
        self._colour = colour
        self._games = [new_emulator() for _ in range(num_envs)]
        for game in self._games:
            game.setFloat("repeat_action_probability", protocol.repeat_action_probability)
        self._loaded = np.zeros(num_envs, np.bool_)
        self._random = [np.random.default_rng(0) for _ in range(num_envs)]
        self._switches = [(protocol.mode, protocol.difficulty)] * num_envs
        pixels = (*facts.screen, 3) if colour else facts.screen
        shown = pixels if colour else (protocol.screen_pixels,) * 2
        self._frames = np.zeros((2, num_envs, *pixels), np.uint8)  # the last two of each step
        self._obs = np.zeros((num_envs, 1 if colour else protocol.stack, *shown), np.uint8)
        self._elapsed_frames = np.zeros(num_envs, np.int64)
        self._over = np.zeros(num_envs, np.bool_)
        self._sent: Actions = np.zeros(num_envs, np.int64)

    @property
    def ale(self) -> "ModeEmulators":
        """The part of the vector environment that knows the actions."""
        return self

    def get_action_set(self) -> list[Action]:
        """Return the actions, in order."""
        return list(self._actions)

    def switch(self, env: int, mode: int, difficulty: int) -> None:
        """Set the switches of one emulator, which its next reset from a seed reads."""
        self._switches[env] = mode, difficulty

    def reset(
        self,
        *,
        seed: npt.NDArray[np.int64] | None = None,
        options: dict[str, Flags] | None = None,
    ) -> tuple[npt.NDArray[np.uint8], dict[str, npt.NDArray[np.int32]]]:
        """Reset the emulators in `reset_mask` (N,), all without it, from seeds (n,) if given.

        Returns:
            What all N emulators show (N, S, ...), and their numbers.
        """
        everyone = np.ones(len(self._games), np.bool_)
        which = np.flatnonzero((options or {}).get("reset_mask", everyone))
        for k, env in enumerate(which.tolist()):
            self._begin(env, None if seed is None else int(seed[k]))
        self._show(which)
        return self._obs.copy(), self._numbers()

    def send(self, actions: Actions) -> None:
        """Keep actions (N,) for `recv`."""
        self._sent = actions

    def recv(self) -> Played:
        """Step the emulators one after the other; those whose episode is over are reset instead."""
        capped_frames, envs = self._protocol.max_episode_frames, len(self._games)
        ended = self._over | (self._elapsed_frames >= capped_frames)
        rewards = np.zeros(envs, np.int32)
        for env, action in enumerate(self._sent.tolist()):
            if ended[env]:
                self._begin(env, None)
            else:
                rewards[env] = self._act(env, self._actions[action])
        self._show(np.arange(envs))
        truncated = (self._elapsed_frames >= capped_frames) & ~self._over
        return self._obs.copy(), rewards, self._over.copy(), truncated, self._numbers()

    def step(self, actions: Actions) -> Played:
        """Send actions (N,) and wait."""
        self.send(actions)
        return self.recv()

    def _begin(self, env: int, seed: int | None) -> None:
        """Start an episode of one emulator, and keep its screen as the newest frame."""
        game, (mode, difficulty) = self._games[env], self._switches[env]
        if seed is not None:
            game.setInt("random_seed", seed)
            self._random[env] = np.random.default_rng(seed)
        if seed is not None or not self._loaded[env]:
            load_game(game, self._rom)
            self._loaded[env] = True
        if mode != GAMES_OWN:
            game.setMode(mode)
        if difficulty != GAMES_OWN:
            game.setDifficulty(difficulty)
        game.reset_game()
        if self._presses:
            game.act(Action.FIRE)
        noops = int(self._random[env].integers(max(1, self._protocol.noop_max)))
        for _ in range(noops - self._presses):
            game.act(Action.NOOP)
            if game.game_over():
                game.reset_game()
        self._obs[env] = 0
        self._frames[1, env] = 0
        self._keep_screen(0, env)
        self._elapsed_frames[env] = 0
        self._over[env] = False

    def _act(self, env: int, action: Action) -> int:
        """Play one step of one emulator, keep its last two frames, and return the reward."""
        game, protocol = self._games[env], self._protocol
        reward = 0
        for left in reversed(range(protocol.frameskip_frames)):
            reward += game.act(action)
            self._elapsed_frames[env] += 1
            self._over[env] = game.game_over()
            if self._over[env] or self._elapsed_frames[env] >= protocol.max_episode_frames:
                break  # before the frame is kept, as in the vector environment
            if left < 2:
                self._keep_screen(left, env)
        return reward

    def _keep_screen(self, k: int, env: int) -> None:
        screen = self._frames[k, env]
        if self._colour:
            self._games[env].getScreenRGB(screen)
        else:
            self._games[env].getScreenGrayscale(screen)

    def _show(self, which: npt.NDArray[np.int64]) -> None:
        """Add the maximum of the last two frames to the observations of emulators `which` (n,)."""
        brightest = np.maximum(self._frames[0, which], self._frames[1, which])
        self._frames[0, which] = brightest  # an end keeps no frames, so the next maximum has it
        self._obs[which, :-1] = self._obs[which, 1:]
        shown = brightest if self._colour else shrink(brightest, self._protocol.screen_pixels)
        self._obs[which, -1] = shown

    def _numbers(self) -> dict[str, npt.NDArray[np.int32]]:
        """Return (N,) each, under the names of the vector environment."""
        games = self._games

        def of(numbers: list[int]) -> npt.NDArray[np.int32]:
            return np.array(numbers, np.int32)

        return {
            "env_id": of(list(range(len(games)))),
            "lives": of([game.lives() for game in games]),
            "frame_number": of([game.getFrameNumber() for game in games]),
            "episode_frame_number": of([game.getEpisodeFrameNumber() for game in games]),
        }
