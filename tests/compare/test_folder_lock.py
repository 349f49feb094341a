"""Two comparisons never work in one folder; tasks that ask for it share one."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from wnrl._settings import UsageError
from wnrl.compare.folder_lock import locked


def test_tasks_share_a_folder_with_each_other_and_not_with_a_whole_comparison(
    tmp_path: Path,
) -> None:
    with locked(tmp_path, shared=True):
        with locked(tmp_path, shared=True):
            pass
        with pytest.raises(UsageError, match="in use"), locked(tmp_path):
            pass
    refused = pytest.raises(UsageError, match="in use")
    with locked(tmp_path), refused, locked(tmp_path, shared=True):
        pass
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = pytest.raises(UsageError, match=r"out .*/file: File exists; choose another folder")
    with refused, locked(tmp_path / "file"):
        pass


def test_sharing_without_posix_locks_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(UsageError, match="need a POSIX system"), locked(tmp_path, shared=True):
        pass
    with locked(tmp_path):
        pass


@pytest.mark.slow
def test_the_command_can_be_imported_without_posix_modules() -> None:
    script = """
        import sys
        for name in ("fcntl", "resource", "termios", "pwd"):
            sys.modules[name] = None  # an import of it fails, as on Windows
        import wnrl.compare.run_comparison, wnrl.compare.run_cost, wnrl.doctor.command
        from pathlib import Path
        from wnrl.doctor.memory import peak_resident_bytes
        assert peak_resident_bytes(Path("without proc")) == 0
    """
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
