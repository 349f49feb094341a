"""The kernels of wnrl/kernels/weight_norm.py compile ahead of time for real GPUs, without one.

Triton compiles for a named target wherever it is installed. The interpreter, which the kernel tests
use, is chosen for a whole process when Triton is imported; so compilation runs in a process of its
own, which is this file as a script: one JSON line per kernel, target and type.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
LAYERS = 5  # the Nature network's
TARGETS = {
    "sm_80": ("cuda", 80, 32),
    "sm_90": ("cuda", 90, 32),
    "sm_100": ("cuda", 100, 32),
    "gfx942": ("hip", "gfx942", 64),
}
WIDE_LOAD = {
    "sm_80": "ld.global.v4.b32",
    "sm_90": "ld.global.v4.b32",
    "sm_100": "ld.global.v4.b32",
    "gfx942": "global_load_dwordx4",
}
CASES = [(target, "fp32") for target in TARGETS] + [("sm_90", "bf16")]
MAX_REGISTERS = 64  # 8 blocks of 128 threads fill an SM of 65,536 registers


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    pytest.importorskip("triton", reason="Triton is for Linux")
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path_factory.mktemp("triton"))
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    run = subprocess.run(
        [sys.executable, __file__], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_every_kernel_compiles_for_every_target(report: list[dict[str, Any]]) -> None:
    compiled = {(entry["kernel"], entry["target"], entry["dtype"]) for entry in report}
    kernels = ("forward_kernel", "backward_kernel")
    assert compiled == {(kernel, *case) for kernel in kernels for case in CASES}
    assert all(entry["binary_bytes"] > 0 for entry in report)


def test_rows_of_aligned_length_are_read_16_bytes_at_a_time(report: list[dict[str, Any]]) -> None:
    narrow = [entry for entry in report if entry["wide_loads"] == 0]
    assert not narrow


def test_nothing_spills_and_registers_leave_an_sm_full(
    report: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    measured = [entry for entry in report if "registers" in entry]
    with capsys.disabled():
        for entry in measured:
            if entry["target"] == "sm_90":
                print(
                    f"\nsm_90 {entry['dtype']} {entry['kernel']}: {entry['registers']} registers, "
                    f"{entry['spilled_bytes']} bytes spilled",
                    end="",
                )
    assert any(entry["target"] == "gfx942" for entry in measured)  # needs no ptxas
    assert all(entry["spilled_bytes"] == 0 for entry in measured)
    assert all(entry["registers"] <= MAX_REGISTERS for entry in measured)


# ---- the script ----


def _compile(kernel_name: str, target_name: str, dtype: str) -> dict[str, Any]:
    import torch
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from wnrl.kernels import weight_norm

    kernel = getattr(weight_norm, kernel_name)
    constants = weight_norm.kernel_constants({"fp32": torch.float32, "bf16": torch.bfloat16}[dtype])
    signature: dict[str, Any] = {}
    aligned: dict[tuple[int, ...], Any] = {}
    for position, name in enumerate(kernel.arg_names):
        if name in constants:
            signature[name] = "constexpr"
        elif name == "rows_ptr":
            signature[name] = "*i32"
            aligned[(position,)] = [["tt.divisibility", 16]]
        else:
            signature[name] = ("*fp32" if name == "norm_ptrs" else f"*{dtype}",) * LAYERS
            for layer in range(LAYERS):
                aligned[(position, layer)] = [["tt.divisibility", 16]]
    compiled = triton.compile(
        ASTSource(kernel, signature, constants, aligned),
        target=GPUTarget(*TARGETS[target_name]),
        options={"num_warps": weight_norm.NUM_WARPS},
    )
    entry = {"kernel": kernel_name, "target": target_name, "dtype": dtype}
    if "cubin" in compiled.asm:
        return {
            **entry,
            "binary_bytes": len(compiled.asm["cubin"]),
            "wide_loads": _count_wide_loads(compiled.asm["ptx"], target_name),
            **_resources(compiled.asm["ptx"], target_name),
        }
    assembly = compiled.asm["amdgcn"]
    return {
        **entry,
        "binary_bytes": len(compiled.asm["hsaco"]),
        "wide_loads": _count_wide_loads(assembly, target_name),
        "registers": _first(r"\.vgpr_count:\s+(\d+)", assembly),
        "spilled_bytes": 4 * _first(r"\.vgpr_spill_count:\s+(\d+)", assembly),
    }


def _count_wide_loads(assembly: str, target_name: str) -> int:
    return assembly.count(WIDE_LOAD[target_name])


def _resources(ptx: str, target_name: str) -> dict[str, int]:
    """Registers and spilled bytes of a kernel, from ptxas's own report; nothing without ptxas."""
    import triton

    tool = "ptxas-blackwell" if target_name == "sm_100" else "ptxas"
    ptxas = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / tool
    if not ptxas.exists():
        return {}
    architecture = target_name + ("" if target_name == "sm_80" else "a")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        run = subprocess.run(
            [ptxas, "-v", f"--gpu-name={architecture}", source, "-o", source.with_suffix(".cubin")],
            capture_output=True,
            text=True,
            check=True,
        )
    return {
        "registers": _first(r"Used (\d+) registers", run.stderr),
        "spilled_bytes": _first(r"(\d+) bytes spill stores", run.stderr),
    }


def _first(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"no {pattern!r} in: {text[:300]}")
    return int(found.group(1))


if __name__ == "__main__":
    for name in ("forward_kernel", "backward_kernel"):
        for case in CASES:
            print(json.dumps(_compile(name, *case)), flush=True)
