"""The record of a normalization: everything that networks, optimizers and agents need to know.

Agents and networks receive a `Norm` and never check its name. All records are listed in
`wnrl.nn.norms.catalogue`.

Shapes of pre-activations: (C, H, W) for a convolution, (F,) for a linear layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from wnrl._settings import SettingError, UsageError, nearest, parse_fields, setting
from wnrl._settings.later import Later
from wnrl.nn.norms.transition_values import Values, separate_batches

if TYPE_CHECKING:
    from torch import Tensor, nn

    from wnrl.nn.weight_norm import layers
    from wnrl.optim.step import OptimizerSpec, StepOptimizer
else:
    nn = Later("torch.nn")
    layers = Later("wnrl.nn.weight_norm.layers")

LinearFactory = Callable[[int, int], "nn.Module"]  # (I, O)
LSTMFactory = Callable[[int, int], "nn.LSTM"]  # (I, H)
ActivationFactory = Callable[[tuple[int, ...]], "nn.Module | None"]  # pre-activation shape
OptimizerFactory = Callable[["nn.Module", "OptimizerSpec"], "StepOptimizer"]
InPlace = Callable[["nn.Module"], None]  # changes a network in place
Penalty = Callable[["nn.Module"], "Tensor"]  # network -> () to add to its loss


class ConvFactory(Protocol):
    """Make a layer from (I, O, kernel size, stride, padding), by position, as in torch."""

    def __call__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        padding: int = 0,
        /,
    ) -> nn.Module:
        """Return the layer."""
        ...


ONE_PASS = "acting and learning: one pass over each layer's activations"

# What a normalization normalizes, in the order of `--list-norms`.
WEIGHTS = "weights in the layer"
STEPPED_WEIGHTS = "weights after the step"
BATCH = "activations across the batch"
SAMPLE = "activations within a sample"
NOTHING = "nothing"
KINDS = (WEIGHTS, STEPPED_WEIGHTS, BATCH, SAMPLE, NOTHING)

# Where a normalization of activations goes.
AFTER_LAYER = "layer"  # between the layer and its nonlinearity
AFTER_ACTIVATION = "activation"  # after the nonlinearity

# The initial function of a network, compared with `none` and the same seed.
SAME = "identical to none"
SAME_ACTING = "identical to none when acting; learning uses the batch's statistics"
OTHER = "differs from none"


def no_activation_norm(shape: tuple[int, ...]) -> nn.Module | None:
    """Put nothing between a layer and its nonlinearity."""
    return None


def build_optimizer(network: nn.Module, spec: OptimizerSpec) -> StepOptimizer:
    """Build a weight-normalizing optimizer if the network has marked weights, else torch's."""
    return spec.build(layers.weight_norm_groups(network))


def leave_alone(network: nn.Module) -> None:
    """Change nothing."""


def eps_setting(default: float, source: str) -> Any:
    """Declare an epsilon."""
    return setting(default, "constant added to the variance", source=source, above=0, maximum=1)


@dataclass(frozen=True)
class NoSettings:
    """Settings of a normalization without parameters."""


NO_SETTINGS = NoSettings()


@dataclass(frozen=True)
class Norm:
    """One normalization. Code that steps a network calls `after_step(network)` after each step.

    `train()` and `eval()` select the statistics of a network that has batch statistics; acting
    uses evaluation mode, and `values` defines the forward passes of learning.

    A normalization with parameters has `settings`, a frozen dataclass of fields made by
    `wnrl._settings.setting`, and `configure`, which makes the record for other values. Use
    `derived` to make a new record from an entry of the catalogue; it keeps the parameters.
    """

    name: str
    summary: str  # one line for `--list-norms`
    paper: str
    cost: str  # compared with no normalization, acting and learning
    normalizes: str = ""  # one of `KINDS`; empty: `kind` follows from the other fields
    linear: LinearFactory = nn.Linear
    conv: ConvFactory = nn.Conv2d
    lstm: LSTMFactory = nn.LSTM  # in recurrent networks; its output is never normalized
    activation: ActivationFactory = no_activation_norm  # None for nothing
    where: str = "torso"  # the layers that it is placed on unless a person says otherwise
    after: str = AFTER_LAYER  # where its `activation` goes: AFTER_LAYER or AFTER_ACTIVATION
    initialize: InPlace = leave_alone  # after weights and biases have been drawn
    optimizer: OptimizerFactory = build_optimizer  # called after initialization
    after_step: InPlace = leave_alone
    penalty: Penalty | None = None  # added to the loss of every update
    values: Values = separate_batches  # how the networks see a batch of transitions
    start: str = OTHER  # initial function: SAME, SAME_ACTING or OTHER
    smallest_batch: int = 1  # samples that an update needs
    weight_vectors: bool = False  # its layers take `storage`, as `WNLinear` does
    storages: tuple[str, ...] = ("w", "gv")  # those that its layers can have, the default first
    scheduled: bool = False  # its optimizer reads `OptimizerSpec.total_updates`
    # Settings of the run by preset, weaker than a person's; `none` is a run without a preset.
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    settings: Any = NO_SETTINGS
    configure: Callable[[Any], Norm] | None = None  # settings -> the record

    @property
    def kind(self) -> str:
        """Return what it normalizes, one of `KINDS`; the first of them if there are several."""
        if self.normalizes:
            return self.normalizes
        if self.after_step is not leave_alone or self.optimizer is not build_optimizer:
            return STEPPED_WEIGHTS
        if (self.linear, self.conv) != (nn.Linear, nn.Conv2d):
            return WEIGHTS
        if self.normalizes_activations:
            return BATCH if self.smallest_batch > 1 else SAMPLE
        return NOTHING

    @property
    def normalizes_activations(self) -> bool:
        """Return whether it puts a layer before or after nonlinearities."""
        return self.activation is not no_activation_norm

    @property
    def normalizes_lstms(self) -> bool:
        """Return whether it has a normalized LSTM."""
        return self.lstm != nn.LSTM

    @property
    def has_place(self) -> bool:
        """Return whether it replaces or adds layers, so that its placement matters."""
        plain: tuple[Any, ...] = (nn.Linear, nn.Conv2d, nn.LSTM, no_activation_norm)
        return (self.linear, self.conv, self.lstm, self.activation) != plain

    def __post_init__(self) -> None:
        """Raise a UsageError for a kind or a side of the nonlinearity that there is not."""
        sides = (AFTER_LAYER, AFTER_ACTIVATION)
        for name, allowed in (("normalizes", ("", *KINDS)), ("after", sides)):
            if getattr(self, name) not in allowed:
                raise UsageError(
                    f"normalization {self.name!r} has {name} {getattr(self, name)!r}: allowed are "
                    f"{', '.join(filter(None, allowed))}"
                )

    def with_settings(self, values: Mapping[str, Any]) -> Norm:
        """Return the same normalization with other parameters.

        Args:
            values: parsed or textual values by name.

        Raises:
            UsageError: an unknown parameter, a value of the wrong type or out of range.
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
                f"normalization {self.name!r} has no `configure` for parameters other than "
                f"{self.settings}: make it with Norm.derived, or give it a configure"
            )
        return made

    def derived(self, name: str, **changes: Any) -> Norm:
        """Return a record with another name and changed fields; it keeps its parameters.

        Args:
            name: the new record's name.
            changes: fields of `Norm` except `settings` and `configure`; setting a parameter later
                does not undo them.
        """
        configure = self.configure

        def configured(settings: Any) -> Norm:
            assert configure is not None
            return configure(settings).derived(name, **changes)

        return replace(
            self, name=name, configure=None if configure is None else configured, **changes
        )

    def check_parameter(self, name: str) -> None:
        """Raise a SettingError with the nearest names unless the parameter exists."""
        parameters = [parameter.name for parameter in fields(self.settings)]
        if name not in parameters:
            raise SettingError(
                f"norm.{name}",
                f"is not a parameter of normalization {self.name}, which has "
                + (", ".join(parameters) or "no parameters")
                + nearest(name, parameters),
            )

    def in_storage(self, storage: str) -> Norm:
        """Return the same normalization with its weight vectors in a storage, if it has any.

        A normalization that cannot have the storage keeps its own.
        """
        if not self.weight_vectors or storage not in self.storages:
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
