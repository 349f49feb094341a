"""Settings that several agents have: meaning and range once, default and source per agent."""

from collections.abc import Callable
from typing import Any

from wnrl._settings import SettingError, setting
from wnrl.optim.rules import OPTIMIZER_NAMES

NATURE = "Mnih et al. 2015, extended data table 1"

Field = Callable[[Any, str], Any]  # (default, source) -> a dataclass field


def _shared(meaning: str, **limits: Any) -> Field:
    return lambda default, source: setting(default, meaning, source=source, **limits)


num_envs = _shared("environments stepped together", minimum=1, maximum=1_024)
learning_rate = _shared(
    "learning rate of the optimizer (initial value if it decays)", above=0, maximum=1e3
)
learning_rate_decay = _shared("linear decay of the learning rate to 0 at the end of the schedule")
optimizer = _shared("update rule", choices=OPTIMIZER_NAMES)
beta1 = _shared("decay of the first moment (adam, adamax, radam)", minimum=0, maximum=0.9999)
optimizer_eps = _shared(
    "term added to the root of the second moment (in the rule of TensorFlow: inside it)", above=0
)
max_grad_norm = _shared(
    "largest global gradient norm; longer gradients are scaled down (0: no limit)", minimum=0
)
gamma = _shared("discount per step", minimum=0, maximum=1)
clip_rewards = _shared("clipping of rewards to [-1, 1] in the learner")
hidden = _shared(
    "units in each of an MLP's two hidden layers", unit="units", minimum=1, maximum=65_536
)
epsilon_start = _shared("initial probability of a random action", minimum=0, maximum=1)
epsilon_end = _shared("final probability of a random action", minimum=0, maximum=1)
epsilon_steps = _shared(
    "steps over which epsilon falls (0: a tenth of the schedule)", unit="agent steps", minimum=0
)
recurrent = _shared("LSTM between torso and heads")
lstm_units = _shared("units of the LSTM", unit="units", minimum=1, maximum=65_536)
rollout_steps = _shared("steps of each environment per rollout", unit="steps", minimum=1)
epochs = _shared("passes over a rollout", minimum=1)
minibatches = _shared("minibatches per pass", minimum=1, maximum=65_536)
gae_lambda = _shared(
    "lambda of generalized advantage estimation (Schulman et al. 2016)", minimum=0, maximum=1
)
value_coef = _shared("weight of the value loss", minimum=0)
entropy_coef = _shared("weight of the entropy bonus", minimum=0)
normalize_advantage = _shared("scaling of advantages to zero mean and unit variance in each batch")
separate = _shared("separate torso for the value")

LOSSES = ("huber", "mse", "categorical")
BELLEMARE = "Bellemare et al. 2017, section 5"
FAREBROTHER = "Farebrother et al. 2024"
loss = _shared(
    "loss of the TD error, or that of a distribution of the value (categorical)",
    choices=LOSSES,
)
categorical_targets = _shared(
    "targets of the categorical loss: a Gaussian around the number, or C51's projection",
    choices=("hl-gauss", "c51"),
)
atoms = _shared("atoms of the categorical loss", minimum=2, maximum=1_001)
v_min = _shared("smallest value of the categorical loss; targets below it are moved to it")
v_max = _shared("largest value of the categorical loss; targets above it are moved to it")
sigma_ratio = _shared(
    "standard deviation of Gaussian targets, in widths of a bin", above=0, maximum=1e3
)


def check_support(v_min: float, v_max: float) -> None:
    """Raise a SettingError unless the values of the categorical loss form an interval."""
    if not v_min < v_max:
        raise SettingError("v_min", f"{v_min:g} must be below v_max, {v_max:g}")


def unused_by_loss(loss: str, categorical_targets: str) -> tuple[str, ...]:
    """Return the settings of the categorical loss that have no effect with another choice."""
    if loss != "categorical":
        return ("categorical_targets", "atoms", "v_min", "v_max", "sigma_ratio")
    return () if categorical_targets == "hl-gauss" else ("sigma_ratio",)


def check_minibatches(parts: int, minibatches: int, what: str, factors: tuple[str, ...]) -> None:
    """Refuse a number of minibatches that does not divide a rollout.

    Args:
        parts: rows or environments of a rollout.
        minibatches: minibatches per pass.
        what: the name of the parts, for the message.
        factors: the settings whose product is `parts`.

    Raises:
        SettingError: some would be larger than others; the message names the nearest divisor.
    """
    if parts % minibatches:
        raise SettingError(
            "minibatches",
            f"{minibatches} does not divide the {parts:_} {what} of a rollout "
            f"({' x '.join(factors)}); {_nearest_divisor(parts, minibatches)} does",
        )


def _nearest_divisor(whole: int, near: int) -> int:
    """Return the divisor closest to `near`, the smaller of two; `whole` may be huge."""
    near = min(near, whole)
    both_sides = (n for distance in range(near) for n in (near - distance, near + distance))
    return next(n for n in both_sides if whole % n == 0)
