"""Hints for a name that is no setting of a run: another project's, or another agent's."""

import dataclasses
from collections.abc import Iterable

from wnrl._settings import flag_name, nearest, plain
from wnrl._settings.other_names import elsewhere, meant_by
from wnrl.agents.catalogue import AGENTS


def hint(given: str, agent: str, known: Iterable[str]) -> str:
    """Return the end of an error line about an unknown setting; empty if nothing comes near.

    Args:
        given: its name as it was typed, `--clip-coef` or `clip_coef`.
        agent: the run's agent.
        known: all names that would do, in the same form.
    """
    known, name = list(known), plain(given)
    if name in map(plain, known) or meant_by(name, map(plain, known)):
        return nearest(given, known)
    for setting, agents in _settings_of_agents().items():
        if plain(setting) in (name, name.removeprefix("no")) or meant_by(name, [plain(setting)]):
            written = f"--{flag_name(setting)}" if given.startswith("-") else setting
            *others, last = agents
            which = f"agents {', '.join(others)} and {last}" if others else f"agent {last}"
            return f"; {written} is for {which}, not for {agent}"
    if given.startswith("-") and (answer := elsewhere(name)):  # it names flags and commands
        return f"; {answer}"
    return nearest(given, known)


def _settings_of_agents() -> dict[str, list[str]]:
    """Return the agents that have a setting, by its name."""
    having: dict[str, list[str]] = {}
    for agent, record in AGENTS.items():
        for field in dataclasses.fields(record.settings):
            having.setdefault(field.name, []).append(agent)
    return having
