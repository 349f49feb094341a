"""The Atari protocol that a run's settings mean, and settings that only Atari games have."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from wnrl._settings import SettingError
from wnrl.config.run_settings import RunConfig
from wnrl.envs.game_modes.catalogue import check_modes, other_modes
from wnrl.envs.games import rom_id
from wnrl.envs.make import is_atari
from wnrl.envs.protocols import PROTOCOLS, SETTINGS, Changes, changes_of


def protocol_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that follow from a run's protocol.

    Args:
        values: parsed settings by name, perhaps without `protocol`.
    """
    return PROTOCOLS[values.get("protocol", RunConfig.protocol)].settings


def departures_from_protocol(run: RunConfig) -> Changes:
    """Return the fields in which a run departs from its named protocol; none outside Atari."""
    rom = rom_id(run.env)
    if rom is None:
        return {}
    named = dataclasses.asdict(PROTOCOLS[run.protocol])
    changes = changes_of(dataclasses.asdict(run)) | other_modes(rom, run.mode, run.difficulty)
    return {field: value for field, value in changes.items() if value != named[field]}


def check_atari(run: RunConfig, explicit: Collection[str]) -> None:
    """Refuse a mode or a difficulty that the game does not have, and settings without a game.

    Args:
        run: the run's settings.
        explicit: names of the settings that a person set.

    Raises:
        SettingError: the first one.
    """
    if is_atari(run.env):
        check_modes(run.env, run.mode, run.difficulty)
        return
    for name in SETTINGS:
        if name in explicit:
            raise SettingError(
                name,
                f"{getattr(run, name)} is for Atari games, and {run.env} is none: leave it out",
            )
