"""A policy's network as one function of a batch, for the instruments to read."""

from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.nn.networks.heads import PolicyValue


class ValueView(nn.Module):
    """Preprocessed observations (B, ...) -> action values (B, A); layers named as in the policy."""

    def __init__(self, network: nn.Module, head: str, num_actions: int) -> None:
        super().__init__()
        self.features_extractor = network.features_extractor
        self.add_module(head, network.get_submodule(head))
        self._head = head
        self._num_actions = num_actions

    def forward(self, obs: Tensor) -> Tensor:
        """(B, ...) -> (B, A), the mean over quantiles if there are any."""
        features = self.get_submodule("features_extractor")(obs)
        output: Tensor = self.get_submodule(self._head)(features)
        return output.view(len(output), -1, self._num_actions).mean(dim=1)


class ActorCriticView(nn.Module):
    """Preprocessed observations (B, ...) -> logits or means (B, A), and values (B,)."""

    def __init__(self, policy: ActorCriticPolicy) -> None:
        super().__init__()
        self.features_extractor = policy.features_extractor
        self.vf_features_extractor = policy.vf_features_extractor
        self.mlp_extractor = policy.mlp_extractor
        self.action_net = policy.action_net
        self.value_net = policy.value_net

    def forward(self, obs: Tensor) -> PolicyValue:
        """(B, ...) -> (B, A), (B,)."""
        features = self.features_extractor(obs)
        shared = self.vf_features_extractor is self.features_extractor
        value_features = features if shared else self.vf_features_extractor(obs)
        value = self.value_net(self.mlp_extractor.forward_critic(value_features))
        logits = self.action_net(self.mlp_extractor.forward_actor(features))
        return PolicyValue(logits, value.squeeze(1))


def network_view(policy: BasePolicy) -> tuple[nn.Module, nn.Module]:
    """Return the learning network as a function, and the features extractor that it begins with.

    Raises:
        UsageError: a recurrent policy, or one of another algorithm.
    """
    policy = getattr(policy, "_orig_mod", policy)  # torch.compile's wrapper holds the policy there
    for head in ("q_net", "quantile_net"):
        if hasattr(policy, head):
            network, actions = policy.get_submodule(head), policy.action_space
            assert isinstance(actions, spaces.Discrete)
            view = ValueView(network, head, int(actions.n))
            return view, view.get_submodule("features_extractor")
    if isinstance(policy, ActorCriticPolicy) and not hasattr(policy, "lstm_actor"):
        return ActorCriticView(policy), policy.features_extractor
    raise UsageError(
        f"the network of {type(policy).__name__} cannot be read; use a policy of DQN, QR-DQN, PPO "
        "or A2C without an LSTM"
    )
