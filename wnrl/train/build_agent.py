"""From a configuration and a network to the agent that learns."""

import math
from collections.abc import Callable

import torch
from torch import nn

from wnrl.agents import a2c, dqn, ppo, pqn
from wnrl.agents import recurrent_dqn as drqn
from wnrl.agents.a2c_config import A2CConfig
from wnrl.agents.base import Agent
from wnrl.agents.dqn import DQNConfig
from wnrl.agents.minibatches import shuffled_rows, shuffled_sequences
from wnrl.agents.pqn_config import PQNConfig
from wnrl.agents.recurrence import LSTMMemory, NoMemory
from wnrl.config import AnyAgentConfig, Config
from wnrl.envs.seeding import numpy_generator
from wnrl.envs.vector import VectorEnv
from wnrl.nn.networks.recurrent import RecurrentQNetwork
from wnrl.nn.norms.record import Norm
from wnrl.nn.weight_norm.layers import set_vector_norms_
from wnrl.optim.step import OptimizerSpec, StepOptimizer
from wnrl.rl import losses
from wnrl.rl.replay import Replay
from wnrl.rl.rollout import Rollout
from wnrl.rl.schedules import linear
from wnrl.rl.sequence_replay import SequenceReplay
from wnrl.train.build import build_norm

Of = Callable[[int], float]  # agent steps -> a hyperparameter


def build_agent(config: Config, env: VectorEnv, network: nn.Module, device: torch.device) -> Agent:
    """The run's agent as it starts, with a network from `build_network`, which it moves."""
    set_vector_norms_(network, config.run.v_norm)
    network = network.to(device)
    norm = build_norm(config)
    optimizer = norm.optimizer(network, _optimizer_spec(config))
    settings = config.agent
    if isinstance(settings, DQNConfig):
        return _dqn(config, settings, env, network, optimizer, norm, device)
    generator = numpy_generator(config.run.seed, "exploration")
    rate = _falling(config, settings.learning_rate, settings.learning_rate_decay)
    if isinstance(settings, PQNConfig):
        return pqn.PQN(
            network,
            optimizer,
            _rollout(settings, env, pqn.KEPT, device),
            settings,
            num_actions=env.num_actions,
            learning_rate=rate,
            epsilon=_epsilon(config, settings),
            after_step=norm.after_step,
            generator=generator,
            device=device,
        )
    if isinstance(settings, A2CConfig):
        return a2c.A2C(
            network,
            optimizer,
            _rollout(settings, env, a2c.KEPT, device),
            settings,
            learning_rate=rate,
            after_step=norm.after_step,
            generator=generator,
            device=device,
        )
    return ppo.PPO(
        network,
        optimizer,
        _rollout(settings, env, ppo.KEPT, device),
        settings,
        remember=LSTMMemory if settings.recurrent else NoMemory,
        minibatches=shuffled_sequences if settings.recurrent else shuffled_rows,
        learning_rate=rate,
        clip=_falling(config, settings.clip_range, settings.clip_range_decay),
        after_step=norm.after_step,
        generator=generator,
        device=device,
    )


def _dqn(
    config: Config,
    settings: DQNConfig,
    env: VectorEnv,
    network: nn.Module,
    optimizer: StepOptimizer,
    norm: Norm,
    device: torch.device,
) -> Agent:
    loss = losses.huber if settings.loss == "huber" else losses.squared
    generator = numpy_generator(config.run.seed, "exploration")
    if isinstance(network, RecurrentQNetwork):
        sequences = SequenceReplay(
            settings.buffer_size,
            env.num_envs,
            env.observation.frame_shape,
            env.observation.dtype,
            env.observation.stack,
            settings.n_step,
            numpy_generator(config.run.seed, "replay"),
            burn_in_steps=settings.burn_in_steps,
            sequence_steps=settings.sequence_steps,
            period_steps=settings.state_period_steps,
            lstm_units=settings.lstm_units,
        )
        return drqn.RecurrentDQN(
            network,
            optimizer,
            sequences,
            settings,
            num_actions=env.num_actions,
            loss=loss,
            epsilon=_epsilon(config, settings),
            after_step=norm.after_step,
            generator=generator,
            device=device,
        )
    replay = Replay(
        settings.buffer_size,
        env.num_envs,
        env.observation.frame_shape,
        env.observation.dtype,
        env.observation.stack,
        settings.n_step,
        numpy_generator(config.run.seed, "replay"),
    )
    return dqn.DQN(
        network,
        optimizer,
        replay,
        settings,
        num_actions=env.num_actions,
        td_errors=dqn.double_q_learning if settings.double else dqn.q_learning,
        values=norm.values,
        loss=loss,
        epsilon=_epsilon(config, settings),
        after_step=norm.after_step,
        generator=generator,
        device=device,
    )


def _optimizer_spec(config: Config) -> OptimizerSpec:
    settings = config.agent
    nature = isinstance(settings, DQNConfig)  # its RMSprop is Mnih et al. 2015's, A2C's is torch's
    return OptimizerSpec(
        name=settings.optimizer,
        learning_rate=settings.learning_rate,
        eps=settings.optimizer_eps,
        betas=(settings.beta1, 0.999),
        alpha=0.95 if nature else 0.99,
        centered=nature,
        max_grad_norm=settings.max_grad_norm or math.inf,
        v_norm=config.run.v_norm,
        total_updates=max(1, settings.updates(config.run.schedule_steps)),
    )


def _rollout(
    settings: AnyAgentConfig, env: VectorEnv, kept: tuple[str, ...], device: torch.device
) -> Rollout:
    assert not isinstance(settings, DQNConfig), "DQN has a replay"
    spec = env.observation
    return Rollout(
        settings.rollout_steps,
        env.num_envs,
        spec.shape,
        spec.dtype,
        kept,
        pin_memory=device.type == "cuda",
    )


def _falling(config: Config, start: float, falls: bool) -> Of:
    """Agent steps -> `start`, or a line from it to 0 at the end of the schedule."""
    end = 0.0 if falls else start
    return lambda step: linear(step, start, end, config.run.schedule_steps)


def _epsilon(config: Config, settings: DQNConfig | PQNConfig) -> Of:
    duration_steps = settings.epsilon_steps or config.run.schedule_steps // 10
    return lambda step: linear(step, settings.epsilon_start, settings.epsilon_end, duration_steps)
