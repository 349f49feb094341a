"""Protocols for playing Atari, which change scores more than any normalization does."""

import dataclasses

from wnrl._settings import UsageError, nearest

STACK = 4  # frames in one observation, Mnih 2015, Methods


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
    frameskip_frames: int = 4  # one agent step
    max_episode_frames: int = 108_000  # 30 minutes, 27,000 agent steps, Machado 2018, section 5.3
    screen_pixels: int = 84  # side of the square gray observation, Mnih 2015, Methods
    stack: int = STACK  # frames in one observation

    @property
    def max_episode_steps(self) -> int:
        """The cap on an episode, in agent steps."""
        return self.max_episode_frames // self.frameskip_frames

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
        if self.stack != STACK:  # only then, so that descriptions of old runs stay the same
            parts.append(f"{self.stack} frame{'s' * (self.stack > 1)} in an observation")
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


def protocol_named(name: str, stack: int = 0) -> AtariProtocol:
    """Return the protocol of that name.

    Args:
        name: one of `PROTOCOLS`.
        stack: frames in one observation; 0 is the protocol's number.

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
    return dataclasses.replace(protocol, stack=stack or protocol.stack)
