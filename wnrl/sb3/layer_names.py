"""Names of the layers of Stable-Baselines3's networks, as used in `norm_where`.

A layer's name is its path in `named_modules()`: `features_extractor.cnn.0`,
`mlp_extractor.policy_net.2`, `action_net`.
"""

from torch import nn

from wnrl.nn.norms.placement import Layout

# Exactly these types: a subclass's forward may compute something else.
PLAIN = (nn.Linear, nn.Conv2d, nn.LSTM)


def plain_layers(network: nn.Module, *parts: str) -> tuple[str, ...]:
    """Return the names of the layers inside these modules, in order, or of all layers.

    A module with several names is listed under its first.
    """
    names = [name for name, layer in network.named_modules() if type(layer) in PLAIN]
    if not parts:
        return tuple(names)
    return tuple(
        name for part in parts for name in names if name == part or name.startswith(f"{part}.")
    )


def value_layout(network: nn.Module) -> Layout:
    """Return the layout of a network of action values or quantiles; its last layer is the head."""
    *hidden, head = plain_layers(network)
    return Layout({"torso": tuple(hidden)}, {"head": (head,)})


def actor_critic_layout(policy: nn.Module) -> Layout:
    """Return the layout of a policy and value, recurrent or not.

    If they share all hidden layers, these are the torso. Otherwise `policy` and `value` each name
    their own path, including shared layers.
    """
    own_extractor = policy.vf_features_extractor is not policy.features_extractor
    critics = [n for n in ("lstm_critic", "critic") if getattr(policy, n, None) is not None]
    paths = {
        "policy": plain_layers(
            policy, "features_extractor", "lstm_actor", "mlp_extractor.policy_net"
        ),
        "value": plain_layers(
            policy,
            "vf_features_extractor" if own_extractor else "features_extractor",
            *(critics or ["lstm_actor"]),  # the value learns from a shared LSTM's output
            "mlp_extractor.value_net",
        ),
    }
    recurrent = plain_layers(policy, "lstm_actor", "lstm_critic")
    outputs = {"policy": ("action_net",), "value": ("value_net",)}
    if paths["policy"] == paths["value"]:
        return Layout({"torso": paths["policy"]}, outputs, recurrent)
    return Layout(paths, outputs, recurrent)


def actor_and_critics_layout(policy: nn.Module) -> Layout:
    """Return the layout of an actor and the critics that take its action.

    Each critic has its own torso, which includes a shared features extractor. The actor's output is
    the mean; the layer of its log standard deviation is in no part and stays plain.
    """
    *actor, mean = (name for name in plain_layers(policy, "actor") if name != "actor.log_std")
    critic = policy.get_submodule("critic")
    shared = critic.features_extractor is policy.get_submodule("actor").features_extractor
    extractor = plain_layers(policy, f"{'actor' if shared else 'critic'}.features_extractor")
    critics = {
        f"critic.{name}": plain_layers(policy, f"critic.{name}")
        for name, _ in critic.named_children()
        if name.startswith("qf")
    }
    torsos = {name: (*extractor, *layers[:-1]) for name, layers in critics.items()}
    outputs = {"actor": (mean,), "critic": tuple(layers[-1] for layers in critics.values())}
    return Layout({"actor": tuple(actor), **torsos}, outputs)
