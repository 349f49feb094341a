"""Protocols for playing Atari, which change scores more than any normalization does."""

import dataclasses
import types
from collections.abc import Mapping
from typing import Any

from wnrl._settings import UsageError, nearest

STACK = 4  # frames in one observation, Mnih 2015, Methods
FRAME_SKIP = 4  # frames of one agent step, Mnih 2015, Methods
SCREEN_PIXELS = 84  # side of the square gray observation, Mnih 2015, Methods
CUSTOM = "custom"  # name of a protocol that departs from a named one
GAMES_OWN = -1  # a mode or a difficulty that is left to the game

Changes = Mapping[str, Any]  # fields of a protocol with other values
UNCHANGED: Changes = types.MappingProxyType({})

# Settings of a run, and the fields of its protocol that they are.
SETTINGS = {
    "mode": "mode",
    "difficulty": "difficulty",
    "sticky": "repeat_action_probability",
    "noop_max": "noop_max",
    "fire_reset": "fire_reset",
    "full_action_space": "full_action_space",
    "frame_skip": "frameskip_frames",
    "max_episode_steps": "max_episode_frames",
    "screen_size": "screen_pixels",
}
_BY_PROTOCOL = (
    "sticky",
    "noop_max",
    "fire_reset",
)  # settings whose defaults the protocols differ in


@dataclasses.dataclass(frozen=True)
class AtariProtocol:
    """One way to play and score Atari games."""

    name: str
    repeat_action_probability: float  # sticky actions, Machado 2018, section 5.1
    noop_max: int  # a reset lets fewer frames than this pass, drawn at random; 0: none
    fire_reset: bool  # press FIRE once after a reset where the game has it
    life_loss: bool  # report lost lives to the learner; the episode goes on
    evaluation_epsilon: float  # share of random actions in evaluation
    comparable_with: str  # published results with this protocol
    full_action_space: bool = False  # all 18 actions, not the game's minimal set
    frameskip_frames: int = FRAME_SKIP  # one agent step
    max_episode_frames: int = 108_000  # 30 minutes, 27,000 agent steps, Machado 2018, section 5.3
    screen_pixels: int = SCREEN_PIXELS  # side of the square gray observation
    stack: int = STACK  # frames in one observation
    mode: int = GAMES_OWN  # version of the game, by the ALE's number
    difficulty: int = GAMES_OWN  # position of the console's switches, by the ALE's number

    @property
    def max_episode_steps(self) -> int:
        """The cap on an episode, in agent steps."""
        return -(-self.max_episode_frames // self.frameskip_frames)

    @property
    def default_game(self) -> bool:
        """Whether mode and difficulty are the game's own."""
        return self.mode == self.difficulty == GAMES_OWN

    @property
    def settings(self) -> dict[str, Any]:
        """The defaults of the settings in which the named protocols differ."""
        return {name: getattr(self, SETTINGS[name]) for name in _BY_PROTOCOL}

    def changed(self, changes: Changes) -> "AtariProtocol":
        """Return the protocol with other values of some fields, named `custom` if any differs."""
        other = dataclasses.replace(self, **changes)
        if other == self:
            return self
        return dataclasses.replace(other, name=CUSTOM, comparable_with="no published score")

    @property
    def description(self) -> str:
        """One line for configurations, chart titles and tables."""
        parts = [
            f"sticky actions {self.repeat_action_probability:g}"
            if self.repeat_action_probability
            else "no sticky actions",
            f"fewer than {self.noop_max} no-ops" if self.noop_max else "no no-ops",
            "FIRE at a reset only" if self.fire_reset else "no FIRE",
            "life loss is terminal in training" if self.life_loss else "no life information",
            "all 18 actions" if self.full_action_space else "minimal actions",
            f"at most {self.max_episode_steps:,} agent steps",
            f"evaluated at epsilon {self.evaluation_epsilon:g}",
        ]
        # Only where they differ, so that descriptions of old runs stay the same.
        if self.stack != STACK:
            parts.append(f"{self.stack} frame{'s' * (self.stack > 1)} in an observation")
        if self.frameskip_frames != FRAME_SKIP:
            several = "s" * (self.frameskip_frames > 1)
            parts.append(f"{self.frameskip_frames} frame{several} in an agent step")
        if self.screen_pixels != SCREEN_PIXELS:
            parts.append(f"{self.screen_pixels}x{self.screen_pixels} pixels")
        if self.mode != GAMES_OWN:
            parts.append(f"game mode {self.mode}")
        if self.difficulty != GAMES_OWN:
            parts.append(f"difficulty {self.difficulty}")
        return f"{self.name}: {', '.join(parts)}"


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        AtariProtocol(
            name="classic",
            repeat_action_probability=0.0,
            noop_max=30,
            fire_reset=True,
            life_loss=True,
            evaluation_epsilon=0.05,
            comparable_with="Mnih 2015, SB3 and CleanRL, which press FIRE after each lost life too",
        ),
        AtariProtocol(
            name="sticky",
            repeat_action_probability=0.25,
            noop_max=0,
            fire_reset=False,
            life_loss=False,
            evaluation_epsilon=0.001,
            comparable_with="Machado 2018 and Dopamine",
        ),
    )
}


def changes_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a protocol that are set by settings named as in `SETTINGS`.

    Args:
        settings: their values; `max_episode_steps` 0 keeps the protocol's number of frames.
    """
    changes = {field: settings[name] for name, field in SETTINGS.items()}
    frames = settings["max_episode_steps"] * settings["frame_skip"]
    if frames == 0:
        del changes["max_episode_frames"]
        return changes
    return {**changes, "max_episode_frames": frames}


def protocol_named(name: str, stack: int = 0, changes: Changes = UNCHANGED) -> AtariProtocol:
    """Return the protocol of that name, or what changes make of it.

    Args:
        name: one of `PROTOCOLS`.
        stack: frames in one observation; 0 is the protocol's number.
        changes: fields with other values.

    Raises:
        UsageError: an unknown name.
        ValueError: a stack below 0.
    """
    if name not in PROTOCOLS:
        raise UsageError(
            f"unknown protocol {name!r}; choose one of {', '.join(PROTOCOLS)}"
            f"{nearest(name, PROTOCOLS)}"
        )
    if stack < 0:
        raise ValueError(f"stack must be 0 (the protocol's) or more, got {stack}")
    protocol = PROTOCOLS[name]
    return dataclasses.replace(protocol, stack=stack or protocol.stack).changed(changes)
