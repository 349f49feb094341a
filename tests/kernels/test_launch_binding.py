"""The launches as they are really made bind and compile for sm_90, without a GPU.

The interpreter ignores what a launch is told besides its arguments, and the compilation tests write
the signature themselves. Here Triton's own binder takes the arguments that the optimizer and the op
pass, with a driver that only names a target, and compiles; nothing is launched. It runs as this
file, in a process without the interpreter.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is for Linux"
)


@pytest.mark.slow  # starts a process, which compiles
def test_the_launches_of_the_step_and_the_op_bind_and_compile(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, __file__], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        *("step_kernel", "measure_kernel", "step_kernel"),
        *("measure_kernel", "step_kernel"),  # the parts of the norm summed before
        *("measure_kernel", "step_kernel"),  # bfloat16
        "step_kernel",  # as many tensors as one launch takes
        *("forward_kernel", "backward_kernel"),
    ]


def bind_all() -> None:
    """Print the name of each kernel that was bound and compiled, in order."""
    import torch
    import triton
    from torch import nn
    from triton.backends.compiler import GPUTarget
    from triton.runtime.jit import JITFunction

    from wnrl.kernels import ops, optimizer_launch
    from wnrl.optim import WNAdam, normalizing_step

    class Target:
        """All of a driver that binding asks for."""

        def get_current_target(self) -> Any:
            return GPUTarget("cuda", 90, 32)

        def get_current_device(self) -> int:
            return 0

        def get_current_stream(self, device: int = 0) -> int:
            return 0

    def bound(kernel: Any, grid: tuple[int, ...]) -> Any:
        def launch(*arguments: Any, **options: Any) -> None:
            compiled = kernel.run(*arguments, grid=grid, warmup=True, **options)
            assert compiled.asm["cubin"]
            print(kernel.fn.__name__)

        return launch

    triton.runtime.driver.set_active(Target())
    JITFunction.__getitem__ = bound
    normalizing_step.use_triton = lambda tensor: True  # type: ignore[assignment]  # for CPU tensors
    ops.backend_of = lambda device_type: "triton"  # type: ignore[assignment]  # as above

    def step(shapes: list[tuple[int, ...]], dtype: torch.dtype, max_norm: float | None) -> None:
        weights = [nn.Parameter(torch.randn(shape).to(dtype)) for shape in shapes]
        for weight in weights:
            weight.grad = torch.randn_like(weight)
        WNAdam(weights, max_norm=max_norm).step()

    shapes: list[tuple[int, ...]] = [(4, 16), (2, 41), (2, 3, 2, 2), (5,), (1, 5000)]
    step(shapes, torch.float32, None)
    step(shapes, torch.float32, 0.5)
    parts, optimizer_launch.MAX_PARTS = optimizer_launch.MAX_PARTS, 2
    step(shapes, torch.float32, 0.5)
    optimizer_launch.MAX_PARTS = parts
    step(shapes, torch.bfloat16, 0.5)
    step([(1, 4)] * optimizer_launch.MAX_TENSORS, torch.float32, None)
    vs = [torch.randn(shape, requires_grad=True) for shape in shapes[:3]]
    gs = [torch.randn(len(v), *[1] * (v.ndim - 1), requires_grad=True) for v in vs]
    ws = ops.weight_norm_many(vs, gs)
    torch.autograd.grad(ws, [*vs, *gs], [torch.ones_like(v) for v in vs])


if __name__ == "__main__":
    bind_all()
