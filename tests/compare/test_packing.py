"""How many runs train at a time: chosen from made measurements, obeyed, recorded and kept."""

import errno
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from wnrl._settings import SettingError, UsageError
from wnrl.compare import command, plan, run_comparison
from wnrl.compare.grid import PlannedRun, make_grid
from wnrl.compare.packing import Packing, choose_packing, steps_per_s
from wnrl.compare.plan import is_brief, plan_locally, with_costs, with_packing
from wnrl.compare.plan_text import describe_plan
from wnrl.compare.run_cost import RunCost, Trial, measure_together
from wnrl.report.find_runs import PackingRecord, PackingSpeed, read_record, remember_command
from wnrl.train.speed import Speed

MB = 10**6
Rate = Callable[[int, int], float]  # steps per second of (runs, threads) together


def costs(rate: float, jobs: int, peak_bytes: int = 0) -> list[RunCost]:
    return [RunCost(Speed(0.001, jobs / rate), peak_bytes)] * jobs


def chosen(rate: Rate, at_most: int, cores: int) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """Return the choice and what was tried; a rate of 0 is a packing that does not work."""

    def measure(packing: Packing) -> list[RunCost]:
        if not rate(*packing):
            raise SettingError("norm", "none cannot be run: out of memory")
        return costs(rate(*packing), packing.jobs)

    best, tried = choose_packing(measure, lambda alone: at_most, lambda jobs: cores // jobs)
    return best, list(tried)


@pytest.mark.parametrize(
    ("rate", "at_most", "cores", "best", "tried"),
    [
        # Cores that do not disturb each other.
        (lambda n, t: 100 * n, 2, 2, (2, 1), [(1, 1), (2, 1)]),
        (lambda n, t: 100 * n, 6, 6, (6, 1), [(1, 1), (2, 1), (4, 1), (6, 1)]),
        # Runs that share what two of them use up, such as a GPU: 4 are not worth it.
        (
            lambda n, t: min(100 * n, 190) + n + t,
            8,
            8,
            (2, 1),
            [(1, 1), (2, 1), (4, 1), (2, 2)],
        ),
        # Room for 2 runs on 8 cores: 2 threads each are worth it, 4 are not.
        (
            lambda n, t: 100 * n * {1: 1, 2: 1.3, 4: 1.32}[t],
            2,
            8,
            (2, 2),
            [(1, 1), (2, 1), (2, 2), (2, 4)],
        ),
        # A single run to do, and threads that only wait for each other.
        (lambda n, t: 100 / t, 1, 8, (1, 1), [(1, 1), (1, 2)]),
        # No room for 4.
        (lambda n, t: 100 * n * (n < 4), 8, 8, (2, 1), [(1, 1), (2, 1), (4, 1), (2, 2)]),
    ],
)
def test_more_runs_and_then_more_threads_are_taken_while_they_are_worth_it(
    rate: Rate, at_most: int, cores: int, best: tuple[int, int], tried: list[tuple[int, int]]
) -> None:
    assert chosen(rate, at_most, cores) == (best, tried)


def test_other_work_that_comes_and_goes_does_not_decide() -> None:
    measured = {(1, 1): [100.0, 60.0], (2, 1): [50.0, 180.0, 170.0], (2, 2): [181.0, 150.0]}

    def measure(packing: Packing) -> list[RunCost]:
        return costs(measured[packing].pop(0), packing.jobs)

    best, tried = choose_packing(measure, lambda alone: 2, lambda jobs: 2)
    assert best == (2, 1)
    assert [steps_per_s(of) for of in tried.values()] == pytest.approx([100, 180, 181])


def test_a_run_that_does_not_work_alone_is_an_error() -> None:
    with pytest.raises(SettingError, match="out of memory"):
        chosen(lambda n, t: 0, 2, 2)


def grid(out: Path, seeds: int, env: str = "Breakout", **settings: Any) -> list[PlannedRun]:
    return make_grid(
        {"steps": 10_000, **settings},
        envs=[env],
        norms=["none", "weight"],
        sweep={},
        seeds=range(1, seeds + 1),
        out=out,
    )


class Machine:
    """A machine whose measurements are made, with what was measured on it."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, cores: int, rate: Rate, peak_mb: int = 1
    ) -> None:
        self.measured: list[list[Trial]] = []
        self._rate, self._peak_bytes = rate, peak_mb * MB
        monkeypatch.setattr(plan, "usable_cores", lambda: cores)
        monkeypatch.setattr(plan, "measure_together", self._measure)
        monkeypatch.setattr(plan, "available_bytes", lambda: 1_000 * MB)

    def _measure(self, trials: Sequence[Trial]) -> list[RunCost]:
        self.measured.append(list(trials))
        threads = trials[0].planned.config.run.threads
        return costs(self._rate(len(trials), threads), len(trials), self._peak_bytes)

    @property
    def norms(self) -> list[list[str]]:
        return [[trial.planned.config.run.norm for trial in trials] for trials in self.measured]


def linear(jobs: int, threads: int) -> float:
    return 100 * jobs * threads**0.4


def silent(line: str) -> None:
    pass


def test_an_open_plan_takes_the_best_packing_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch, 8, linear, peak_mb=400)  # room for 2
    opened = plan_locally(grid(tmp_path, 4), 0)
    packed = with_costs(with_packing(opened, silent), silent, fixed_jobs=False)
    assert (packed.jobs, {each.config.run.threads for each in packed.grid}) == (2, {4})
    # The norm that is left is measured as it will run: next to another one.
    assert machine.norms[-1] == ["weight", "weight"]
    lines = describe_plan(packed)
    assert lines[1:3] == [
        "  2 at a time, 4 CPU threads each",
        "  chosen  by agent steps per second: 100 by 1 run of 1 thread, 200 by 2 runs of 1 thread, "
        "264 by 2 runs of 2 threads, 348 by 2 runs of 4 threads",
    ]
    assert any("(measured with 2 runs side by side on this machine" in line for line in lines)


@pytest.mark.parametrize(
    ("jobs", "settings", "packing"),
    [(3, {}, (3, 2)), (0, {"threads": "4"}, (2, 4)), (2, {"threads": "1"}, (2, 1))],
)
def test_given_jobs_and_threads_are_obeyed_without_measuring(
    jobs: int,
    settings: dict[str, str],
    packing: tuple[int, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Machine(monkeypatch, 8, linear)
    planned = plan_locally(grid(tmp_path, 4, **settings), jobs)
    assert (planned.jobs, planned.grid[0].config.run.threads) == packing
    assert not planned.is_open


@pytest.mark.parametrize(
    ("cores", "runs", "packing"),
    [(8, 8, (2, 3)), (4, 8, (4, 1)), (8, 7, (8, 1))],
    ids=["same machine", "another machine", "more runs"],
)
def test_a_repeated_command_keeps_the_packing(
    cores: int,
    runs: int,
    packing: tuple[int, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Machine(monkeypatch, cores, linear)
    earlier = PackingRecord(2, 3, 8, runs, [PackingSpeed(1, 1, 100.0)])
    remember_command(tmp_path, "a", 2, earlier)
    remember_command(tmp_path, "b", 2)  # measures nothing, and forgets nothing
    record = read_record(tmp_path).packing
    assert record == earlier
    again = plan_locally(grid(tmp_path, 4), 0, record)
    assert (again.jobs, again.grid[0].config.run.threads) == packing
    assert again.is_open == (packing != (2, 3))


@pytest.mark.parametrize(("jobs", "threads"), [(0, 1), (-1, -1), (1, 0), (3, 3)])
def test_a_packing_that_no_machine_chose_is_refused(
    jobs: int, threads: int, tmp_path: Path
) -> None:
    made = {"jobs": jobs, "threads": threads, "cores": 8, "runs": 8, "tried": []}
    text = json.dumps({"sweep": [], "runs": {}, "packing": made})
    (tmp_path / "compare.json").write_text(text)
    with pytest.raises(UsageError, match=r"compare.json cannot be read: packing.*; remove it"):
        read_record(tmp_path)


def test_runs_and_measurements_are_spread_over_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch, 4, linear)
    monkeypatch.setattr(plan, "shared_gpus", lambda name: ["3", "5"])
    packed = with_packing(plan_locally(grid(tmp_path, 4), 0), silent)
    assert packed.gpus == ["3", "5"]
    seen = [trial.environment["CUDA_VISIBLE_DEVICES"] for trial in machine.measured[-1]]
    assert seen == ["3", "5", "3", "5"]


@pytest.mark.parametrize(
    ("env", "steps", "brief"),
    [
        ("CartPole-v1", 20_000, True),
        ("CartPole-v1", 200_000, False),  # 8 runs
        ("Breakout", 20_000, False),
    ],
)
def test_short_runs_of_small_networks_are_not_measured(
    env: str, steps: int, brief: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan_locally(grid(tmp_path, 4, env, steps=steps), 0)
    monkeypatch.setattr(plan, "available_bytes", lambda: 10**6 * MB)
    assert is_brief(planned) == brief
    monkeypatch.setattr(plan, "available_bytes", lambda: MB)
    assert not is_brief(planned)


def test_a_comparison_measures_once_and_its_runs_get_the_threads_of_the_packing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch, 4, linear, peak_mb=600)  # room for 1
    runs: list[PlannedRun] = []

    def run_nothing(study: Any, *arguments: Any) -> list[Any]:
        runs.extend(study.start(0))
        return []

    monkeypatch.setattr(run_comparison, "run_stages", run_nothing)
    monkeypatch.setattr(run_comparison, "write_report", lambda *arguments, **options: None)
    flags = ["--env=Breakout", "--norm", "none", "weight", "--steps=1000", "--until=decided"]
    for _ in range(2):
        assert command.main([*flags, f"--out={tmp_path}"]) == 0
    assert [each.config.run.threads for each in runs] == [4] * 20
    record = read_record(tmp_path)
    assert record.packing is not None
    assert (record.at_a_time, record.packing.jobs, record.packing.threads) == (1, 1, 4)
    assert [(each.jobs, each.threads) for each in record.packing.tried] == [(1, 1), (1, 2), (1, 4)]
    # The second command measures memory and time again, and not the packing.
    assert machine.norms == [["none"]] * 3 + [["weight"], ["none"], ["weight"]]


def test_more_processes_than_the_system_allows_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(UsageError, match="2 runs cannot be started at a time: Resource"):
        measure_together([Trial(each) for each in grid(tmp_path, 1)])


@pytest.mark.slow
def test_runs_are_measured_side_by_side(tmp_path: Path) -> None:
    planned = grid(tmp_path, 1, "toy/Catch")
    measured = measure_together([Trial(each) for each in planned])
    assert steps_per_s(measured) > 0
    assert all(cost.peak_bytes > 0 for cost in measured)
    broken = planned[1]._replace(modules=("not_a_module",))
    with pytest.raises(SettingError, match=r"weight cannot be run: .*not_a_module"):
        measure_together([Trial(planned[0]), Trial(broken)])
