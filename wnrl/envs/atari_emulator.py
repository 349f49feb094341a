"""The ALE's C++ vector environment, opened with settings that hide no reward and no end.

Dimension key: N emulators, n of them reset.
"""

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from ale_py.vector_env import AtariVectorEnv

from wnrl.envs.game_modes.emulator import ModeEmulators
from wnrl.envs.protocols import AtariProtocol
from wnrl.envs.usable_cpus import usable_cpus
from wnrl.envs.vector import Actions, Flags

GROUP = 16  # emulators opened together where cores are few
FEW_CORES = 3  # with more, resets are so fast that groups would not pay

VectorEmulator = AtariVectorEnv | ModeEmulators


def open_emulator(
    rom: str,
    num_envs: int,
    protocol: AtariProtocol,
    *,
    num_threads: int = 0,
    colour: bool = False,
) -> VectorEmulator:
    """Open the emulators. Nothing in them clips rewards or resets a game at a lost life.

    Args:
        rom: a playable ROM id of `wnrl.envs.games` (the ALE ends the process on some others).
        num_envs: number of emulators.
        protocol: how the game is played.
        num_threads: emulator threads; 0 is one per environment, at most one per core.
        colour: return whole colour frames (1, 210, 160, 3) instead of stacks of gray ones. The game
            takes the same course.
    """
    if not protocol.default_game:
        return ModeEmulators(rom, num_envs, protocol, colour=colour)
    height, width = (210, 160) if colour else (protocol.screen_pixels,) * 2
    return AtariVectorEnv(
        rom,
        num_envs,
        num_threads=num_threads,
        max_num_frames_per_episode=protocol.max_episode_frames,
        repeat_action_probability=protocol.repeat_action_probability,
        full_action_space=protocol.full_action_space,
        autoreset_mode="NextStep",
        img_height=height,
        img_width=width,
        grayscale=not colour,
        stack_num=1 if colour else protocol.stack,
        frameskip=protocol.frameskip_frames,
        noop_max=protocol.noop_max,
        episodic_life=False,  # would really reset the game at each lost life
        life_loss_info=False,  # would drop the reward after a lost life and report it as an end
        reward_clipping=False,  # learners clip; scores need the raw rewards
        use_fire_reset=protocol.fire_reset,
    )


@functools.cache
def count_actions(rom: str, protocol: AtariProtocol) -> int:
    """Return the number of a game's actions, which takes an emulator of its own once."""
    return len(open_emulator(rom, 1, protocol, num_threads=1).ale.get_action_set())


class Screens(NamedTuple):
    """What N emulators show."""

    obs: npt.NDArray[np.uint8]  # (N, S, 84, 84)
    lives: npt.NDArray[np.int32]  # (N,)


class Played(NamedTuple):
    """The result of a step of N emulators, as the ALE gives it."""

    screens: Screens
    reward: npt.NDArray[np.int32]  # (N,)
    game_over: Flags  # (N,)
    capped: Flags  # (N,) at the longest length of an episode; may be over as well


class Emulators:
    """N emulators of one game, opened at their first reset.

    Each takes 0.1 s of CPU time to open, one after the other, and 0.1 s to reset from a seed, in
    the ALE's threads: in both the ALE loads the ROM and makes a table of colours. On few cores they
    are opened in groups, and one group is reset while the next one is opened.
    """

    def __init__(
        self, rom: str, num_envs: int, protocol: AtariProtocol, *, num_threads: int = 0
    ) -> None:
        """Open nothing yet; the arguments are those of `open_emulator`."""
        size = GROUP if usable_cpus() <= FEW_CORES else num_envs
        self._begins = range(0, num_envs, size)
        self._sizes = [min(size, num_envs - begin) for begin in self._begins]
        self._open = functools.partial(
            open_emulator, rom, protocol=protocol, num_threads=num_threads
        )
        self._groups: list[VectorEmulator] = []
        self._screens: list[Screens] = []  # of each group

    def reset(self, seeds: npt.NDArray[np.int64], which: Flags) -> Screens:
        """Reset the emulators in `which` (N,) from seeds (n,); the first time, that must be all.

        Returns:
            What all N emulators show, those that were not reset too.
        """
        pending: dict[int, Any] = {}
        with ThreadPoolExecutor(len(self._sizes)) as threads:
            for k, mask in enumerate(np.split(which, self._begins[1:])):
                if k == len(self._groups):
                    self._groups.append(self._open(self._sizes[k]))
                    self._screens.append(Screens(np.empty(0, np.uint8), np.empty(0, np.int32)))
                own, seeds = np.split(seeds, [int(mask.sum())])
                if own.size:
                    options = {"reset_mask": mask}
                    pending[k] = threads.submit(self._groups[k].reset, seed=own, options=options)
        for k, reset in pending.items():
            obs, info = reset.result()
            self._screens[k] = Screens(obs, info["lives"])
        return Screens(*map(_joined, zip(*self._screens, strict=True)))

    def send(self, actions: Actions) -> None:
        """Let the emulators begin a step with actions (N,)."""
        for group, part in zip(self._groups, np.split(actions, self._begins[1:]), strict=True):
            group.send(part)

    def recv(self) -> Played:
        """Wait for the step begun by `send`."""
        played = [group.recv() for group in self._groups]
        self._screens = [Screens(obs, info["lives"]) for obs, *_, info in played]
        reward, game_over, capped = (_joined([each[part] for each in played]) for part in (1, 2, 3))
        screens = Screens(*map(_joined, zip(*self._screens, strict=True)))
        return Played(screens, reward, game_over, capped)


def _joined(parts: Any) -> Any:
    """Return arrays one after the other; a single one as it is."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
