"""Cost of weight normalization on a CPU: acting and updating. On a GPU: gpu.py.

    python scripts/bench/weight_norm.py --cpu [--rounds 30] [--threads 1 2] [--csv FILE]
    python scripts/bench/weight_norm.py --dry                  every path once, tiny

All variants take turns, and each figure is the median of the paired ratios to the plain network in
the same round. All use the Nature network, channels_last, and torch's fused Adam or ours, with the
gradient norm measured only, or clipped. "ours gv" and torch's parametrization compute their weights
at each action. Times are process time with one thread and wall time with more.
"""

import argparse
import functools
import math
import platform
from collections.abc import Sequence
from pathlib import Path

import torch
from timing import Row, Work, paired_rebuilt, show, table, timer_of, write_csv
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from workloads import ACTIONS, SHAPE, acting, updating

from wnrl.doctor.cpus import cpu_model
from wnrl.doctor.memory import keep_freed_memory
from wnrl.nn.networks.nature import NatureTorso
from wnrl.nn.norms.catalogue import get_norm
from wnrl.nn.norms.record import Norm, build_optimizer
from wnrl.nn.norms.weight import weight_normalization
from wnrl.optim.step import OptimizerSpec

CLIP = 10.0  # the agents' default for the global gradient norm
VARIANTS = ("plain", "ours w", "ours gv", "torch parametrization", "batch norm", "layer norm")
CPU_VARIANTS = VARIANTS[:-1]


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


def main() -> None:
    """Parse the flags, measure, print and write."""
    parser = argparse.ArgumentParser(
        prog="bench/weight_norm.py", description=__doc__.splitlines()[0]
    )  # type: ignore[union-attr]
    parser.add_argument("--cpu", action="store_true", help="measure")
    parser.add_argument("--dry", action="store_true", help="every path once, with tiny sizes")
    parser.add_argument("--rounds", type=int, default=30, help="paired timings")
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[1, 2], help="CPU threads for torch, each in turn"
    )
    parser.add_argument("--csv", type=Path, help="file for the table")
    args = parser.parse_args()
    keep_freed_memory()  # as in training; otherwise page faults slow single variants by chance
    if not (args.cpu or args.dry):
        parser.error("choose --cpu or --dry")
    print(f"torch {torch.__version__}, {cpu_model()}, {platform.platform()}")
    rows = cpu(args.dry, args.rounds, args.threads)
    if args.csv:
        write_csv(args.csv, rows)


if __name__ == "__main__":
    main()
