"""The policy as a file that Stable-Baselines3 loads, `PPO.load("sb3.zip")`.

Values of actions become SB3's `DQN`, an actor-critic its `A2C` or `PPO`. If the folded network is
that of a stock policy, SB3 loads it alone. Otherwise the stock policy has the features extractor
`wnrl.sb3.WNTorso`, and wnrl must be installed where it is loaded.
"""

import dataclasses
import io
from collections.abc import Iterator, Mapping
from typing import Any

import stable_baselines3
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from torch import nn

from wnrl._settings import UsageError
from wnrl.export.trained_run import TrainedRun
from wnrl.nn.networks.actor_critic import ActorCritic
from wnrl.nn.networks.mlp import MLPTorso
from wnrl.nn.networks.nature import NatureTorso
from wnrl.nn.networks.q_network import QNetwork
from wnrl.nn.networks.torso import Torso
from wnrl.nn.networks.torsos import get_network
from wnrl.sb3 import TorsoDescription, WNTorso

# SB3's DQN would make room for a million transitions when it is loaded.
BUFFER_SIZE = 10_000
_INSTEAD = "take format onnx or torch-export"

Options = Mapping[str, Any]


def sb3_file(run: TrainedRun) -> bytes:
    """Return a file of Stable-Baselines3.

    Raises:
        UsageError: the network has no counterpart in Stable-Baselines3.
    """
    buffer = io.BytesIO()
    sb3_model(run).save(buffer)
    return buffer.getvalue()


def sb3_model(run: TrainedRun) -> Any:
    """Return the algorithm of Stable-Baselines3 with the run's policy, without an environment.

    Raises:
        UsageError: as for `sb3_file`.
    """
    network = run.folded()
    _check(run, network)
    for name, options in _candidates(run, network):
        model = _built(run, network, name, options)
        if all(_copied_(ours, theirs) for ours, theirs in _pairs(network, model.policy)):
            if isinstance(network, QNetwork):
                model.q_net_target.load_state_dict(model.q_net.state_dict())
            return model
    raise UsageError(
        f"format sb3: norm {run.config.run.norm!r} leaves layers in the folded network that no "
        f"features extractor of wnrl.sb3 has; {_INSTEAD}"
    )


def _check(run: TrainedRun, network: nn.Module) -> None:
    """Raise UsageError if Stable-Baselines3 has no algorithm with such a network."""
    name = run.config.run.agent
    if run.recurrent:
        raise UsageError(
            f"format sb3: the network of this {name} has an LSTM, and Stable-Baselines3 has no "
            f"recurrent policies; {_INSTEAD}"
        )
    if isinstance(network, QNetwork):
        if not isinstance(network.head, nn.Linear):
            raise UsageError(
                f"format sb3: the head of this {name} is dueling or categorical, and "
                f"Stable-Baselines3's DQN has neither; {_INSTEAD}"
            )
    elif not isinstance(network, ActorCritic):
        raise UsageError(
            f"format sb3: Stable-Baselines3 has no counterpart of agent {name}'s "
            f"{type(network).__name__}; {_INSTEAD}"
        )


def _candidates(run: TrainedRun, network: nn.Module) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the stock policy's name and options, without and then with our extractor."""
    torso = _torsos(network)[0]
    separate = isinstance(network, ActorCritic) and network.separate
    images = is_image_space(run.space)
    shared = {} if isinstance(network, QNetwork) else {"share_features_extractor": not separate}
    if isinstance(torso, NatureTorso) and images:
        yield "CnnPolicy", shared
    if isinstance(torso, MLPTorso) and images == (run.spec.dtype == "uint8"):
        hidden = list(run.spec.hidden)
        if isinstance(network, QNetwork):
            yield "MlpPolicy", {"net_arch": hidden}
        elif separate:
            yield "MlpPolicy", {"net_arch": {"pi": hidden, "vf": hidden}, "activation_fn": nn.ReLU}
    options: dict[str, Any] = {
        "features_extractor_class": WNTorso,
        "features_extractor_kwargs": {"description": _description(run, torso)},
        "normalize_images": False,
        "net_arch": [],
        **shared,
    }
    if not isinstance(network, QNetwork):
        options["ortho_init"] = False  # which cannot write weights in channels_last
    yield "MlpPolicy", options


def _description(run: TrainedRun, torso: Torso) -> TorsoDescription:
    layers = dict(torso.named_modules())
    followed = tuple(x for x in run.spec.torso_layers if f"layers.{x}_norm" in layers)
    return TorsoDescription(
        network=get_network(run.spec.torso, run.spec.shape).name,
        dtype=run.spec.dtype,
        hidden=run.spec.hidden,
        width=run.spec.width,
        norm=run.config.run.norm if followed else "none",
        norm_settings=dataclasses.asdict(run.config.norm) if followed else {},
        norm_after=run.config.run.norm_after,
        norm_layers=followed,
        norm_input=run.spec.norm_input,
    )


def _built(run: TrainedRun, network: nn.Module, policy: str, options: Options) -> Any:
    """Return an untrained algorithm for the run's observations and actions."""
    settings = run.config.agent
    chosen: dict[str, Any] = {"learning_rate": settings.learning_rate, "gamma": settings.gamma}
    if isinstance(network, QNetwork):
        kind: Any = stable_baselines3.DQN
        chosen |= {"buffer_size": BUFFER_SIZE}
    else:
        kind = getattr(stable_baselines3, run.config.run.agent.upper(), stable_baselines3.PPO)
    model = kind(
        policy, None, policy_kwargs=dict(options), device="cpu", _init_setup_model=False, **chosen
    )
    model.observation_space = run.space
    model.action_space = spaces.Discrete(run.spec.num_actions)
    model.n_envs = 1
    model._setup_model()
    if isinstance(network, QNetwork):
        model.exploration_rate = run.parts.evaluation_epsilon  # of predict(deterministic=False)
    return model


def _torsos(network: Any) -> list[Torso]:
    """Return the torso of the policy or the values, and that of the value if it has its own."""
    separate = isinstance(network, ActorCritic) and network.separate
    return [network.policy_torso, network.value_torso] if separate else [network.torso]


def _pairs(network: Any, policy: Any) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Yield each part of the network and the part of SB3's policy that computes the same."""
    torsos = _torsos(network)
    if isinstance(network, QNetwork):
        *hidden, head = policy.q_net.q_net
        yield torsos[0], nn.Sequential(policy.q_net.features_extractor, *hidden)
        yield network.head, head
        return
    layers = policy.mlp_extractor
    yield torsos[0], nn.Sequential(policy.pi_features_extractor, layers.policy_net)
    yield torsos[-1], nn.Sequential(policy.vf_features_extractor, layers.value_net)
    yield network.policy, policy.action_net
    yield network.value, policy.value_net


def _copied_(ours: nn.Module, theirs: nn.Module) -> bool:
    """Copy the weights if both have the same layers in the same order; return whether they do."""
    mine, others = _leaves(ours), _leaves(theirs)
    if [repr(layer) for layer in mine] != [repr(layer) for layer in others]:
        return False
    if sum(len(layer.state_dict()) for layer in mine) != len(ours.state_dict()):
        return False  # a module with layers inside has weights of its own
    for layer, other in zip(mine, others, strict=True):
        other.load_state_dict(layer.state_dict())
    return True


def _leaves(module: nn.Module) -> list[nn.Module]:
    """Return the layers inside that hold no others, in order."""
    layers = (x for x in module.modules() if next(x.children(), None) is None)
    return [x for x in layers if type(x) is not nn.Sequential]  # an empty one
