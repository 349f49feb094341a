"""What weight normalization costs: acting, updating, and on a GPU the optimizer alone.

    python scripts/bench_weight_norm.py --all [--csv FILE]     CPU, and the GPU where there is one
    python scripts/bench_weight_norm.py --cpu [--rounds 30] [--threads 1 2]
    python scripts/bench_weight_norm.py --gpu [--dry]          --dry: tiny, on the CPU, no figures

CPU: every variant takes its turn in each round, and a figure is the median of the paired ratios to
the plain network of that round; process time at one thread, wall time at more. All on one base:
the Nature network, channels_last, fused Adam or ours, the norm measured, or clipped. "ours gv"
and torch's parametrization act as they stand, with no scope that holds their weights.

GPU: first the step on fresh random inputs against float64, then medians of CUDA-graph replays.
"""

import argparse
import copy
import csv
import functools
import itertools
import math
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from wnrl.nn.networks import NatureTorso
from wnrl.nn.norms import Norm, build_optimizer, get_norm, weight_normalization
from wnrl.optim import WNAdam
from wnrl.stepping import OptimizerSpec

ACTIONS = 6
CLIP = 10.0  # the agents' default for the global gradient norm
SHAPE = (4, 84, 84)
VARIANTS = ("plain", "ours w", "ours gv", "torch parametrization", "batch norm", "layer norm")
CPU_VARIANTS = VARIANTS[:-1]
GPU_VARIANTS = ("plain", "ours w", "torch parametrization", "batch norm", "layer norm")
GIB = 1024**3

Work = Callable[[], Any]
Row = dict[str, Any]


def network(variant: str, device: str) -> nn.Sequential:
    """The Nature network of one variant, the same function of the seed for all."""
    norms: dict[str, Norm] = {
        "plain": get_norm("none"),
        "ours w": weight_normalization("w"),
        "ours gv": weight_normalization("gv"),
        "torch parametrization": get_norm("none"),
        "batch norm": get_norm("batch"),
        "layer norm": get_norm("layer"),
    }
    torch.manual_seed(0)
    torso = NatureTorso(SHAPE, norms[variant])
    if variant == "torch parametrization":
        for layer in torso.layers:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                weight_norm(layer)
    return nn.Sequential(torso, nn.Linear(torso.num_features, ACTIONS)).to(device)


def frames(count: int, device: str) -> Tensor:
    """(count, 4, 84, 84) uint8 noise."""
    return torch.randint(0, 256, (count, *SHAPE), dtype=torch.uint8, device=device)


def acting(variant: str, envs: int, device: str, compiled: bool = False) -> Work:
    """One greedy choice for `envs` environments."""
    net, obs = network(variant, device).eval(), frames(envs, device)

    def act() -> Tensor:
        with torch.no_grad():
            chosen: Tensor = net(obs).argmax(1)
        return chosen

    return torch.compile(act) if compiled else act


def updating(
    variant: str, batch: int, device: str, compiled: bool = False, max_norm: float = math.inf
) -> Work:
    """One DQN update: two forward passes, a backward pass and a step that measures or clips."""
    net = network(variant, device).train()
    target = copy.deepcopy(net).eval()
    optimizer = build_optimizer(net, OptimizerSpec("adam", 1e-4, max_grad_norm=max_norm))
    if device == "cuda" and hasattr(optimizer, "optimizer"):
        for group in optimizer.param_groups:
            group["capturable"] = True
    obs, following = frames(batch, device), frames(batch, device)
    action = torch.randint(ACTIONS, (batch, 1), device=device)
    reward = torch.randn(batch, device=device)

    def loss() -> Tensor:
        with torch.no_grad():
            wanted = reward + 0.99 * target(following).max(1).values
        return nn.functional.smooth_l1_loss(net(obs).gather(1, action)[:, 0], wanted)

    forward = torch.compile(loss) if compiled else loss

    def update() -> None:
        optimizer.zero_grad()
        forward().backward()
        optimizer.step()

    return update


def paired(works: dict[str, Work], rounds: int, repeats: int, threads: int) -> dict[str, list[Any]]:
    """Milliseconds per call of each, taking turns; the order turns around every round."""
    clock = time.process_time if threads == 1 else time.perf_counter
    times: dict[str, list[Any]] = {name: [] for name in works}
    for work in works.values():
        work()
    for index in range(rounds):
        order = list(works) if index % 2 == 0 else list(works)[::-1]
        for name in order:
            start = clock()
            for _ in range(repeats):
                works[name]()
            times[name].append((clock() - start) / repeats * 1e3)
    return times


def cpu(rounds: int, threads: Sequence[int], batches: Sequence[int]) -> list[Row]:
    """The table of the CPU."""
    clipped = functools.partial(updating, max_norm=CLIP)
    rows = []
    for count in threads:
        torch.set_num_threads(count)
        tasks = [("act", envs, acting, 20) for envs in (1, 8)]
        tasks += [("update", batch, updating, 1) for batch in batches]
        tasks += [("update, clipped", batch, clipped, 1) for batch in batches]
        for what, size, make, repeats in tasks:
            works = {variant: make(variant, size, "cpu") for variant in CPU_VARIANTS}
            times = paired(works, rounds if size < 256 else max(2, rounds // 3), repeats, count)
            for variant, own in times.items():
                ratios = [a / b for a, b in zip(own, times["plain"], strict=True)]
                rows.append(
                    {
                        "where": "cpu",
                        "what": what,
                        "size": size,
                        "threads": count,
                        "variant": variant,
                        "milliseconds": round(statistics.median(own), 4),
                        "ratio": round(statistics.median(ratios), 4),
                    }
                )
                show(rows[-1])
    return rows


def replayed(work: Work, device: str, calls: int = 10, replays: int = 200) -> float:
    """Microseconds per call, the median of CUDA-graph replays; on the CPU one call and NaN."""
    if device == "cpu":
        work()
        return math.nan
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(5):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            work()
    times = []
    for _ in range(replays):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e3 / calls)
    return statistics.median(times)


def parameters(shapes: Sequence[tuple[int, ...]], device: str) -> list[nn.Parameter]:
    """Weights and a bias each, with gradients."""
    made = [
        nn.Parameter(torch.randn(s, device=device) / math.sqrt(math.prod(s[1:]))) for s in shapes
    ]
    made += [nn.Parameter(torch.randn(s[0], device=device)) for s in shapes]
    for parameter in made:
        parameter.grad = torch.randn_like(parameter)
    return made


def check(shapes: Sequence[tuple[int, ...]], device: str) -> None:
    """Three steps on fresh random inputs against float64; AssertionError beyond 1e-4 of the way."""
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
        print(f"check {shapes[0]}... max_norm {max_norm}: {worst:.1e} of the distance walked")
        assert worst < 1e-4, worst


def optimizers_alone(shapes: Sequence[tuple[int, ...]], device: str) -> list[Row]:
    """Microseconds and TB/s (7 words an element) of one step."""
    graphed = device == "cuda"
    makers: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
        "torch fused": lambda p: torch.optim.Adam(p, fused=True, capturable=graphed),
        "torch foreach": lambda p: torch.optim.Adam(p, foreach=True, capturable=graphed),
        "flat, no weight norm": lambda p: WNAdam([{"params": p, "weight_norm": False}]),
        "WNAdam": lambda p: WNAdam(p),
        "WNAdam, clipped": lambda p: WNAdam(p, max_norm=0.5),
    }
    rows = []
    for variant, make in makers.items():
        own = parameters(shapes, device)
        size = sum(parameter.numel() for parameter in own)
        time_us = replayed(make(own).step, device, 10 if size < 2e7 else 3)
        rate = 7 * 4 * size / time_us / 1e6
        row = {"where": device, "what": "optimizer", "size": size, "variant": variant}
        rows.append({**row, "milliseconds": time_us / 1e3, "tb_per_s": round(rate, 3)})
        show(rows[-1])
    return rows


def gpu(dry: bool) -> list[Row]:
    """The tables of the GPU; with `dry` every path once on the CPU, tiny."""
    device = "cpu" if dry else "cuda"
    nature: list[tuple[int, ...]]
    nature = [(32, 4, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3), (512, 3136), (ACTIONS, 512)]
    impala: list[tuple[int, ...]] = []
    channels = 4
    for depth in (16, 32, 32):
        impala += [(depth, channels, 3, 3)] + [(depth, depth, 3, 3)] * 4
        channels = depth
    impala += [(256, 3872), (15, 256), (1, 256)]
    sizes = [impala, nature, [(2048, 2048)] * 12, [(2048, 2048)] * 24]
    if dry:
        sizes = [[(4, 3, 3, 3), (5, 41)], [(3, 8)]]
    else:
        source = torch.randn(GIB // 4, device=device)
        copied = torch.empty_like(source)
        rate = 2 * GIB / replayed(lambda: copied.copy_(source), device, 3, 30) / 1e6
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}: copies {rate:.2f} TB/s")
    for shapes in (sizes[0], sizes[1], [(3, 27), (5, 45), (8, 20_000 if not dry else 50)]):
        check(shapes, device)
    rows = list(itertools.chain.from_iterable(optimizers_alone(s, device) for s in sizes))
    batches, envs = ((2,), (1,)) if dry else ((32, 256), (1, 8, 64))
    tasks = [("update", batch, updating) for batch in batches]
    tasks += [("act", count, acting) for count in envs]
    for compiled in (False,) if dry else (False, True):
        for what, size, make in tasks:
            plain = math.nan
            for variant in GPU_VARIANTS:
                time_us = replayed(make(variant, size, device, compiled), device)
                plain = time_us if variant == "plain" else plain
                row = {"where": device, "what": what, "size": size, "variant": variant}
                row |= {"compiled": compiled, "milliseconds": time_us / 1e3}
                rows.append({**row, "ratio": round(time_us / plain, 4)})
                show(rows[-1])
    return rows


def show(row: Row) -> None:
    """One line of the table."""
    print(
        "  ".join(f"{name} {value}" for name, value in row.items() if name != "where"), flush=True
    )


def main() -> None:
    """Parse the flags, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--all", action="store_true", help="the CPU, and the GPU if there is one")
    parser.add_argument("--cpu", action="store_true", help="the CPU's table")
    parser.add_argument("--gpu", action="store_true", help="the GPU's tables")
    parser.add_argument("--dry", action="store_true", help="every path once, tiny, on the CPU")
    parser.add_argument("--rounds", type=int, default=30, help="of pairs, on the CPU")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of torch")
    parser.add_argument("--csv", type=Path, help="write the rows there")
    args = parser.parse_args()
    if not (args.all or args.cpu or args.gpu or args.dry):
        parser.error("say --all, --cpu, --gpu or --dry")
    print(f"torch {torch.__version__}, {platform.machine()}, {platform.platform()}")
    rows: list[Row] = []
    if args.all or args.cpu or args.dry:
        batches = (2,) if args.dry else (32, 256)
        rows += cpu(1 if args.dry else args.rounds, args.threads, batches)
    if args.dry or ((args.all or args.gpu) and torch.cuda.is_available()):
        rows += gpu(args.dry)
    elif args.all or args.gpu:
        print("no CUDA device here: the GPU's figures stay open (--dry runs its paths)")
    if args.csv:
        names = list(dict.fromkeys(name for row in rows for name in row))
        with args.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, names, restval="")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
