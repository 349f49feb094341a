"""Build what a run needs from its configuration: environments, network and agent.

`resolve` turns a configuration into parts once; everything else reads the parts.
"""

import contextlib
import dataclasses
import math
from functools import partial

import numpy as np
import torch
from torch import nn

from wnrl._settings import SettingError
from wnrl.agents.base import Agent
from wnrl.agents.captured import CudaGraph
from wnrl.agents.catalogue import AGENTS
from wnrl.agents.learner import Learner
from wnrl.agents.record import AgentParts, AgentRecord
from wnrl.config import Config
from wnrl.envs.make import make_env
from wnrl.envs.protocols import AtariProtocol
from wnrl.envs.registered.keywords import keywords_of
from wnrl.envs.seeding import integer_seed, numpy_generator, torch_generator
from wnrl.envs.vector import Observations, VectorEnv
from wnrl.nn.networks.data_initialization import InitReport, init_from_data_
from wnrl.nn.networks.initialization import INITIALIZATIONS
from wnrl.nn.networks.q_network import initialized
from wnrl.nn.networks.spec import NetworkSpec
from wnrl.nn.norms.catalogue import get_norm
from wnrl.nn.norms.inputs import get_input_norm
from wnrl.nn.norms.record import Norm
from wnrl.nn.norms.transition_values import separate_batches
from wnrl.nn.weight_norm.layers import set_vector_norms_
from wnrl.optim.step import OptimizerSpec

MAX_EVAL_ENVS = 8  # in evaluation and in random play


@dataclasses.dataclass(frozen=True)
class RunParts:
    """A configuration with its names resolved to records. Nothing is built yet."""

    config: Config
    agent: AgentRecord
    norm: Norm  # with the run's parameters and storage of weight vectors
    optimizer: OptimizerSpec
    protocol: AtariProtocol | None  # with the agent's evaluation; None outside Atari
    stack: int  # frames in an observation; 0: the environment decides

    @property
    def evaluation_epsilon(self) -> float:
        """Share of random actions in evaluation."""
        return self.protocol.evaluation_epsilon if self.protocol else 0.0

    def network(self, env: VectorEnv) -> NetworkSpec:
        """Return the specification of the network for an environment's observations."""
        run, settings = self.config.run, self.config.agent
        return NetworkSpec(
            env.observation.shape,
            env.observation.dtype,
            env.num_actions,
            self.norm,
            where=run.norm_where,
            torso=run.network,
            hidden=(settings.hidden,) * 2,
            width=run.width,
            norm_input=run.norm_input,
            **settings.network_fields,
        )


def resolve(config: Config) -> RunParts:
    """Resolve every name in a configuration, once.

    Raises:
        UsageError: a parameter of the normalization that it does not have, or out of range.
    """
    run, settings, agent = config.run, config.agent, AGENTS[config.run.agent]
    norm = get_norm(run.norm).with_settings(dataclasses.asdict(config.norm))
    norm = dataclasses.replace(norm, after=run.norm_after)
    protocol = config.protocol
    stack = protocol.stack if protocol else run.stack
    optimizer = OptimizerSpec(
        name=settings.optimizer,
        learning_rate=settings.learning_rate,
        eps=settings.optimizer_eps,
        betas=(settings.beta1, 0.999),
        max_grad_norm=settings.max_grad_norm or math.inf,
        v_norm=run.v_norm,
        total_updates=max(1, settings.updates(run.schedule_steps)),
        **settings.optimizer_fields,
    )
    return RunParts(config, agent, norm.in_storage(run.weight_storage), optimizer, protocol, stack)


def build_env(parts: RunParts, *, num_envs: int = 0, seed: int | None = None) -> VectorEnv:
    """Make the run's environments, not yet reset; another number or seed may be given."""
    run = parts.config.run
    return make_env(
        run.env,
        num_envs or parts.config.agent.num_envs,
        run.seed if seed is None else seed,
        run.protocol,
        run.threads,
        parts.stack,
        parts.config.changes,
        keywords_of(run.env_kwargs),
    )


def evaluation_env(parts: RunParts, episodes: int, purpose: str, *index: int) -> VectorEnv:
    """Make environments apart from those of training, seeded by their purpose and index."""
    seed = integer_seed(parts.config.run.seed, purpose, *index)
    return build_env(parts, num_envs=min(episodes, MAX_EVAL_ENVS), seed=seed)


def check_graphs(parts: RunParts, device: torch.device) -> None:
    """Raise a SettingError if CUDA graphs are asked for and cannot be captured."""
    if not parts.config.run.graphs:
        return
    if device.type != "cuda":
        raise SettingError("graphs", f"needs a GPU, and the device is {device}: leave it out")
    if parts.config.agent.recurrent:
        raise SettingError(
            "graphs",
            "cannot capture a recurrent network, which computes stretch by stretch between episode "
            "starts: leave it out",
        )


def check_curvature(parts: RunParts) -> None:
    """Raise a SettingError if the curvature is asked for and cannot be measured."""
    if parts.config.run.curvature_every_updates and parts.config.agent.recurrent:
        raise SettingError(
            "curvature_every_updates",
            "cannot measure a recurrent network, which computes stretch by stretch between episode "
            "starts: leave it out",
        )


def check_norm(parts: RunParts, env: VectorEnv) -> None:
    """Refuse a normalization that cannot work in this run, before anything is computed or kept.

    Draws from no generator and touches no device: the network is assembled from shapes alone.

    Raises:
        SettingError: a place that the network does not have, layers that the normalization does
            not fit, a batch too small for it, or a schedule without a single update.
    """
    run, norm, settings = parts.config.run, parts.norm, parts.config.agent
    for setting, each in (("norm", norm), ("norm_input", get_input_norm(run.norm_input))):
        if settings.learning_batch < each.smallest_batch:
            raise SettingError(
                setting,
                f"{each.name} needs batches of at least {each.smallest_batch}, and this run learns "
                f"from {settings.learning_batch}; change {', '.join(settings.batch_settings)}",
            )
    if norm.values is not separate_batches and not settings.learns_from_pairs:
        raise SettingError(
            "norm.statistics",
            f"{norm.settings.statistics} needs both ends of a transition at once; agent {run.agent}"
            f"{' with recurrence' if settings.recurrent else ''} does not learn from such pairs: "
            "leave it out",
        )
    if norm.scheduled and settings.updates(run.schedule_steps) < 1:
        warmup = settings.warmup_steps
        raise SettingError(
            "schedule_steps",
            f"{run.schedule_steps:_} leaves norm {norm.name}, which follows the schedule, no update"
            f"{f' after warmup_steps {warmup:_}' if warmup else ''}; raise it (its default is "
            "steps)",
        )
    # User-defined norms may read values, which meta tensors do not have; the real build reports it.
    with contextlib.suppress(NotImplementedError, RuntimeError), torch.device("meta"):
        parts.agent.assemble(parts.network(env))


def build_network(parts: RunParts, env: VectorEnv) -> tuple[nn.Module, InitReport | None]:
    """Build the run's network as it starts, on the CPU, so that it is the same for every device.

    With `init="data"` the initialization is data-dependent (Salimans & Kingma 2016, section 3), on
    random play in environments that are seeded apart from those of training.

    Returns:
        The network, and a report on the data-dependent initialization if there was one.
    """
    run = parts.config.run
    spec = parts.network(env)
    network = initialized(
        lambda: parts.agent.assemble(spec),
        parts.norm,
        torch_generator(run.seed, "network"),
        INITIALIZATIONS.get(run.init_weights, parts.agent.initialize),
    )
    if run.init != "data":
        return network, None
    return network, init_from_data_(network, torch.from_numpy(random_play(parts)))


def build_agent(parts: RunParts, env: VectorEnv, network: nn.Module, device: torch.device) -> Agent:
    """Build the run's agent as it starts, with a network from `build_network`, which it moves."""
    run = parts.config.run
    set_vector_norms_(network, run.v_norm)
    network = network.to(device)
    learner = Learner(
        network,
        parts.norm.optimizer(network, parts.optimizer),
        parts.norm.after_step,
        parts.norm.penalty,
        partial(CudaGraph, device) if run.graphs else None,
    )
    return parts.agent.build(
        AgentParts(
            settings=parts.config.agent,
            learner=learner,
            observation=env.observation,
            num_envs=env.num_envs,
            num_actions=env.num_actions,
            values=parts.norm.values,
            schedule_steps=run.schedule_steps,
            generator=lambda purpose: numpy_generator(run.seed, purpose),
        )
    )


def random_play(parts: RunParts) -> Observations:
    """Return `init_observations` observations (B, ...) of uniformly random play."""
    run = parts.config.run
    # Few environments see more of the game in as many observations.
    num_envs = min(parts.config.agent.num_envs, MAX_EVAL_ENVS)
    env = build_env(parts, num_envs=num_envs, seed=integer_seed(run.seed, "initialization"))
    generator = numpy_generator(run.seed, "initialization actions")
    try:
        env.reset()
        batches = [env.obs.copy()]
        while len(batches) * env.num_envs < run.init_observations:
            env.send(generator.integers(env.num_actions, size=env.num_envs))
            batches.append(env.recv().obs.copy())
    finally:
        env.close()
    together: Observations = np.concatenate(batches)  # type: ignore[assignment]  # one type
    return together[: run.init_observations]
