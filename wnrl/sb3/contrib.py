"""Policies for sb3-contrib's algorithms, with the arguments of `NormalizedPolicy`.

- QR-DQN.
- Recurrent PPO: only `weight`, its variants and `weight-mean` normalize an LSTM; with others it
  stays plain.
- TQC.
- CrossQ: its own batch renormalization stays, and `norm` comes in addition. With the stock
  argument `batch_norm=False` it goes, and `norm` takes its place.

TRPO takes the policies of PPO. ARS has no gradients, so there is none for it.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

try:
    from sb3_contrib.common.recurrent.policies import (
        RecurrentActorCriticCnnPolicy,
        RecurrentActorCriticPolicy,
        RecurrentMultiInputActorCriticPolicy,
    )
    from sb3_contrib.crossq.policies import CrossQPolicy
    from sb3_contrib.qrdqn.policies import CnnPolicy, MultiInputPolicy, QRDQNPolicy
    from sb3_contrib.tqc import policies as tqc
except ImportError as error:
    raise ImportError(
        "wnrl.sb3.contrib needs sb3-contrib in the same version as stable-baselines3: "
        "pip install sb3-contrib"
    ) from error

from wnrl.sb3.policies import NormalizedActorCritic, NormalizedSAC, NormalizedValues


class NormalizedQuantiles(NormalizedValues):
    """Mixin that goes before a policy of QR-DQN."""

    algorithms: ClassVar[tuple[str, ...]] = ("QRDQN",)
    network_name = "quantile_net"


class NormalizedRecurrent(NormalizedActorCritic):
    """Mixin that goes before a policy of recurrent PPO.

    Unlike the stock policy's, its `save` keeps the LSTM's arguments.
    """

    algorithms: ClassVar[tuple[str, ...]] = ("RecurrentPPO",)
    lstm_actor: nn.LSTM  # set by the stock policy

    def _forward_heads(self, actor_features: Tensor, critic_features: Tensor) -> None:
        latent = torch.zeros(1, self.lstm_actor.hidden_size)  # LSTMs have no pre-activations
        super()._forward_heads(latent, latent)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        layers, _, units = self.__dict__["lstm_hidden_state_shape"]
        lstm = {
            "lstm_hidden_size": units,
            "n_lstm_layers": layers,
            "shared_lstm": self.shared_lstm,
            "enable_critic_lstm": self.enable_critic_lstm,
            "lstm_kwargs": self.lstm_kwargs,
        }
        return {**super()._get_constructor_parameters(), **lstm}


class NormalizedTQC(NormalizedSAC):
    """Mixin that goes before a policy of TQC."""

    algorithms: ClassVar[tuple[str, ...]] = ("TQC",)


class NormalizedCrossQ(NormalizedSAC):
    """Mixin that goes before a policy of CrossQ, which has no target networks."""

    algorithms: ClassVar[tuple[str, ...]] = ("CrossQ",)


class WNQRDQNMlpPolicy(NormalizedQuantiles, QRDQNPolicy):
    """QR-DQN's `MlpPolicy`."""


class WNQRDQNCnnPolicy(NormalizedQuantiles, CnnPolicy):
    """QR-DQN's `CnnPolicy`."""


class WNQRDQNMultiInputPolicy(NormalizedQuantiles, MultiInputPolicy):
    """QR-DQN's `MultiInputPolicy`."""


class WNRecurrentMlpPolicy(NormalizedRecurrent, RecurrentActorCriticPolicy):
    """Recurrent PPO's `MlpLstmPolicy`."""


class WNRecurrentCnnPolicy(NormalizedRecurrent, RecurrentActorCriticCnnPolicy):
    """Recurrent PPO's `CnnLstmPolicy`."""


class WNRecurrentMultiInputPolicy(NormalizedRecurrent, RecurrentMultiInputActorCriticPolicy):
    """Recurrent PPO's `MultiInputLstmPolicy`."""


class WNTQCPolicy(NormalizedTQC, tqc.TQCPolicy):
    """TQC's `MlpPolicy`."""


class WNTQCCnnPolicy(NormalizedTQC, tqc.CnnPolicy):
    """TQC's `CnnPolicy`."""


class WNTQCMultiInputPolicy(NormalizedTQC, tqc.MultiInputPolicy):
    """TQC's `MultiInputPolicy`."""


class WNCrossQPolicy(NormalizedCrossQ, CrossQPolicy):
    """CrossQ's `MlpPolicy`."""
