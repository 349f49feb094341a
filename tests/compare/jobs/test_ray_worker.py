"""The Ray worker without Ray: it checks its node, runs a process and passes interrupts on."""

import _thread
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wnrl.compare.jobs import ray_worker
from wnrl.compare.jobs.process import ExitStatus
from wnrl.compare.jobs.ray_worker import (
    ExpectedNode,
    installed_software,
    node_problem,
    run_on_node,
)
from wnrl.train.exit_codes import ExitCode


@pytest.fixture
def expected(tmp_path: Path) -> ExpectedNode:
    (tmp_path / "marker").write_text("token")
    return ExpectedNode(tmp_path / "marker", "token", installed_software())


def test_a_node_with_the_folder_and_the_same_software_is_taken(expected: ExpectedNode) -> None:
    assert node_problem(expected) == ""


@pytest.mark.parametrize("content", [None, "of an older comparison"])
def test_a_node_that_sees_another_folder_is_refused(
    expected: ExpectedNode, content: str | None
) -> None:
    expected.marker.unlink()
    if content is not None:
        expected.marker.write_text(content)
    assert "must be on a file system that all nodes share" in node_problem(expected)


@pytest.mark.parametrize("name", ["torch", "commit"])
def test_a_node_with_other_software_is_refused(expected: ExpectedNode, name: str) -> None:
    other = expected._replace(software={**expected.software, name: "7"})
    assert f"has {name} {expected.software[name]} instead of 7: all nodes need" in node_problem(
        other
    )


def test_nothing_is_run_where_something_is_missing(expected: ExpectedNode, tmp_path: Path) -> None:
    status = run_on_node(["-c", ""], tmp_path / "log", expected._replace(token="another"), tmp_path)
    assert status.exit_code == ExitCode.UNUSABLE
    assert "does not see" in status.reason
    assert not (tmp_path / "log").exists()


def test_a_run_is_done_with_this_package_and_its_exit_code_is_told(
    expected: ExpectedNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    code = "import os, sys; print(os.environ['PYTHONPATH']); sys.exit(7)"
    assert run_on_node(["-c", code], tmp_path / "log", expected, tmp_path) == ExitStatus(7)
    node, output = (tmp_path / "log").read_text().splitlines()
    assert node.startswith("on node ")
    assert output == f"{Path(ray_worker.__file__).parents[3]}:elsewhere:{tmp_path}"


def when(reached: Callable[[], bool], do: Callable[[], None]) -> None:
    """Call `do` from another thread as soon as `reached` returns true."""

    def watch() -> None:
        pause = threading.Event()
        while not reached():
            pause.wait(0.02)
        do()

    threading.Thread(target=watch, daemon=True).start()


@pytest.fixture(params=[signal.default_int_handler, signal.SIG_IGN])
def sigint(request: pytest.FixtureRequest) -> Iterator[None]:
    """Set SIGINT as in a worker that was started by hand, or by a script in the background."""
    before = signal.signal(signal.SIGINT, request.param)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("sigint")
def test_an_interrupt_asks_the_process_to_end_and_another_kills_it(
    expected: ExpectedNode, tmp_path: Path
) -> None:
    log = tmp_path / "log"

    def printed(word: str) -> Callable[[], bool]:
        return lambda: log.exists() and word in log.read_text()

    stubborn = (
        "import signal, time; signal.signal(15, lambda *_: print('asked', flush=True)); "
        "print('up', flush=True); [time.sleep(1) for _ in range(60)]"
    )
    when(printed("up"), _thread.interrupt_main)
    when(printed("asked"), _thread.interrupt_main)
    status = run_on_node(["-c", stubborn], log, expected, tmp_path)
    assert status == ExitStatus.from_code(-signal.SIGKILL)
    assert log.read_text().splitlines()[1:] == ["up", "asked"]


def test_a_worker_imports_neither_torch_nor_ray() -> None:
    code = (
        "import sys; sys.modules.update(torch=None, ray=None, numpy=None); "
        "import wnrl.compare.jobs.ray_worker"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
