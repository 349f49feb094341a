"""What the benchmarks share: paired timings, work captured into CUDA graphs, and tables.

    captured(work, device)           a callable that replays the work
    paired(works, rounds, repeats, timer_of(device, threads))
    table(times, what=..., size=...) one row per variant, ratios to the first

Not here: what is measured.
"""

import contextlib
import csv
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

Work = Callable[[], Any]
Timer = Callable[[Work, int], float]  # (work, calls) -> milliseconds of all of them
Row = dict[str, Any]

BUILDS = 4  # of each work in `paired_anew`
WARM_UP = 5  # calls before a capture: lazy state, compilation, autotuning


class StandIn:
    """A CUDA graph for a dry run on the CPU: what was called while it recorded, called again."""

    def __init__(self) -> None:
        self._works: list[Work] = []

    @contextlib.contextmanager
    def recording(self, work: Work) -> Iterator[Work]:
        """Note each call."""

        def noted() -> Any:
            self._works.append(work)
            return work()

        yield noted

    def replay(self) -> None:
        """Do it all again."""
        for work in self._works:
            work()


def captured(work: Work, device: str, calls: int = 1) -> Work:
    """A callable that replays `calls` calls of the work as one CUDA graph.

    Args:
        work: reads and writes the same memory at each call, and does not wait for the device.
        device: "cuda"; on "cpu" the replay is the calls themselves, for a dry run.
        calls: more than one where a single one is too short to time.
    """
    on_gpu = device == "cuda"
    stream = torch.cuda.Stream() if on_gpu else None
    if stream is not None:
        stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # without one it does nothing
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
    """Events on a GPU; on a CPU this process's time at one thread, wall time at more."""
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
    works: Mapping[str, Work], rounds: int, repeats: int, timer: Timer
) -> dict[str, list[float]]:
    """Milliseconds per call of each, taking turns; the order turns around every round.

    Whatever else the machine does then falls on all alike: compare by the median of the ratios
    within a round, as `table` does.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for index in range(rounds):
        order = list(works) if index % 2 == 0 else list(works)[::-1]
        for name in order:
            times[name].append(timer(works[name], repeats) / repeats)
    return times


def paired_anew(
    makers: Mapping[str, Callable[[], Work]], rounds: int, repeats: int, timer: Timer
) -> dict[str, list[float]]:
    """As `paired`, with works built anew for each quarter of the rounds, in turned order.

    Where its weights happen to lie in memory is worth a few percent of a small work's time, and
    stays with it for as long as it lives.
    """
    times: dict[str, list[float]] = {name: [] for name in makers}
    builds = min(BUILDS, rounds)
    for build in range(builds):
        turned = build % len(makers)
        names = list(makers)[turned:] + list(makers)[:turned]
        built = {name: makers[name]() for name in names}
        works = {name: built[name] for name in makers}
        for name, own in paired(works, rounds // builds, repeats, timer).items():
            times[name] += own
    return times


def table(times: Mapping[str, list[float]], calls: int = 1, **columns: Any) -> list[Row]:
    """One row per variant: median milliseconds, median ratio to the first, both quartiles of it.

    Args:
        times: as `paired` gives them, the base first.
        calls: of the work in each timed call.
        columns: what all rows have in common.
    """
    base = next(iter(times.values()))
    rows = []
    for variant, own in times.items():
        ratios = sorted(a / b for a, b in zip(own, base, strict=True))
        quarter = len(ratios) // 4
        row = {
            **columns,
            "variant": variant,
            "milliseconds": round(statistics.median(own) / calls, 5),
            "ratio": round(statistics.median(ratios), 4),
            "ratio_quartiles": f"{ratios[quarter]:.3f}-{ratios[-1 - quarter]:.3f}",
        }
        rows.append(row)
    return rows


def show(rows: Iterable[Row]) -> None:
    """A line each."""
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)


def write_csv(path: Path, rows: list[Row]) -> None:
    """All rows, under every column that any of them has."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
