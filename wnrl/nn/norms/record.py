"""The record of a normalization: everything that it is to a network, an optimizer and an agent.

Agents and networks know records, never names. The table of all of them is
`wnrl.nn.norms.catalogue`.

The shape key of pre-activations: (C, H, W) of a convolution, (F,) of a linear layer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, Protocol

from torch import nn

from wnrl._settings import UsageError, flag_name, nearest, parse_fields, setting
from wnrl.nn.networks.transition_values import Values, separate_batches
from wnrl.nn.weight_norm.layers import weight_norm_groups
from wnrl.optim.step import OptimizerSpec, StepOptimizer

LinearFactory = Callable[[int, int], nn.Module]  # (I, O)
LSTMFactory = Callable[[int, int], nn.LSTM]  # (I, H)
ActivationFactory = Callable[[tuple[int, ...]], nn.Module | None]  # pre-activation shape
OptimizerFactory = Callable[[nn.Module, OptimizerSpec], StepOptimizer]
InPlace = Callable[[nn.Module], None]  # changes a network


class ConvFactory(Protocol):
    """(I, O, kernel size, stride, padding) -> a layer, by position, as in torch."""

    def __call__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        padding: int = 0,
        /,
    ) -> nn.Module:
        """The layer."""
        ...


ONE_PASS = "acting and learning: one pass over the activations of each layer"

# How the function of a network starts, against that of `none` with the same seed.
SAME = "the function of none"
SAME_ACTING = "the function of none in acting; in learning the batch's statistics enter"
OTHER = "another function than none"


def no_activation_norm(shape: tuple[int, ...]) -> nn.Module | None:
    """Nothing between a layer and its nonlinearity."""
    return None


def build_optimizer(network: nn.Module, spec: OptimizerSpec) -> StepOptimizer:
    """The spec's weight-normalizing form if the network has marked weights, else torch's own."""
    return spec.build(weight_norm_groups(network))


def leave_alone(network: nn.Module) -> None:
    """Change nothing."""


def eps_setting(default: float, source: str) -> Any:
    """The field of an epsilon."""
    return setting(default, "added to the variance", source=source, above=0, maximum=1)


@dataclass(frozen=True)
class NoSettings:
    """Of a normalization without parameters."""


NO_SETTINGS = NoSettings()


@dataclass(frozen=True)
class Norm:
    """One normalization. Whoever takes a step calls `after_step(network)` after it.

    A network with batch statistics is told by `train()` and `eval()` which ones to use; acting is
    in evaluation mode, and `values` says how a batch is learnt from.

    One with parameters has `settings`, a frozen dataclass whose fields are made by
    `wnrl._settings.setting`, and `configure`, which makes the record for other values of them.
    `derived` makes one's own from an entry of the catalogue, parameters included.
    """

    name: str
    summary: str  # one sentence
    paper: str
    cost: str  # against no normalization, acting and learning
    linear: LinearFactory = nn.Linear
    conv: ConvFactory = nn.Conv2d
    lstm: LSTMFactory = nn.LSTM  # of a recurrent network; nothing is normalized behind it
    activation: ActivationFactory = no_activation_norm  # before the nonlinearity; None for nothing
    initialize: InPlace = leave_alone  # after weights and biases have been drawn
    optimizer: OptimizerFactory = build_optimizer  # made after initialization, before a first step
    after_step: InPlace = leave_alone
    values: Values = separate_batches  # how the networks see a batch of transitions
    start: str = OTHER  # SAME, SAME_ACTING or OTHER: its initial function
    smallest_batch: int = 1  # samples that an update needs
    weight_vectors: bool = False  # its layers take `storage`, as `WNLinear` does
    scheduled: bool = False  # its optimizer goes by `OptimizerSpec.total_updates`
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # what each sets for it
    settings: Any = NO_SETTINGS
    configure: "Callable[[Any], Norm] | None" = None  # settings -> the record

    @property
    def normalizes_activations(self) -> bool:
        """Whether it puts a layer before nonlinearities."""
        return self.activation is not no_activation_norm

    @property
    def normalizes_lstms(self) -> bool:
        """Whether it has an LSTM of its own."""
        return self.lstm is not nn.LSTM

    @property
    def has_place(self) -> bool:
        """Whether layers where it is placed are others than where it is not."""
        plain: tuple[Any, ...] = (nn.Linear, nn.Conv2d, nn.LSTM, no_activation_norm)
        return (self.linear, self.conv, self.lstm, self.activation) != plain

    def with_settings(self, values: Mapping[str, Any]) -> "Norm":
        """The same normalization with other parameters.

        Args:
            values: parsed or textual values by name.

        Raises:
            UsageError: a parameter that it does not have, of the wrong type or out of range.
        """
        for name in values:
            self.check_parameter(name)
        if not values:
            return self
        wanted = replace(self.settings, **parse_fields(type(self.settings), values, "norm."))
        if wanted == self.settings:
            return self
        made = None if self.configure is None else self.configure(wanted)
        if made is None or made.name != self.name:
            raise UsageError(
                f"normalization {self.name!r} does not say how it is made with parameters other "
                f"than {self.settings}: make it with Norm.derived, or give it its own configure"
            )
        return made

    def derived(self, name: str, **changes: Any) -> "Norm":
        """A record of another name with changed fields, which its parameters do not undo.

        Args:
            name: of the new record.
            changes: fields of `Norm`; not `settings` or `configure`.
        """
        configure = self.configure

        def configured(settings: Any) -> Norm:
            assert configure is not None
            return configure(settings).derived(name, **changes)

        return replace(
            self, name=name, configure=None if configure is None else configured, **changes
        )

    def check_parameter(self, name: str) -> None:
        """UsageError with the nearest ones unless it has a parameter of that name."""
        own = [setting.name for setting in fields(self.settings)]
        if name not in own:
            there = ", ".join(f"--norm.{flag_name(each)}" for each in own) or "no parameters"
            raise UsageError(
                f"--norm.{flag_name(name)}: --norm {self.name} has no such parameter; it has "
                f"{there}" + nearest(name, own)
            )

    def in_storage(self, storage: str) -> "Norm":
        """The same normalization with its weight vectors in that storage; itself if it has none."""
        if not self.weight_vectors:
            return self
        linear: Callable[..., nn.Module] = self.linear
        conv: Callable[..., nn.Module] = self.conv
        lstm: Callable[..., nn.LSTM] = self.lstm
        return replace(
            self,
            linear=partial(linear, storage=storage),
            conv=partial(conv, storage=storage),
            lstm=partial(lstm, storage=storage) if self.normalizes_lstms else nn.LSTM,
        )
