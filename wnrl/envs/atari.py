"""Atari games: the ALE's C++ vector environment behind `VectorEnv`, resumable bit for bit.

The emulator steps in its own threads between `send` and `recv`. It can be neither copied nor saved,
so each environment has a log (`wnrl.envs.action_log`), and loading a state plays the logs again. A
log ends with the first episode that ends after `replay_limit_steps` actions: the environment is
then reset from a new seed.

Dimension key: N environments.
"""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from wnrl._settings import UsageError
from wnrl.envs.action_log import ActionLog, ActionLogs
from wnrl.envs.atari_emulator import Emulators, count_actions
from wnrl.envs.call_order import HEARTBEAT, CallOrder, check_actions, check_identity, check_num_envs
from wnrl.envs.game_modes.catalogue import check_modes
from wnrl.envs.games import require_rom_id
from wnrl.envs.protocols import UNCHANGED, Changes, protocol_named
from wnrl.envs.recording import of_atari
from wnrl.envs.vector import Actions, Flags, ObservationSpec, Recording, Step


class Atari:
    """N copies of one Atari game: a `VectorEnv` of stacked gray frames.

    `life_lost` is reported by protocols with `life_loss`, on rows where the lives fell and the game
    goes on. `terminated` and `truncated` exclude each other.

    Do not fork the process while an environment is open: its threads do not survive that.
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
        changes: Changes = UNCHANGED,
        replay_limit_steps: int = 5_000,
    ) -> None:
        """Describe the environments; `reset` and `load_state_dict` open the emulators.

        Args:
            game: a name that `wnrl.envs.games.rom_id` knows.
            num_envs: N.
            seed: the run's seed; every emulator derives its own from it.
            protocol: a name in `wnrl.envs.protocols.PROTOCOLS`.
            num_threads: emulator threads; 0 is one per environment, at most one per core.
            stack: frames in one observation; 0 is the protocol's number.
            changes: fields of the protocol with other values.
            replay_limit_steps: an environment with more actions than this in its log is reset from
                a new seed where its episode ends (0.1 to 0.3 s).

        Raises:
            UsageError: an unknown game or protocol, a game for several players, or a mode or
                difficulty that the game does not have.
            ValueError: a number out of range.
        """
        if num_threads < 0:
            raise ValueError(f"num_threads must be 0 (automatic) or more, got {num_threads}")
        if replay_limit_steps < 0:
            raise ValueError(f"replay_limit_steps must be 0 or more, got {replay_limit_steps}")
        self.num_envs = check_num_envs(num_envs)
        self.protocol = protocol_named(protocol, stack, changes)
        self.rom = require_rom_id(game)
        check_modes(game, self.protocol.mode, self.protocol.difficulty)
        self._seed = seed
        self._replay_limit_steps = replay_limit_steps
        self._order = CallOrder()
        self._emulators: Emulators | None = Emulators(
            self.rom, num_envs, self.protocol, num_threads=num_threads
        )
        self.num_actions = count_actions(self.rom, self.protocol)
        side, frames = self.protocol.screen_pixels, self.protocol.stack
        self.observation = ObservationSpec((frames, side, side), "uint8", frames)
        self._logs = ActionLogs(num_envs, seed)
        self._obs = np.zeros((num_envs, *self.observation.shape), np.uint8)
        self._lives = np.zeros(num_envs, np.int32)
        self._first = np.zeros(num_envs, np.bool_)
        self._ended = np.zeros(num_envs, np.bool_)  # the next step is the emulator's autoreset
        self._sent = np.zeros(num_envs, np.int64)

    @property
    def obs(self) -> npt.NDArray[np.uint8]:
        """The newest observations (N, S, 84, 84) of S stacked frames, 4 by default."""
        self._order.look_at_newest("obs")
        return self._obs

    @property
    def first(self) -> Flags:
        """Flags (N,): whether each newest observation is its episode's first."""
        self._order.look_at_newest("first")
        return self._first.copy()

    def reset(self) -> None:
        """Start every environment's first episode, from the seed given at construction."""
        self._order.start()
        self._logs = ActionLogs(self.num_envs, self._seed)
        self._seeded_reset(np.ones(self.num_envs, np.bool_))
        self._first = np.ones(self.num_envs, np.bool_)
        self._ended = np.zeros(self.num_envs, np.bool_)

    def send(self, actions: Actions) -> None:
        """Let the emulators begin a step with actions (N,) in [0, num_actions)."""
        sent = check_actions(actions, self.num_envs, self.num_actions)
        self._order.send()
        self._sent = sent
        self._open.send(sent)

    def recv(self) -> Step:
        """Wait for the step begun by `send`."""
        self._order.receive()
        screens, reward, game_over, capped = self._open.recv()
        self._obs = screens.obs
        first = self._ended
        self._logs.add(self._sent, first)
        lives, self._lives = self._lives, screens.lives
        life_lost = (self._lives < lives) & ~first & ~game_over & self.protocol.life_loss
        too_long = first & (self._logs.lengths > self._replay_limit_steps)
        if np.any(too_long):
            # After the autoreset, not in its place: the emulator's step is the same for all rows.
            self._logs.restart(too_long)
            self._seeded_reset(too_long)
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

    @property
    def records(self) -> bool:
        """Whether `recording` shows episodes as people see them: yes."""
        return True

    def recording(self, env: int) -> Recording:
        """Return the newest episode of one environment at the console's size, in colour."""
        return of_atari(self.rom, self.protocol, self.action_log(env))

    def action_log(self, env: int) -> ActionLog:
        """Return the log from which `colour_frames` plays the newest episode of `env` again."""
        self._order.look("action_log()")
        return self._logs.newest_episode(env)

    def state_dict(self) -> dict[str, Any]:
        """Return logs, flags and checksums: a few kilobytes per environment."""
        self._order.look("state_dict()")
        return {
            "identity": self._identity(),
            **self._logs.state_dict(),
            "first": self._first.tolist(),
            "ended": self._ended.tolist(),
            "checksums": _checksums(self._obs),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Play the logs again, which takes as long as playing them took.

        Raises:
            ValueError: the state is of another game, protocol, stack, seed or number of
                environments.
            UsageError: the emulator did not return to the same observations, so it is not the
                version that played the logs.
        """
        check_identity(state["identity"], self._identity())
        self._order.start()
        self._logs.load_state_dict(state)
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
        self._order.close()
        self._emulators = None  # they have no close(); dropping the last reference stops them

    @property
    def _open(self) -> Emulators:
        assert self._emulators is not None, "self._order lets no call through after close()"
        return self._emulators

    def _identity(self) -> dict[str, Any]:
        return {
            "rom": self.rom,
            "protocol": self.protocol.description,
            "num_envs": self.num_envs,
            "seed": self._seed,
            "replay_limit_steps": self._replay_limit_steps,
        }

    def _seeded_reset(self, which: Flags) -> None:
        """Reset the environments in `which` (N,) from their seeds; the others stay unchanged."""
        self._obs, self._lives = self._open.reset(self._logs.seeds(which), which)

    def _play_logs(self) -> None:
        """Bring every environment from its seed to the end of its log, all at the same step."""
        actions, begins = self._logs.schedule()
        self._seeded_reset(np.ones(self.num_envs, np.bool_))
        for step in range(len(actions) + 1):
            if step > 0 and np.any(begins == step):
                self._seeded_reset(begins == step)
            if step < len(actions):
                self._open.send(actions[step])
                self._obs, self._lives = self._open.recv().screens
            HEARTBEAT.beat()


def _checksums(obs: npt.NDArray[np.uint8]) -> list[int]:
    """Return one CRC-32 per environment of observations (N, ...)."""
    return [zlib.crc32(observation.tobytes()) for observation in obs]
