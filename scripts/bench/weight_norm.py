"""Cost of weight normalization: acting, updating and, on a GPU, the optimizer alone.

    python scripts/bench/weight_norm.py --all [--csv FILE]     CPU, and the GPU if there is one
    python scripts/bench/weight_norm.py --cpu [--rounds 30] [--threads 1 2]
    python scripts/bench/weight_norm.py --gpu [--replays 200]
    python scripts/bench/weight_norm.py --dry                  every path once on the CPU, tiny

All variants take turns, and each figure is the median of the paired ratios to the plain network in
the same round. All use the Nature network, channels_last, and torch's fused Adam or ours, with the
gradient norm measured only, or clipped. "ours gv" and torch's parametrization compute their weights
at each action.

On the CPU, times are process time with one thread and wall time with more. On a GPU, the step and
the op are first checked against float64 on random inputs; then CUDA graphs are replayed, eager and
compiled. The optimizer alone is compared with the card's copy rate, measured in the same run.
"""

import argparse
import functools
import itertools
import math
import platform
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from timing import (
    Row,
    Work,
    captured,
    paired,
    paired_rebuilt,
    show,
    table,
    timer_of,
    write_csv,
)
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from workloads import ACTIONS, SHAPE, acting, updating

from wnrl.doctor.cpus import cpu_model
from wnrl.doctor.memory import keep_freed_memory
from wnrl.kernels import reference
from wnrl.kernels.ops import weight_norm_many
from wnrl.nn.networks.nature import NatureTorso
from wnrl.nn.norms.catalogue import get_norm
from wnrl.nn.norms.record import Norm, build_optimizer
from wnrl.nn.norms.weight import weight_normalization
from wnrl.optim.step import OptimizerSpec
from wnrl.optim.weight_norm import WNAdam

CLIP = 10.0  # the agents' default for the global gradient norm
VARIANTS = ("plain", "ours w", "ours gv", "torch parametrization", "batch norm", "layer norm")
CPU_VARIANTS = VARIANTS[:-1]
GIB = 1024**3
ALLOWED_STEP = 1e-4  # relative error of float32 after three steps of Adam
ALLOWED_OP = 1e-5  # relative error of float32 after one op

Shapes = Sequence[tuple[int, ...]]
NATURE: Shapes = ((32, 4, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3), (512, 3136), (ACTIONS, 512))
ODD: Shapes = ((3, 27), (5, 45), (8, 20_000))  # rows without vector loads, or in many passes
TINY: Shapes = ((4, 3, 3, 3), (5, 41), (3, 8))


def impala() -> Shapes:
    """Weights of the IMPALA network (Espeholt et al. 2018), 1.1M parameters with 4 frames."""
    shapes: list[tuple[int, ...]] = []
    channels = 4
    for depth in (16, 32, 32):
        shapes += [(depth, channels, 3, 3)] + [(depth, depth, 3, 3)] * 4
        channels = depth
    return [*shapes, (256, 3872), (15, 256), (1, 256)]


def network(variant: str, device: str) -> nn.Sequential:
    """The Nature network of one variant, with the same initial function for all."""
    norms: dict[str, Norm] = {
        "plain": get_norm("none"),
        "ours w": weight_normalization("w"),
        "ours gv": weight_normalization("gv"),
        "torch parametrization": get_norm("none"),
        "batch norm": get_norm("batch"),
        "layer norm": get_norm("layer"),
    }
    torch.manual_seed(0)
    torso = NatureTorso(SHAPE, "uint8", norms[variant])
    if variant == "torch parametrization":
        for layer in torso.layers:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                weight_norm(layer)
    return nn.Sequential(torso, nn.Linear(torso.num_features, ACTIONS)).to(device)


def act(variant: str, envs: int, device: str, backend: str = "") -> Work:
    """One greedy action for each of `envs` environments."""
    return acting(network(variant, device), envs, device, backend)


def update(
    variant: str, batch: int, device: str, backend: str = "", max_norm: float = math.inf
) -> Work:
    """One DQN update whose step measures the gradient norm, or clips it."""
    net = network(variant, device)
    optimizer = build_optimizer(net, OptimizerSpec("adam", 1e-4, max_grad_norm=max_norm))
    if device == "cuda" and hasattr(optimizer, "optimizer"):
        for group in optimizer.param_groups:
            group["capturable"] = True
    return updating(net, optimizer, batch, device, backend)


def cpu(dry: bool, rounds: int, threads: Sequence[int]) -> list[Row]:
    """Measure the CPU's table; `dry` runs one round with tiny sizes."""
    clipped = functools.partial(update, max_norm=CLIP)
    rows: list[Row] = []
    for count in threads:
        torch.set_num_threads(count)
        tasks = [("act", envs, act, 20) for envs in ((1,) if dry else (1, 8))]
        for batch in (2,) if dry else (32, 256):
            tasks += [("update", batch, update, 1), ("update, clipped", batch, clipped, 1)]
        for what, size, make, repeats in tasks:
            makers = {v: functools.partial(make, v, size, "cpu") for v in CPU_VARIANTS}
            turns = 1 if dry else rounds if size < 256 else max(2, rounds // 3)
            times = paired_rebuilt(makers, turns, repeats, timer_of("cpu", count))
            rows += table(times, where="dry" if dry else "cpu", what=what, size=size, threads=count)
            show(rows[-len(makers) :])
    return rows


def parameters(shapes: Shapes, device: str) -> list[nn.Parameter]:
    """Weights of the shapes and a bias for each, with random gradients."""
    made = [
        nn.Parameter(torch.randn(s, device=device) / math.sqrt(math.prod(s[1:]))) for s in shapes
    ]
    made += [nn.Parameter(torch.randn(s[0], device=device)) for s in shapes]
    for parameter in made:
        parameter.grad = torch.randn_like(parameter)
    return made


def check(shapes: Shapes, device: str) -> None:
    """Compare the step and the op with float64 on random inputs.

    The error of the step is relative to the distance moved in three steps, that of the op to the
    size of each result.

    Raises:
        AssertionError: an error exceeds rounding.
    """
    for max_norm in (None, 0.5):
        fused = parameters(shapes, device)
        wide = [nn.Parameter(parameter.detach().double().cpu()) for parameter in fused]
        start = [parameter.detach().clone() for parameter in wide]
        optimizers = [WNAdam(each, 1e-2, eps=1e-5, max_norm=max_norm) for each in (fused, wide)]
        for _ in range(3):
            for parameter, other in zip(fused, wide, strict=True):
                parameter.grad = torch.randn_like(parameter)
                other.grad = parameter.grad.double().cpu()
            for optimizer in optimizers:
                optimizer.step()
        worst = max(
            float((p.detach().double().cpu() - w.detach()).norm() / (w.detach() - s).norm())
            for p, w, s in zip(fused, wide, start, strict=True)
        )
        print(f"step, {shapes[0]}... max_norm {max_norm}: {worst:.1e} of the distance moved")
        assert worst < ALLOWED_STEP, worst
    vs = [torch.randn(s, device=device, requires_grad=True) for s in shapes]
    gs = [torch.randn(len(v), *[1] * (v.ndim - 1), device=device, requires_grad=True) for v in vs]
    dws = [torch.randn_like(v) for v in vs]
    ws = weight_norm_many(vs, gs)
    results = [*ws, *torch.autograd.grad(ws, [*vs, *gs], dws)]
    wide_vs, wide_gs, wide_dws = ([t.detach().double() for t in each] for each in (vs, gs, dws))
    exact = [reference.effective_weight(v, g) for v, g in zip(wide_vs, wide_gs, strict=True)]
    pairs = [reference.gradients(*each) for each in zip(wide_dws, wide_vs, wide_gs, strict=True)]
    exact += [dv for dv, _ in pairs] + [dg for _, dg in pairs]
    worst = max(
        float((result.detach() - truth).norm() / truth.norm())
        for result, truth in zip(results, exact, strict=True)
    )
    print(f"op, {shapes[0]}...: {worst:.1e} of each result")
    assert worst < ALLOWED_OP, worst


def copy_rate(device: str, size_bytes: int) -> float:
    """Copy rate of the device in TB/s (bytes read and written), the ceiling of an optimizer."""
    source = torch.randn(size_bytes // 4, device=device)
    target = torch.empty_like(source)
    work = captured(lambda: target.copy_(source), device, 3)
    times = paired({"copy": work}, 30, 1, timer_of(device))
    milliseconds = table(times, calls=3)[0]["milliseconds"]
    return float(2 * size_bytes / max(milliseconds, 1e-9) / 1e9)


def optimizers_alone(shapes: Shapes, device: str, replays: int, ceiling: float) -> list[Row]:
    """Time one step of each optimizer, with its rate in TB/s and as a share of `ceiling`."""
    graphed = device == "cuda"
    makers: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
        "flat, no weight norm": lambda p: WNAdam([{"params": p, "weight_norm": False}]),
        "torch fused": lambda p: torch.optim.Adam(p, fused=True, capturable=graphed),
        "torch foreach": lambda p: torch.optim.Adam(p, foreach=True, capturable=graphed),
        "WNAdam": lambda p: WNAdam(p),
        "WNAdam, clipped": lambda p: WNAdam(p, max_norm=0.5),
    }
    size = sum(math.prod(s) + s[0] for s in shapes)
    calls = 10 if size < 2e7 else 3
    works = {
        variant: captured(make(parameters(shapes, device)).step, device, calls)
        for variant, make in makers.items()
    }
    times = paired(works, replays, 1, timer_of(device))
    where = device if graphed else "dry"
    rows = table(times, calls, where=where, what="optimizer", size=size)
    for row in rows:
        rate = 7 * 4 * size / max(row["milliseconds"], 1e-9) / 1e9
        row |= {"tb_per_s": round(rate, 3), "of_copy_rate": round(rate / ceiling, 3)}
    show(rows)
    return rows


def gpu(dry: bool, replays: int) -> list[Row]:
    """Measure the GPU's tables; `dry` runs every path once on the CPU, with tiny sizes."""
    device, where = ("cpu", "dry") if dry else ("cuda", "cuda")
    replays = 1 if dry else replays
    ceiling = copy_rate(device, 2**20 if dry else GIB)
    if not dry:
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}: {ceiling:.2f} TB/s")
    for shapes in (TINY,) if dry else (impala(), NATURE, ODD):
        check(shapes, device)
    # 1.1M, 1.7M, 50M and 101M parameters.
    sizes = (TINY,) if dry else (impala(), NATURE, [(2048, 2048)] * 12, [(2048, 2048)] * 24)
    rows = list(
        itertools.chain.from_iterable(optimizers_alone(s, device, replays, ceiling) for s in sizes)
    )
    clipped = functools.partial(update, max_norm=CLIP)
    tasks: list[tuple[str, int, Callable[..., Work]]] = []
    for batch in (2,) if dry else (32, 256):
        tasks += [("update", batch, update), ("update, clipped", batch, clipped)]
    tasks = tasks[1:] if dry else tasks
    tasks += [("act", envs, act) for envs in ((1,) if dry else (1, 8, 64))]
    for backend in ("", "aot_eager" if dry else "inductor"):
        for what, size, make in tasks:
            works = {
                variant: captured(make(variant, size, device, backend), device)
                for variant in VARIANTS
            }
            times = paired(works, replays, 1, timer_of(device))
            rows += table(times, where=where, what=what, size=size, compiled=bool(backend))
            show(rows[-len(works) :])
            torch._dynamo.reset()
    return rows


def main() -> None:
    """Parse the flags, measure, print and write."""
    parser = argparse.ArgumentParser(
        prog="bench/weight_norm.py", description=__doc__.splitlines()[0]
    )  # type: ignore[union-attr]
    parser.add_argument("--all", action="store_true", help="CPU, and the GPU if there is one")
    parser.add_argument("--cpu", action="store_true", help="CPU only")
    parser.add_argument("--gpu", action="store_true", help="GPU only")
    parser.add_argument(
        "--dry", action="store_true", help="every path once on the CPU, with tiny sizes"
    )
    parser.add_argument("--rounds", type=int, default=30, help="paired timings on the CPU")
    parser.add_argument("--replays", type=int, default=200, help="paired timings on the GPU")
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[1, 2], help="CPU threads for torch, each in turn"
    )
    parser.add_argument("--csv", type=Path, help="file for the table")
    args = parser.parse_args()
    keep_freed_memory()  # as in training; otherwise page faults slow single variants by chance
    if not (args.all or args.cpu or args.gpu or args.dry):
        parser.error("choose --all, --cpu, --gpu or --dry")
    print(f"torch {torch.__version__}, {cpu_model()}, {platform.platform()}")
    rows: list[Row] = []
    if args.all or args.cpu or args.dry:
        rows += cpu(args.dry, args.rounds, args.threads)
    if args.dry or ((args.all or args.gpu) and torch.cuda.is_available()):
        rows += gpu(args.dry, args.replays)
    elif args.all or args.gpu:
        print("no CUDA device: the GPU was not measured (--dry runs its paths on the CPU)")
    if args.csv:
        write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
