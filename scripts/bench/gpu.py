"""Everything that wnrl does on a GPU, in one lease: checked against float64, then timed.

    python scripts/bench/gpu.py --all [--minutes 9] [--csv FILE]
    python scripts/bench/gpu.py --dry [--csv FILE]      every row once on the CPU, with tiny sizes

Parts run in the order of their worth. Each ends when its share of the time is over, and rows that
no time is left for have the note "no time". The file is written after every row, so a lease that
ends early keeps what was measured. If a check fails, nothing is timed.

    checks      step, op and updates of all agents against float64 on the CPU
    rates       copies and matrix products: the ceilings of the card
    optimizer   one step, and its rate as a share of the copy rate
    network     acting and one DQN update with each way of normalizing, in graphs of the benchmark
    agents      the agents' own update and acting, plainly and as the graphs of `--graphs`
    loop        agent steps per second of the training loop on noise, plainly and with graphs
    compiled    like network, with torch.compile

Times are medians of paired rounds by CUDA events. tf32 is off in the checks, and on in what is
timed. Exit code 1: a check failed, or a row could not be measured.
"""

import argparse
import functools
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from gpu_checks import (
    ALLOWED_OP,
    ALLOWED_STEP,
    ALLOWED_UPDATE,
    Shapes,
    op_error,
    parameters,
    step_error,
    update_error,
)
from gpu_learners import agent_of, configured, drawn_rows, frames, learning, playing
from lease import Lease
from timing import Row, Work, captured, timer_of
from weight_norm import CLIP, VARIANTS, act, update

from wnrl.agents.catalogue import AGENTS
from wnrl.optim.weight_norm import WNAdam

NATURE: Shapes = ((32, 4, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3), (512, 3136), (6, 512))
ODD: Shapes = ((3, 27), (5, 45), (8, 20_000))  # rows without vector loads, or in many passes
TINY: Shapes = ((4, 3, 3, 3), (5, 41), (3, 8))
GIB = 1024**3
Made = Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]
ROWS = {"dqn": 32, "pqn": 256, "a2c": 80, "ppo": 256}  # of an update
WAYS = {"plain": False, "graphs": True}
NORMS = ("none", "weight")
COMPILED = ("plain", "ours w", "torch parametrization")  # of VARIANTS
SECONDS = {  # at most, of 9 minutes; what a part leaves over, later ones may need
    "checks": 240,
    "rates": 20,
    "optimizer": 60,
    "network": 90,
    "agents": 90,
    "loop": 80,
    "compiled": 180,
}


def impala() -> Shapes:
    """Weights of the IMPALA network (Espeholt et al. 2018), 1.1M parameters with 4 frames."""
    shapes: list[tuple[int, ...]] = []
    channels = 4
    for depth in (16, 32, 32):
        shapes += [(depth, channels, 3, 3)] + [(depth, depth, 3, 3)] * 4
        channels = depth
    return [*shapes, (256, 3872), (15, 256), (1, 256)]


NETWORKS: dict[str, Shapes] = {  # by number of parameters
    "IMPALA 1.1M": impala(),
    "Nature 1.7M": NATURE,
    "50M": [(2048, 2048)] * 12,
    "101M": [(2048, 2048)] * 24,
}


def shapes_of(lease: Lease, shapes: Shapes) -> Shapes:
    """Return the shapes, tiny in a dry run."""
    return TINY if lease.dry else shapes


def checks(lease: Lease) -> None:
    """Compare with float64."""
    torch.backends.cudnn.allow_tf32 = False
    device = lease.device
    for name, shapes in {**dict(list(NETWORKS.items())[:2]), "odd rows": ODD}.items():
        sizes = shapes_of(lease, shapes)
        for variant, max_norm in (("step", None), ("step, clipped", 0.5)):
            error = functools.partial(step_error, sizes, device, max_norm)
            lease.check(name, variant, ALLOWED_STEP, error)
        lease.check(name, "op", ALLOWED_OP, functools.partial(op_error, sizes, device))
    for agent in AGENTS:
        for norm in NORMS:
            for way, graphs in WAYS.items():
                rows = lease.size(ROWS[agent], 4)
                given = (agent, norm, rows, lease.side, device)
                error = functools.partial(update_error, *given, graphs=graphs and not lease.dry)
                lease.check(f"{agent} update", f"{norm}, {way}", ALLOWED_UPDATE, error)
    torch.backends.cudnn.allow_tf32 = True


def rates(lease: Lease) -> float:
    """Measure the card's ceilings; return the copy rate in TB/s."""
    timer = timer_of(lease.device.type)

    def fastest_ms(work: Work) -> float:
        return max(1e-6, min(timer(work, 1) for _ in range(lease.size(30, 2))))

    def copies() -> float:
        source = torch.randn(lease.size(GIB, 2**16) // 4, device=lease.device)
        target = torch.empty_like(source)
        return 2 * 4 * source.numel() / fastest_ms(lambda: target.copy_(source)) / 1e9

    def products(dtype: torch.dtype) -> float:
        side = lease.size(8192, 64)
        a, b = (torch.randn(side, side, device=lease.device).to(dtype) for _ in "ab")
        return 2 * side**3 / fastest_ms(lambda: a @ b) / 1e9

    rate = lease.value("copy", "device to device", "TB/s, read and written", copies)
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        lease.value("matrix product", name, "TFLOP/s", functools.partial(products, dtype))
    return rate


def optimizers(lease: Lease, copy_rate: float) -> None:
    """Time one step of each optimizer alone."""
    on_gpu = lease.device.type == "cuda"
    kinds: dict[str, Made] = {
        "flat, no weight norm": lambda p: WNAdam([{"params": p, "weight_norm": False}]),
        "torch fused": lambda p: torch.optim.Adam(p, fused=True, capturable=on_gpu),
        "torch foreach": lambda p: torch.optim.Adam(p, foreach=True, capturable=on_gpu),
        "WNAdam": WNAdam,
        "WNAdam, clipped": lambda p: WNAdam(p, max_norm=0.5),
    }
    for name, real in NETWORKS.items():
        shapes = shapes_of(lease, real)
        size = sum(math.prod(s) + s[0] for s in shapes)
        calls = 10 if size < 2e7 else 3

        def work(make: Made, shapes: Shapes = shapes, calls: int = calls) -> Work:
            step = make(parameters(shapes, lease.device)).step
            return captured(step, lease.device.type, calls)

        def rate(row: Row, size: int = size) -> Row:
            tb_per_s = 7 * 4 * size / max(row["milliseconds"], 1e-9) / 1e9
            of_copies = round(tb_per_s / copy_rate, 3)
            return {"tb_per_s": round(tb_per_s, 3), "of_copy_rate": of_copies}

        makers = {variant: functools.partial(work, make) for variant, make in kinds.items()}
        lease.times(makers, calls, rate, what="step", size=name)


def networks(lease: Lease, backend: str = "") -> None:
    """Time acting and updates with each way of normalizing."""
    device = lease.device.type
    clipped = functools.partial(update, max_norm=CLIP)
    tasks: list[tuple[str, int, Callable[..., Work]]] = [
        ("update", 32, update),
        ("act", 8, act),
        ("update, clipped", 32, clipped),
    ][: 2 if backend else None]  # compiling takes most of a minute
    if not backend:
        tasks += [("act", 1, act), ("act", 64, act), ("update", 256, update)]
        tasks += [("update, clipped", 256, clipped)]
    for what, size, make in tasks:
        makers = {
            variant: functools.partial(
                lambda make, *given: captured(make(*given), device),
                make,
                variant,
                lease.size(size),
                device,
                backend,
            )
            for variant in (COMPILED if backend else VARIANTS)
        }
        lease.times(makers, what=what, size=size)


def agents(lease: Lease) -> None:
    """Time the agents' own updates and acting, plainly and with graphs."""
    device = lease.device

    def updating(agent: str, norm: str, graphs: bool) -> Work:
        rows = drawn_rows(agent, lease.size(ROWS[agent]), device, 0, lease.side)
        return functools.partial(
            learning(agent, small_agent(lease, agent, norm, graphs=graphs)), rows
        )

    def acting(agent: str, norm: str, graphs: bool) -> Work:
        made = small_agent(lease, agent, norm, graphs=graphs)
        return functools.partial(made.learner.outputs, frames(lease.size(8), device, lease.side))

    for what, make in (("update", updating), ("act", acting)):
        for agent in AGENTS:
            for norm in NORMS:
                makers = {
                    f"{norm}, {way}": functools.partial(make, agent, norm, graphs)
                    for way, graphs in WAYS.items()
                }
                size = ROWS[agent] if what == "update" else 8
                lease.times(makers, what=f"{agent} {what}", size=size)


def loops(lease: Lease) -> None:
    """Measure the training loop without the time of an emulator."""

    def speed(agent: str, norm: str, graphs: bool, seconds: float) -> float:
        made = small_agent(lease, agent, norm, graphs=graphs)
        settings = made._settings
        steps = playing(made, settings.num_envs, lease.side)
        before = next(s for s in steps if s >= settings.warmup_steps + lease.size(2_000, 8))
        start_s = time.perf_counter()
        after = next(s for s in steps if time.perf_counter() - start_s >= seconds)
        float(torch.ones((), device=lease.device))  # waits for the device
        return (after - before) / (time.perf_counter() - start_s)

    for agent in AGENTS:
        for norm in NORMS:
            for way, graphs in WAYS.items():
                measure = functools.partial(speed, agent, norm, graphs, 0.01 if lease.dry else 2.0)
                lease.value(f"{agent} loop", f"{norm}, {way}", "agent steps/s", measure)


def small_agent(lease: Lease, agent: str, norm: str, *, graphs: bool) -> Any:
    """Return an agent as it starts, with a small replay and a short warm-up."""
    changes = {"buffer_size": 20_000, "warmup_steps": 200} if agent == "dqn" else {}
    config = configured(agent, norm, graphs=graphs and not lease.dry, **changes)
    return agent_of(config, lease.device, lease.side)


def main() -> None:
    """Parse the flags, check, measure, write."""
    parser = argparse.ArgumentParser(prog="bench/gpu.py", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--all", action="store_true", help="check and measure on the first GPU")
    parser.add_argument("--dry", action="store_true", help="every row on the CPU, tiny sizes")
    parser.add_argument("--minutes", type=float, default=9.0, help="time for everything")
    parser.add_argument("--csv", type=Path, help="file for the table")
    given = parser.parse_args()
    if given.all == given.dry:
        parser.error("choose --all or --dry")
    if given.all and not torch.cuda.is_available():
        parser.error("--all needs a GPU, and torch sees none; --dry runs everything on the CPU")
    minutes = 1_000.0 if given.dry else given.minutes
    lease = Lease(minutes, given.csv, dry=given.dry)

    def begin(part: str) -> None:
        lease.begin(part, SECONDS[part] * minutes / 9)

    begin("checks")
    checks(lease)
    if lease.failures:
        print("a check failed: nothing was timed", file=sys.stderr)
        sys.exit(1)
    begin("rates")
    rate = rates(lease)
    begin("optimizer")
    optimizers(lease, rate)
    begin("network")
    networks(lease)
    begin("agents")
    agents(lease)
    begin("loop")
    loops(lease)
    begin("compiled")
    networks(lease, "eager" if lease.dry else "inductor")
    sys.exit(1 if lease.failures else 0)


if __name__ == "__main__":
    main()
