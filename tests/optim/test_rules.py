"""Update rules that users register: built by name, and refused where they would be wrong."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from wnrl._settings import UsageError
from wnrl.config import make_config
from wnrl.nn import WNLinear, weight_norm_groups
from wnrl.optim import OptimizerSpec, register_optimizer
from wnrl.optim.rules import OPTIMIZER_NAMES, REGISTERED


@pytest.fixture(autouse=True)
def _descent() -> Iterator[None]:
    register_optimizer("descent", lambda groups, spec: torch.optim.SGD(groups, spec.learning_rate))
    yield
    del REGISTERED["descent"]


def test_a_registered_rule_steps_after_the_clipping() -> None:
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer = OptimizerSpec("descent", 0.5, max_grad_norm=1.0).build([{"params": [weight]}])
    weight.grad = torch.tensor([3.0, 4.0])  # of norm 5, so a fifth of it is left
    optimizer.step()
    assert weight.tolist() == pytest.approx([2.7, 3.6])
    assert optimizer.grad_norm.item() == 5.0


def test_its_name_is_a_setting_and_cannot_be_taken_twice() -> None:
    assert list(OPTIMIZER_NAMES) == ["adam", "adamax", "radam", "rmsprop", "rmsprop-tf", "descent"]
    assert make_config(norm="none", optimizer="descent").agent.optimizer == "descent"
    with pytest.raises(UsageError, match="did you mean descent"):
        make_config(norm="none", optimizer="decent")
    for name in ("descent", "adam", ""):
        with pytest.raises(UsageError, match="is taken or empty"):
            register_optimizer(name, lambda groups, spec: torch.optim.SGD(groups))


def test_it_steps_g_and_v_only_where_they_are_parameters() -> None:
    refusal = "'descent' is your own and does not step g and v .* weight_storage gv too, or one of"
    with pytest.raises(UsageError, match=refusal):
        OptimizerSpec("descent").build(weight_norm_groups(WNLinear(2, 2, storage="w")))
    with pytest.raises(UsageError, match=refusal):
        make_config(norm="weight", optimizer="descent")
    assert make_config(norm="weight", optimizer="descent", weight_storage="gv")
    layer = WNLinear(2, 2, storage="gv")
    optimizer = OptimizerSpec("descent", 0.5).build(weight_norm_groups(layer))
    layer.weight_g.grad = torch.ones_like(layer.weight_g)
    before = layer.weight_g.detach().clone()
    optimizer.step()
    assert torch.equal(layer.weight_g, before - 0.5)
