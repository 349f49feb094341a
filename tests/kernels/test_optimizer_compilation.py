"""The optimizer's kernels compile ahead of time, without a GPU, for the cards they serve."""

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

# Importing Triton here would fix its mode for the tests that need the interpreter.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is for Linux"
)

TENSORS = 10  # the Nature network's weights and biases
NATURE = (0, 1, 2)  # plain, short and whole rows, all aligned
EVERY_KIND = tuple(range(8))

# name: (target, rule, clip, type of the weights, kinds of rows)
VARIANTS = {
    "adam": ("sm_90", 0, False, "fp32", NATURE),
    "adam, clipped": ("sm_90", 0, True, "fp32", NATURE),
    "adamax": ("sm_90", 1, False, "fp32", NATURE),
    "rmsprop": ("sm_90", 2, False, "fp32", NATURE),
    "centered rmsprop": ("sm_90", 3, False, "fp32", NATURE),
    "radam": ("sm_90", 4, False, "fp32", NATURE),
    "sgd": ("sm_90", 5, False, "fp32", NATURE),
    "momentum sgd": ("sm_90", 6, False, "fp32", NATURE),
    "rmsprop-tf": ("sm_90", 7, False, "fp32", NATURE),
    "adam, bounded": ("sm_90", 0, False, "fp32", NATURE),
    "adam, clipped, bounded": ("sm_90", 0, True, "fp32", NATURE),
    "adam, bfloat16": ("sm_90", 0, False, "bf16", NATURE),
    "adam, every kind of row": ("sm_90", 0, True, "fp32", EVERY_KIND),
    **{
        f"adam, clipped, on {target}": (target, 0, True, "fp32", NATURE)
        for target in ("sm_80", "sm_100", "gfx942")
    },
}
WITHOUT_SPILLS = (
    *("adam", "adam, clipped", "adam, bfloat16", "adam, bounded", "adam, clipped, bounded"),
    *("adamax", "rmsprop", "centered rmsprop", "radam", "sgd", "momentum sgd", "rmsprop-tf"),
)


def compile_variant(name: str) -> str:
    """Registers and spills of one variant; run in a process without the interpreter."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from wnrl.kernels import optimizer_step
    from wnrl.kernels.optimizer_launch import BLOCK_ROW, BLOCK_SHORT, launch_options

    arch, rule, clip, dtype, kinds = VARIANTS[name]
    gpu = GPUTarget("hip", arch, 64) if arch[0] == "g" else GPUTarget("cuda", int(arch[3:]), 32)
    constants = {
        "RULE": rule,
        "CLIP": clip,
        "BOUNDED": "bounded" in name,
        "MASTER": dtype == "bf16",
        "KINDS": sum(1 << kind for kind in kinds),
        "BLOCK_SHORT": BLOCK_SHORT,
        "BLOCK_ROW": BLOCK_ROW,
    }
    types = {
        "weights": (f"*{dtype}",) * TENSORS,
        "gradients": (f"*{dtype}",) * TENSORS,
        "table_ptr": "*i32",
        "settings_ptr": "*fp64",
        "num_rows": "i32",
        "num_parts": "i32",
        "max_norm": "fp32",
    }
    reports = []
    for kernel in (optimizer_step.step_kernel, optimizer_step.measure_kernel):
        own = {key: value for key, value in constants.items() if key in kernel.arg_names}
        signature = {
            argument: "constexpr" if argument in own else types.get(argument, "*fp32")
            for argument in kernel.arg_names
        }
        attributes = {}
        for i, argument in enumerate(kernel.arg_names):
            if isinstance(signature[argument], tuple):
                for j in range(TENSORS):
                    attributes[(i, j)] = [["tt.divisibility", 16]]
            elif signature[argument].startswith("*"):
                attributes[(i,)] = [["tt.divisibility", 16]]
        source = ASTSource(kernel, signature, own, attributes)
        options = launch_options(clip, gpu.backend)
        compiled = triton.compile(source, target=gpu, options=options)
        report = f"{kernel.fn.__name__}: {resources(compiled)}"
        if "ptx" in compiled.asm and kernel is optimizer_step.step_kernel and not clip:
            report += f" unordered: {unordered_stores(compiled.asm['ptx'])}"
        reports.append(report)
        if kernel is optimizer_step.step_kernel and not clip:
            break
    return "; ".join(reports)


def resources(compiled: object) -> str:
    """ "REG:n ... spills: n" as the tools of the target's maker tell."""
    import triton

    asm = compiled.asm  # type: ignore[attr-defined]  # Triton has no types
    if "amdgcn" in asm:
        registers = re.findall(r"\.vgpr_count:\s+(\d+)", asm["amdgcn"])
        spills = re.findall(r"\.vgpr_spill_count:\s+(\d+)", asm["amdgcn"])
        return f"REG:{registers[0]} spills: {spills[0]}"
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    if not tool.exists():
        return f"{len(asm['cubin'])} bytes, no cuobjdump to read registers with"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(asm["cubin"])
        file.flush()
        usage, code = (
            subprocess.run([tool, how, file.name], capture_output=True, text=True).stdout
            for how in ("--dump-resource-usage", "-sass")
        )
    found = re.search(r"REG:(\d+)", usage)
    assert found is not None
    spills = len(re.findall(r"\b(?:LDL|STL)\b", code))
    return f"REG:{found[1]} spills: {spills}"


def unordered_stores(ptx: str) -> int:
    """Scalar stores with no barrier since the last load.

    A scalar of the row state is read by every warp and written by one thread, whose warp may be
    ahead. Only for aligned kinds of rows, whose elements are stored four at a time.
    """
    waiting, unordered = False, 0
    for line in ptx.splitlines():
        if "ld.global" in line:
            waiting = True
        elif "bar.sync" in line:
            waiting = False
        elif "st.global.b32" in line:
            unordered += waiting
    return unordered


@pytest.mark.slow
def test_every_step_compiles_ahead_of_time(capsys: pytest.CaptureFixture[str]) -> None:
    # A process of its own: with TRITON_INTERPRET set, Triton compiles nothing here.
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, __file__], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name, report in zip(VARIANTS, done.stdout.splitlines(), strict=True):
        with capsys.disabled():
            print(f"\n{name} ({VARIANTS[name][0]}): {report}", end="")
        if name in WITHOUT_SPILLS and "spills" in report:
            assert re.findall(r"spills: (\d+)", report) == ["0"] * report.count("spills"), name
        assert re.findall(r"unordered: [1-9]", report) == [], name


if __name__ == "__main__":
    for name in VARIANTS:
        print(compile_variant(name), flush=True)
