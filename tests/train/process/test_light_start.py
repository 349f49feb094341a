"""A run's process works without torch's compiler."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from wnrl.optim.step import OptimizerSpec
from wnrl.train.process.light_start import METHODS, STEPPED, leave_out_compiler


@pytest.fixture
def optimizers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch's optimizers be afterwards as they were."""
    for name in METHODS:
        method = inspect.unwrap(getattr(torch.optim.Optimizer, name))
        kept = getattr(method, "__dynamo_disable", None)
        monkeypatch.setattr(method, "__dynamo_disable", kept, raising=False)
    for kind in STEPPED:
        monkeypatch.setattr(kind, "step", kind.step)


def trained(name: str, *, weight_norm: bool) -> torch.Tensor:
    weight = torch.nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, -4.0]]))
    optimizer = OptimizerSpec(name).build([{"params": [weight], "weight_norm": weight_norm}])
    for _ in range(3):
        weight.square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        optimizer.load_state_dict(optimizer.state_dict())
    return weight.detach()


@pytest.mark.usefixtures("optimizers")
@pytest.mark.parametrize("weight_norm", [False, True])
@pytest.mark.parametrize("name", ["adam", "adamax", "rmsprop", "radam"])
def test_optimizers_do_the_same_without_the_compiler(
    name: str, weight_norm: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = trained(name, weight_norm=weight_norm)
    for method in METHODS:  # as in a new process
        inspect.unwrap(getattr(torch.optim.Optimizer, method)).__dynamo_disable = None
    leave_out_compiler()
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)  # to import it would fail
    assert torch.equal(trained(name, weight_norm=weight_norm), expected)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["none", "weight"])
def test_a_run_is_trained_saved_and_resumed_without_the_compiler(norm: str, tmp_path: Path) -> None:
    code = (
        "import sys, wnrl; wnrl.run_command('train', sys.argv[1:]); "
        "print('with' if 'torch._dynamo' in sys.modules else 'without')"
    )
    run = [f"--run-dir={tmp_path / 'run'}", "--env=toy/Catch", "--warmup-steps=100", "--steps=400"]
    for flags in ([*run, f"--norm={norm}"], [f"--resume={tmp_path / 'run'}", "--steps=800"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *flags, "--no-calibrate"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "done at" in done.stdout
        assert done.stdout.splitlines()[-1] == "without"
