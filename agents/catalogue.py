"""The agents, one record each: settings, and an algorithm that is imported when it is built.

A new agent is a file with the algorithm, one with its settings, and a record here.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from wnrl._settings import SettingError, UsageError, nearest
from wnrl._settings.later import Later
from wnrl.agents.record import AgentParts, AgentRecord
from wnrl.agents.settings import a2c as a2c_settings
from wnrl.agents.settings import dqn as dqn_settings
from wnrl.agents.settings import ppo as ppo_settings
from wnrl.agents.settings import pqn as pqn_settings

if TYPE_CHECKING:
    from wnrl.agents import a2c, dqn, ppo, pqn, recurrent_dqn
    from wnrl.agents.base import Agent
    from wnrl.nn.networks import actor_critic, initialization, q_network
else:
    a2c, dqn = Later("wnrl.agents.a2c"), Later("wnrl.agents.dqn")
    ppo, pqn = Later("wnrl.agents.ppo"), Later("wnrl.agents.pqn")
    recurrent_dqn = Later("wnrl.agents.recurrent_dqn")
    actor_critic = Later("wnrl.nn.networks.actor_critic")
    initialization = Later("wnrl.nn.networks.initialization")
    q_network = Later("wnrl.nn.networks.q_network")

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


def _dqn(parts: AgentParts) -> "Agent":
    return recurrent_dqn.build(parts) if parts.settings.recurrent else dqn.build(parts)


for _record in (
    AgentRecord(
        name="dqn",
        summary="deep Q-learning from a replay with a target network (Mnih et al. 2015)",
        settings=dqn_settings.DQNConfig,
        control=dqn_settings.CONTROL,
        minatar=dqn_settings.MINATAR,
        presets=dqn_settings.PRESETS,
        recurrent=dqn_settings.RECURRENT,
        assemble=q_network.assemble_q_network,
        initialize=initialization.reset_parameters_,
        build=_dqn,
    ),
    AgentRecord(
        name="pqn",
        summary="Q-learning from parallel rollouts without a replay (Gallici et al. 2025)",
        settings=pqn_settings.PQNConfig,
        control=pqn_settings.CONTROL,
        minatar=pqn_settings.MINATAR,
        presets=pqn_settings.PRESETS,
        before=pqn_settings.BEFORE,
        assemble=q_network.assemble_q_network,
        # he_normal as in purejaxql's pqn_atari.py, where the head alone is lecun_normal. With that
        # head our CartPole defaults fail on one seed in five.
        initialize=initialization.init_kaiming_normal_,
        build=pqn.build,
    ),
    AgentRecord(
        name="a2c",
        summary="synchronous advantage actor-critic (Mnih et al. 2016)",
        settings=a2c_settings.A2CConfig,
        control=a2c_settings.CONTROL,
        minatar=a2c_settings.MINATAR,
        assemble=actor_critic.assemble_actor_critic,
        initialize=actor_critic.init_actor_critic_,
        build=a2c.build,
    ),
    AgentRecord(
        name="ppo",
        summary="proximal policy optimization (Schulman et al. 2017)",
        settings=ppo_settings.PPOConfig,
        control=ppo_settings.CONTROL,
        minatar=ppo_settings.MINATAR,
        assemble=actor_critic.assemble_actor_critic,
        initialize=actor_critic.init_actor_critic_,
        build=ppo.build,
    ),
):
    register_agent(_record)


_OF_SB3 = ("sac", "td3", "ddpg", "tqc", "trpo", "crossq", "qrdqn")
_SB3 = "; wnrl.sb3 has policies for Stable-Baselines3's"


def get_agent(name: object) -> AgentRecord:
    """Return the agent with this name.

    Raises:
        SettingError: there is none; the message has the nearest names.
    """
    if not isinstance(name, str) or name not in AGENTS:
        raise SettingError(
            "agent",
            f"{name!r} is unknown; allowed: {', '.join(AGENTS)}{nearest(str(name), AGENTS)}"
            + (_SB3 if str(name).lower() in _OF_SB3 else ""),
        )
    return AGENTS[name]
