"""Atari games: the ALE's C++ vector environment behind `VectorEnv`, resumable bit for bit.

The emulator steps in threads of its own between `send` and `recv`. It can be neither copied nor
saved, so each environment remembers the seed of its last seeded reset and every action since: its
log. Loading plays the logs again. A log ends with the first episode that ends after
`replay_limit_steps` actions: there the environment is reset from a new seed.

Dimension key: N environments.
"""

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from ale_py.vector_env import AtariVectorEnv

from wnrl._settings import UsageError
from wnrl.envs.call_order import Turns, check_actions, check_num_envs
from wnrl.envs.games import require_rom_id
from wnrl.envs.protocols import AtariProtocol, protocol_named
from wnrl.envs.seeding import integer_seed
from wnrl.envs.vector import Actions, Flags, ObservationSpec, Step

NOOP = 0  # the first of every game's actions


class EpisodeLog(NamedTuple):
    """From what the newest episode of one environment can be played again."""

    seed: int  # of the emulator's last seeded reset
    actions: npt.NDArray[np.uint8]  # (T,) every action sent since
    start: int  # actions before the newest episode's first observation; 0: it began at the seed


def open_emulator(
    rom: str,
    num_envs: int,
    protocol: AtariProtocol,
    *,
    num_threads: int = 0,
    colour: bool = False,
) -> AtariVectorEnv:
    """The ALE's vector environment, with everything that hides rewards or resets lives turned off.

    Args:
        rom: a playable ROM id of `wnrl.envs.games` (the ALE ends the process on some others).
        num_envs: N.
        protocol: how the game is played.
        num_threads: emulator threads; 0 is one per environment, at most one per core.
        colour: whole colour frames (1, 210, 160, 3) in place of stacks of gray ones. The game takes
            the same course.
    """
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
        life_loss_info=False,  # would drop the reward after a lost life and report lives as ends
        reward_clipping=False,  # learners clip; scores need the raw rewards
        use_fire_reset=protocol.fire_reset,
    )


class Atari:
    """N copies of one Atari game: a `VectorEnv` of stacked gray frames.

    `life_lost` is given by protocols with `life_loss`, on rows where the lives fell and the game
    goes on. `terminated` and `truncated` exclude each other.

    Do not fork the process while one is open: its threads do not survive that.
    """

    def __init__(
        self,
        game: str,
        num_envs: int,
        seed: int,
        protocol: str = "classic",
        num_threads: int = 0,
        *,
        stack: int = 0,
        replay_limit_steps: int = 5_000,
    ) -> None:
        """Build the emulators; `reset` or `load_state_dict` comes next.

        Args:
            game: a name that `wnrl.envs.games.rom_id` knows.
            num_envs: N.
            seed: the run's seed; every emulator derives its own from it.
            protocol: a name in `wnrl.envs.protocols.PROTOCOLS`.
            num_threads: emulator threads; 0 is one per environment, at most one per core.
            stack: frames in one observation; 0 is the protocol's number.
            replay_limit_steps: an environment with more actions than this in its log is reset from
                a new seed where its episode ends (0.1 to 0.3 s).

        Raises:
            UsageError: an unknown game or protocol, or a game for several players.
            ValueError: a number out of range.
        """
        if num_threads < 0:
            raise ValueError(f"num_threads must be 0 (automatic) or more, got {num_threads}")
        if replay_limit_steps < 0:
            raise ValueError(f"replay_limit_steps must be 0 or more, got {replay_limit_steps}")
        self.num_envs = check_num_envs(num_envs)
        self.protocol = protocol_named(protocol, stack)
        self.rom = require_rom_id(game)
        self._seed = seed
        self._replay_limit_steps = replay_limit_steps
        self._turns = Turns()
        self._emulator: AtariVectorEnv | None = open_emulator(
            self.rom, num_envs, self.protocol, num_threads=num_threads
        )
        self.num_actions = len(self._emulator.ale.get_action_set())
        side, frames = self.protocol.screen_pixels, self.protocol.stack
        self.observation = ObservationSpec((frames, side, side), "uint8", frames)
        self._seedings = [0] * num_envs  # seeded resets so far, the first not counted
        self._logs = [bytearray() for _ in range(num_envs)]
        self._starts = [0] * num_envs
        self._obs = np.zeros((num_envs, *self.observation.shape), np.uint8)
        self._lives = np.zeros(num_envs, np.int32)
        self._first = np.zeros(num_envs, np.bool_)
        self._ended = np.zeros(num_envs, np.bool_)  # the next step is the emulator's autoreset
        self._sent = np.zeros(num_envs, np.int64)

    @property
    def obs(self) -> npt.NDArray[np.uint8]:
        """(N, 4, 84, 84) The newest observations, of fewer or more frames where asked for."""
        self._turns.look_at_newest("obs")
        return self._obs

    @property
    def first(self) -> Flags:
        """(N,) Whether each newest observation is its episode's first."""
        self._turns.look_at_newest("first")
        return self._first.copy()

    def reset(self) -> None:
        """Start every environment's first episode, from the seed given at construction."""
        self._turns.start()
        self._seedings = [0] * self.num_envs
        self._logs = [bytearray() for _ in range(self.num_envs)]
        self._starts = [0] * self.num_envs
        self._seeded_reset(np.ones(self.num_envs, np.bool_))
        self._first = np.ones(self.num_envs, np.bool_)
        self._ended = np.zeros(self.num_envs, np.bool_)

    def send(self, actions: Actions) -> None:
        """Let the emulators begin a step with actions (N,) in [0, num_actions)."""
        sent = check_actions(actions, self.num_envs, self.num_actions)
        self._turns.send()
        self._sent = sent
        self._open.send(sent)

    def recv(self) -> Step:
        """Wait for the step begun by `send`."""
        self._turns.receive()
        self._obs, reward, game_over, capped, info = self._open.recv()
        first = self._ended
        for env, action in enumerate(self._sent.tolist()):
            self._logs[env].append(action)
            if first[env]:
                self._starts[env] = len(self._logs[env])
        lives, self._lives = self._lives, info["lives"]
        life_lost = (self._lives < lives) & ~first & ~game_over & self.protocol.life_loss
        too_long = np.array([len(log) > self._replay_limit_steps for log in self._logs])
        if np.any(first & too_long):
            # After the autoreset, not in its place: the emulator's step is the same for all rows.
            self._seed_anew(first & too_long)
        self._first = first
        self._ended = game_over | capped
        return Step(
            action=self._sent,
            reward=np.where(first, 0, reward).astype(np.float32),
            terminated=game_over.copy(),
            truncated=capped & ~game_over,
            life_lost=life_lost,
            first=first.copy(),
            obs=self._obs.copy(),
        )

    def episode_log(self, env: int) -> EpisodeLog:
        """What `wnrl.envs.atari_colour.colour_frames` needs to show the newest episode of `env`."""
        self._turns.look("episode_log()")
        actions = np.frombuffer(bytes(self._logs[env]), np.uint8)
        return EpisodeLog(self._emulator_seed(env), actions, self._starts[env])

    def state_dict(self) -> dict[str, Any]:
        """Logs, counters and checksums: a few kilobytes per environment."""
        self._turns.look("state_dict()")
        return {
            "identity": self._identity(),
            "seedings": list(self._seedings),
            "logs": [torch.tensor(list(log), dtype=torch.uint8) for log in self._logs],
            "starts": list(self._starts),
            "first": self._first.tolist(),
            "ended": self._ended.tolist(),
            "checksums": _checksums(self._obs),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Play the logs again, which takes as long as playing them did.

        Raises:
            ValueError: the state is of another game, protocol, stack, seed or number of
                environments.
            UsageError: the emulator did not come back to the same observations, so it is not the
                version that played the logs.
        """
        if state["identity"] != self._identity():
            raise ValueError(
                f"the state is of {state['identity']}, this environment is {self._identity()}"
            )
        self._turns.start()
        self._seedings = list(state["seedings"])
        self._logs = [bytearray(log.tolist()) for log in state["logs"]]
        self._starts = list(state["starts"])
        self._play_logs()
        self._first = np.array(state["first"], np.bool_)
        self._ended = np.array(state["ended"], np.bool_)
        if _checksums(self._obs) != state["checksums"]:
            raise UsageError(
                f"playing {self.rom} again did not lead to the saved observations: the state was "
                "taken with another version of ale-py; install the one named in config.json"
            )

    def close(self) -> None:
        """Stop the emulator's threads. Harmless when repeated."""
        self._turns.close()
        self._emulator = None  # its own close() does nothing; the last reference does

    @property
    def _open(self) -> AtariVectorEnv:
        assert self._emulator is not None, "self._turns lets no call through after close()"
        return self._emulator

    def _identity(self) -> dict[str, Any]:
        return {
            "rom": self.rom,
            "protocol": self.protocol.description,
            "num_envs": self.num_envs,
            "seed": self._seed,
            "replay_limit_steps": self._replay_limit_steps,
        }

    def _emulator_seed(self, env: int) -> int:
        return integer_seed(self._seed, "environment", env, self._seedings[env])

    def _seed_anew(self, which: Flags) -> None:
        """Give the environments in `which` (N,) a new seed and an empty log, and reset them."""
        for env in np.flatnonzero(which).tolist():
            self._seedings[env] += 1
            self._logs[env] = bytearray()
            self._starts[env] = 0
        self._seeded_reset(which)

    def _seeded_reset(self, which: Flags) -> None:
        """Reset the environments in `which` (N,) from their seeds; the others stay as they are."""
        seeds = np.array([self._emulator_seed(env) for env in np.flatnonzero(which).tolist()])
        self._obs, info = self._open.reset(seed=seeds, options={"reset_mask": which})
        self._lives = info["lives"]

    def _play_logs(self) -> None:
        """Bring every environment from its seed to the end of its log, all at the same step."""
        lengths = np.array([len(log) for log in self._logs])
        begins = lengths.max() - lengths  # (N,) steps to wait, so that all logs end together
        actions = np.full((lengths.max(), self.num_envs), NOOP, np.int64)
        for env, log in enumerate(self._logs):
            actions[begins[env] :, env] = np.frombuffer(log, np.uint8)
        self._seeded_reset(np.ones(self.num_envs, np.bool_))
        for step in range(lengths.max() + 1):
            if step > 0 and np.any(begins == step):
                self._seeded_reset(begins == step)
            if step < lengths.max():
                self._open.send(actions[step])
                self._obs, _, _, _, info = self._open.recv()
                self._lives = info["lives"]


def _checksums(obs: npt.NDArray[np.uint8]) -> list[int]:
    """One CRC-32 per environment of observations (N, ...)."""
    return [zlib.crc32(observation.tobytes()) for observation in obs]
