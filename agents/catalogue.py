"""The agents, one record each. A new agent is one file with its record, and one line here."""

from collections.abc import Mapping
from types import MappingProxyType

from wnrl._settings import SettingError, UsageError, nearest
from wnrl.agents import a2c, dqn, ppo, pqn, recurrent_dqn
from wnrl.agents.record import AgentRecord

_AGENTS: dict[str, AgentRecord] = {}
AGENTS: Mapping[str, AgentRecord] = MappingProxyType(_AGENTS)


def register_agent(record: AgentRecord) -> AgentRecord:
    """Add an agent to the catalogue, so that commands and configurations know it by name.

    Raises:
        UsageError: the name is taken or empty.
    """
    if not record.name or record.name in _AGENTS:
        raise UsageError(f"agent {record.name!r} is taken or empty: choose another name")
    _AGENTS[record.name] = record
    return record


for _record in (recurrent_dqn.with_recurrence(dqn.RECORD), pqn.RECORD, a2c.RECORD, ppo.RECORD):
    register_agent(_record)


def get_agent(name: object) -> AgentRecord:
    """Return the agent with this name.

    Raises:
        SettingError: there is none; the message has the nearest names.
    """
    if not isinstance(name, str) or name not in AGENTS:
        raise SettingError(
            "agent",
            f"{name!r} is unknown; allowed: {', '.join(AGENTS)}{nearest(str(name), AGENTS)}",
        )
    return AGENTS[name]
