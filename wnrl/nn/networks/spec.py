"""The specification of a network: all that its builder needs to know, in one record.

Not here: the builders (`wnrl.nn.networks.q_network`, `wnrl.nn.networks.actor_critic`).
"""

from collections.abc import Collection
from dataclasses import dataclass

from wnrl._settings import SettingError
from wnrl.nn.networks.architecture import DEFAULT_HIDDEN
from wnrl.nn.networks.torso import Torso, normalize_input_
from wnrl.nn.networks.torsos import AUTO, build_torso, torso_layers
from wnrl.nn.norms.inputs import get_input_norm
from wnrl.nn.norms.record import Norm


@dataclass(frozen=True)
class NetworkSpec:
    """A network from observations to actions, for any agent.

    Raises:
        SettingError: a number of actions or LSTM units that no network has.
    """

    shape: tuple[int, ...]  # shape of one observation
    dtype: str  # "uint8" or "float32", as in `ObservationSpec`
    num_actions: int
    norm: Norm  # normalization of the layers in `placed_at`
    where: str = ""  # words and layer names, see `wnrl.nn.norms.placement.place`; empty: the norm's
    torso: str = AUTO  # architecture, one of `NETWORKS`, or auto
    hidden: tuple[int, ...] = DEFAULT_HIDDEN  # units of an MLP's layers
    width: int = 1  # multiplies channels in architectures that take it
    lstm_units: int = 0  # units of an LSTM between torso and heads; 0: none
    dueling: bool = False  # Q networks: `DuelingHead` in place of one linear layer
    atoms: tuple[float, ...] = ()  # Q networks: values of a distribution's atoms; empty: numbers
    separate: bool = False  # actor-critics: a second torso for the value
    norm_input: str = "none"  # normalization of observations, one of `INPUT_NORMS`

    def __post_init__(self) -> None:
        if self.num_actions < 1:
            raise SettingError("num_actions", f"is {self.num_actions}: it must be at least 1")
        if self.lstm_units < 0:
            raise SettingError(
                "lstm_units", f"is {self.lstm_units}: it must be at least 0, which means no LSTM"
            )
        if self.lstm_units and self.separate:
            raise SettingError(
                "lstm_units",
                f"{self.lstm_units} with separate torsos: policy and value share the torso before "
                "an LSTM; leave out one of the two",
            )

    @property
    def placed_at(self) -> str:
        """Words and names of the layers to normalize."""
        return self.where or self.norm.where

    @property
    def torso_layers(self) -> tuple[str, ...]:
        """Names of the layers of one torso, in order."""
        return torso_layers(
            self.shape, self.dtype, network=self.torso, hidden=self.hidden, width=self.width
        )

    def build_torso(self, placed: Collection[str]) -> Torso:
        """Build one torso, normalized in the layers named by `placed`, as torch initializes it."""
        input_norm = get_input_norm(self.norm_input).layer(self.shape)
        torso = build_torso(
            self.shape,
            self.dtype if input_norm is None else "float32",
            norm=self.norm,
            network=self.torso,
            hidden=self.hidden,
            width=self.width,
            placed=placed,
        )
        return torso if input_norm is None else normalize_input_(torso, input_norm, self.dtype)
