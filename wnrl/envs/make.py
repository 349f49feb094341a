"""Make an environment from its name. Each suite is imported when one of its games is used."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from wnrl._settings import SettingError, UsageError, nearest
from wnrl._settings.later import Later
from wnrl.envs.games import friendly_name, game_names, refuse_memory, rom_id
from wnrl.envs.minatar.names import (
    GAMES,
    KEYWORDS,
    SUITE,
    MinAtarGame,
    minatar_game,
    minatar_names,
)
from wnrl.envs.protocols import UNCHANGED, Changes, protocol_named
from wnrl.envs.registered.keywords import NO_KEYWORDS, SETTING
from wnrl.envs.vector import VectorEnv

if TYPE_CHECKING:
    from wnrl.envs import atari, toy, toy_memory
    from wnrl.envs.minatar import vector_env as minatar
    from wnrl.envs.registered import gymnasium_env
    from wnrl.envs.registered import vector_env as registered_vector_env
else:
    atari = Later("wnrl.envs.atari")
    gymnasium_env = Later("wnrl.envs.registered.gymnasium_env")
    minatar = Later("wnrl.envs.minatar.vector_env")
    registered_vector_env = Later("wnrl.envs.registered.vector_env")
    toy = Later("wnrl.envs.toy")
    toy_memory = Later("wnrl.envs.toy_memory")

TOYS: Mapping[str, Callable[[int, int], VectorEnv]] = {  # by name, from (N, seed)
    "toy/Corridor": toy.Corridor,
    "toy/Catch": toy.Catch,
    "toy/CatchPixels": toy.catch_pixels,
    "toy/Memory": toy_memory.Memory,
}


def is_atari(name: str) -> bool:
    """Return whether the name means one of the ALE's games.

    Raises:
        UsageError: a game for several players.
    """
    return rom_id(name) is not None


def is_minatar(name: str) -> bool:
    """Return whether the name means one of MinAtar's games."""
    return minatar_game(name) is not None


def suite_members(name: str) -> tuple[str, ...]:
    """Return the environments of a suite, or the name itself if it is not a suite's."""
    if name.lower() != SUITE:
        return (name,)
    return tuple(MinAtarGame(game, version=1).name for game in GAMES)


def canonical_name(name: str) -> str:
    """Return the one name of an environment: `Breakout`, `MinAtar/Breakout-v1`, `CartPole-v1`.

    It means the same environment in another process too: a Gymnasium id keeps its `module:`.

    Args:
        name: a toy, any spelling of a game of the ALE or of MinAtar, or a Gymnasium id, in this
            order.

    Raises:
        UsageError: nothing has this name (with the nearest names), or a game for several players.
    """
    if name in TOYS:
        return name
    rom = rom_id(name)
    if rom is not None:
        return friendly_name(rom)
    game = minatar_game(name)
    if game is not None:
        return game.name
    if (members := suite_members(name)) != (name,):
        raise UsageError(
            f"{name!r} is a suite of {len(members)} games for wnrl.compare; name one of them: "
            f"{', '.join(members)}"
        )
    if ":" in name or name in gymnasium_env.gymnasium_ids():  # never an id of the ALE
        gymnasium_env.gymnasium_spec(name)
        return name
    refuse_memory(name)
    known = (*TOYS, *game_names(), SUITE, *minatar_names(), *gymnasium_env.gymnasium_ids())
    hint = nearest(name.removeprefix("ALE/"), known)
    raise UsageError(
        f"unknown environment {name!r}"
        + (hint or f"; name a game of Atari or MinAtar, a Gymnasium id or {', '.join(TOYS)}")
        + ("" if hint else "; --import MODULE imports a module that registers ids")
    )


def check_keywords(name: str, keywords: Mapping[str, Any]) -> None:
    """Refuse keywords that cannot reach an environment; those of Gymnasium's check their own.

    Args:
        name: a canonical name.
        keywords: by name.

    Raises:
        SettingError: the environment takes none, or not one of these.
    """
    if not keywords:
        return
    if name in TOYS or is_atari(name):
        kind = "a toy" if name in TOYS else "a game of Atari, which has flags of its own"
        raise SettingError(
            SETTING, f"is for Gymnasium ids and MinAtar, and {name} is {kind}: leave it out"
        )
    for key in keywords if is_minatar(name) else ():
        if key not in KEYWORDS:
            raise SettingError(
                SETTING,
                f"{key} is unknown to {name}; allowed: {', '.join(KEYWORDS)}"
                + nearest(key, KEYWORDS),
            )


def make_env(
    name: str,
    num_envs: int,
    seed: int,
    protocol: str = "classic",
    num_threads: int = 0,
    stack: int = 0,
    changes: Changes = UNCHANGED,
    keywords: Mapping[str, Any] = NO_KEYWORDS,
) -> VectorEnv:
    """Make N copies of the named environment; call `reset` or `load_state_dict` next.

    Args:
        name: a name that `canonical_name` knows.
        num_envs: N.
        seed: the run's seed.
        protocol: `classic` or `sticky`; it affects Atari games only.
        num_threads: emulator threads of Atari games; 0 is one per environment, at most one per
            core.
        stack: frames in one observation of an Atari game; 0 is the protocol's number.
        changes: fields of the protocol with other values.
        keywords: arguments for `gymnasium.make` or for MinAtar's games.

    Raises:
        UsageError: an unknown name or protocol, an environment that is not supported, a stack for
            an environment other than an Atari game, or keywords that it does not take.
        ValueError: a number out of range.
    """
    protocol_named(protocol, stack, changes)
    canonical = canonical_name(name)
    check_keywords(canonical, keywords)
    if canonical not in TOYS and is_atari(name):
        return atari.Atari(
            name, num_envs, seed, protocol, num_threads, stack=stack, changes=changes
        )
    if stack != 0:
        raise SettingError(
            "stack", f"{stack} is for Atari games; {canonical} has no frames to stack: leave it out"
        )
    if canonical in TOYS:
        return TOYS[canonical](num_envs, seed)
    game = minatar_game(canonical)
    if game is not None:
        return minatar.MinAtarEnvs(game, num_envs, seed, **keywords)
    spec = gymnasium_env.gymnasium_spec(name)
    if spec.entry_point is None:
        return registered_vector_env.RegisteredVectorEnv(spec, num_envs, seed, keywords)
    return gymnasium_env.GymnasiumEnvs(name, num_envs, seed, keywords)
