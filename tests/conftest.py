"""How the tests run: processes, threads, and the seeds of the tests that learn.

Plain `pytest` runs in one process per usable CPU, if pytest-xdist is installed. With named files or
folders, with --pdb or with `-n 0` it runs in one process. Each process has one torch thread, or
OMP_NUM_THREADS of them.
"""

import os
from collections.abc import Callable, Iterator

THREADS = int(os.environ.setdefault("OMP_NUM_THREADS", "1"))  # torch and child processes read it

import pytest  # noqa: E402
import torch  # noqa: E402

from wnrl.doctor.cpus import cpu_quota  # noqa: E402
from wnrl.envs.toy import Catch  # noqa: E402
from wnrl.envs.toy_memory import Memory  # noqa: E402
from wnrl.envs.usable_cpus import usable_cpus  # noqa: E402
from wnrl.kernels import backend  # noqa: E402

MAX_PROCESSES = 8  # each takes about 1 GB, and loading torch a few seconds of CPU time


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flags of the long forms of some tests."""
    parser.addoption(
        "--learning-seeds",
        type=int,
        default=1,
        metavar="N",
        help="seeds, from 1, on which each test that learns runs (default: 1)",
    )
    parser.addoption(
        "--kills",
        type=int,
        default=3,
        metavar="N",
        help="SIGKILLs per agent in the slow tests of killed runs (default: 3)",
    )
    parser.addoption(
        "--fuzz",
        type=int,
        default=300,
        metavar="N",
        help="mutated inputs of the fuzzer, in hundreds (default: 300)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that learn on every seed asked for, and the fuzzer on every input."""
    if "learning_seed" in metafunc.fixturenames:
        seeds = range(1, metafunc.config.getoption("--learning-seeds") + 1)
        metafunc.parametrize("learning_seed", seeds)
    if "fuzz_chunk" in metafunc.fixturenames:
        metafunc.parametrize("fuzz_chunk", range(metafunc.config.getoption("--fuzz") // 100))


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Choose the number of processes before pytest-xdist reads it."""
    option = config.option
    chosen = getattr(option, "numprocesses", 0) is not None  # 0: there is no pytest-xdist
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    is_worker = hasattr(config, "workerinput")  # which must not start workers of its own
    if not (is_worker or chosen or named or option.usepdb or option.collectonly):
        processes = min(usable_cpus(), round(cpu_quota() or MAX_PROCESSES), MAX_PROCESSES)
        option.numprocesses = processes if processes > 1 else 0


@pytest.fixture(autouse=True)
def _torch_threads() -> None:
    torch.set_num_threads(THREADS)  # a command that ran in this process has chosen its own


@pytest.fixture
def choose_backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Return a function that chooses the implementation of weight normalization by its name."""

    def choose(name: str) -> None:
        monkeypatch.setenv(backend.VARIABLE, name)
        backend.backend_of.cache_clear()

    yield choose
    backend.backend_of.cache_clear()


@pytest.fixture(params=["numba", "aten"])
def cpu_backend(request: pytest.FixtureRequest, choose_backend: Callable[[str], None]) -> None:
    """Run a test with both implementations for CPUs."""
    choose_backend(request.param)


@pytest.fixture
def small_catch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make toy/Catch so small that every seed learns it, on every processor.

    Random play catches a third of the balls (mean return -1/3), as a paddle that stays does.
    """
    monkeypatch.setattr(Catch, "ROWS", 5)
    monkeypatch.setattr(Catch, "COLUMNS", 3)


@pytest.fixture
def short_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the delay of toy/Memory so short that every seed learns it, on every processor.

    The mean return of a policy without a memory is 0.
    """
    monkeypatch.setattr(Memory, "SHORTEST_STEPS", 3)
    monkeypatch.setattr(Memory, "LONGEST_STEPS", 4)
