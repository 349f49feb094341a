"""Paired timings, work captured into CUDA graphs, and tables, for all benchmarks.

    captured(work, device)           a callable that replays the work
    paired(works, rounds, repeats, timer_of(device, threads))
    table(times, what=..., size=...) one row per variant, with ratios to the first

The works that are timed are elsewhere, for example in workloads.py.
"""

import contextlib
import csv
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

Work = Callable[[], Any]
Timer = Callable[[Work, int], float]  # (work, calls) -> milliseconds of all of them
Row = dict[str, Any]

BUILDS = 4  # times that `paired_rebuilt` builds each work
WARM_UP = 5  # calls before a capture: lazy state, compilation, autotuning


class StandIn:
    """A stand-in for a CUDA graph on the CPU: repeats the calls made during recording."""

    def __init__(self) -> None:
        self._works: list[Work] = []

    @contextlib.contextmanager
    def recording(self, work: Work) -> Iterator[Work]:
        """Record each call."""

        def noted() -> Any:
            self._works.append(work)
            return work()

        yield noted

    def replay(self) -> None:
        """Repeat the recorded calls."""
        for work in self._works:
            work()


def captured(work: Work, device: str, calls: int = 1) -> Work:
    """Return a callable that replays `calls` calls of the work as one CUDA graph.

    Args:
        work: uses the same memory at each call and does not wait for the device.
        device: "cuda", or "cpu" to repeat the calls without a graph (for a dry run).
        calls: calls per replay; more than one if a single call is too short to time.
    """
    on_gpu = device == "cuda"
    stream = torch.cuda.Stream() if on_gpu else None
    if stream is not None:
        stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # does nothing if the stream is None
        for _ in range(WARM_UP if on_gpu else 1):
            work()
    if on_gpu:
        torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph() if on_gpu else StandIn()
    with contextlib.ExitStack() as stack:
        if isinstance(graph, StandIn):
            work = stack.enter_context(graph.recording(work))
        else:
            stack.enter_context(torch.cuda.graph(graph))
        for _ in range(calls):
            work()
    return graph.replay


def timer_of(device: str, threads: int = 1) -> Timer:
    """CUDA events on a GPU; on a CPU process time with one thread, wall time with more."""
    if device == "cuda":
        return _by_events
    clock = time.process_time if threads == 1 else time.perf_counter

    def by_clock(work: Work, calls: int) -> float:
        start = clock()
        for _ in range(calls):
            work()
        return (clock() - start) * 1e3

    return by_clock


def _by_events(work: Work, calls: int) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(calls):
        work()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def paired(
    works: Mapping[str, Work],
    rounds: int,
    repeats: int,
    timer: Timer,
    until_s: float = math.inf,
) -> dict[str, list[float]]:
    """Time all works in turns, in alternating order; returns milliseconds per call.

    No round begins after `until_s` of `time.monotonic`, but there is at least one.

    Other load on the machine then slows all works alike, so compare them by the median of the
    ratios within a round, as `table` does.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for index in range(rounds):
        if index > 0 and time.monotonic() >= until_s:
            break
        order = list(works) if index % 2 == 0 else list(works)[::-1]
        for name in order:
            times[name].append(timer(works[name], repeats) / repeats)
    return times


def paired_rebuilt(
    makers: Mapping[str, Callable[[], Work]], rounds: int, repeats: int, timer: Timer
) -> dict[str, list[float]]:
    """Like `paired`, but build the works again, in rotated order, for each quarter of the rounds.

    The place of the weights in memory changes the time of a small work by a few percent for as
    long as the work exists.
    """
    times: dict[str, list[float]] = {name: [] for name in makers}
    builds = min(BUILDS, rounds)
    for build in range(builds):
        first = build % len(makers)
        names = list(makers)[first:] + list(makers)[:first]
        built = {name: makers[name]() for name in names}
        works = {name: built[name] for name in makers}
        for name, measured in paired(works, rounds // builds, repeats, timer).items():
            times[name] += measured
    return times


def table(times: Mapping[str, list[float]], calls: int = 1, **columns: Any) -> list[Row]:
    """One row per variant: median milliseconds, and median and quartiles of the ratio to the first.

    Args:
        times: milliseconds of each variant from `paired`; the first is the base of the ratios.
        calls: calls of the work in each timed call.
        columns: columns with the same value in all rows.
    """
    base = next(iter(times.values()))
    rows = []
    for variant, measured in times.items():
        ratios = sorted(a / b for a, b in zip(measured, base, strict=True))
        quarter = len(ratios) // 4
        row = {
            **columns,
            "variant": variant,
            "milliseconds": round(statistics.median(measured) / calls, 5),
            "ratio": round(statistics.median(ratios), 4),
            "ratio_quartiles": f"{ratios[quarter]:.3f}-{ratios[-1 - quarter]:.3f}",
        }
        rows.append(row)
    return rows


def show(rows: Iterable[Row]) -> None:
    """Print one line per row."""
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)


def write_csv(path: Path, rows: list[Row]) -> None:
    """Write all rows; the columns are those of any row."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
