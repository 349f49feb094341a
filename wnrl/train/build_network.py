"""Which network an agent has, and what it begins as."""

import math

import torch
from torch import nn

from wnrl.agents.a2c_config import A2CConfig
from wnrl.agents.dqn import DQNConfig
from wnrl.agents.ppo_config import PPOConfig
from wnrl.agents.pqn_config import PQNConfig
from wnrl.config import Config
from wnrl.envs.vector import VectorEnv
from wnrl.nn.networks.actor_critic import assemble_actor_critic
from wnrl.nn.networks.initialization import (
    init_kaiming_normal_,
    init_orthogonal_,
    reset_parameters_,
)
from wnrl.nn.networks.q_network import assemble_q_network
from wnrl.nn.norms.record import Norm


def assemble_network(config: Config, env: VectorEnv, norm: Norm) -> nn.Module:
    """The agent's network for the environment, as torch initializes it, from the global generator.

    Raises:
        UsageError: a place that the network does not have, or layers that the norm does not fit.
    """
    run, settings = config.run, config.agent
    spec, lstm_units = env.observation, 0
    if isinstance(settings, DQNConfig | PPOConfig) and settings.recurrent:
        lstm_units = settings.lstm_units
    if isinstance(settings, A2CConfig | PPOConfig):
        return assemble_actor_critic(
            spec.shape,
            spec.dtype,
            env.num_actions,
            norm=norm,
            where=run.norm_where,
            hidden=(settings.hidden,) * 2,
            network=run.network,
            width=run.width,
            separate=settings.separate,
            lstm_units=lstm_units,
        )
    return assemble_q_network(
        spec.shape,
        spec.dtype,
        env.num_actions,
        norm=norm,
        where=run.norm_where,
        hidden=(settings.hidden,) * 2,
        dueling=isinstance(settings, DQNConfig) and settings.dueling,
        network=run.network,
        width=run.width,
        lstm_units=lstm_units,
    )


def initialize_network(config: Config, network: nn.Module, generator: torch.Generator) -> None:
    """Draw every weight from `generator` alone, as the agent's source does."""
    settings = config.agent
    if isinstance(settings, A2CConfig | PPOConfig):
        # Orthogonal with these gains: OpenAI baselines' and SB3's; an LSTM's is CleanRL's.
        gains = {"policy": 0.01, "value": 1.0, "lstm": 1.0}
        own = {module: gains[name] for name, module in network.named_children() if name in gains}
        init_orthogonal_(network, generator, gain=math.sqrt(2), gains=own)
    elif isinstance(settings, PQNConfig):
        # purejaxql, pqn_atari.py: he_normal. Here of the head as well, which is lecun_normal
        # there: with that our CartPole defaults fail at one seed in five.
        init_kaiming_normal_(network, generator)
    else:
        reset_parameters_(network, generator)
