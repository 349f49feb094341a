"""Huge pages: when a program starts again for them, and that it stays the same program."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wnrl.doctor.huge_pages import with_huge_pages

ENABLED = Path("sys/kernel/mm/transparent_hugepage/enabled")
TUNABLE = "glibc.malloc.hugetlb=1"


def system(root: Path, enabled: str) -> Path:
    (root / ENABLED).parent.mkdir(parents=True)
    (root / ENABLED).write_text(enabled)
    return root


def test_malloc_is_told_where_programs_may_choose(tmp_path: Path) -> None:
    root = system(tmp_path, "always [madvise] never\n")
    assert with_huge_pages({"A": "1"}, root) == {"A": "1", "GLIBC_TUNABLES": TUNABLE}
    given = {"GLIBC_TUNABLES": "glibc.malloc.check=1"}
    assert with_huge_pages(given, root) == {"GLIBC_TUNABLES": f"glibc.malloc.check=1:{TUNABLE}"}


@pytest.mark.parametrize("enabled", ["[always] madvise never\n", "always madvise [never]\n"])
def test_it_is_not_told_where_the_system_decides(enabled: str, tmp_path: Path) -> None:
    assert with_huge_pages({}, system(tmp_path, enabled)) is None


def test_it_is_not_told_without_linux_or_against_the_users_choice(tmp_path: Path) -> None:
    assert with_huge_pages({}, tmp_path) is None
    root = system(tmp_path, "always [madvise] never\n")
    assert with_huge_pages({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}, root) is None
    assert with_huge_pages({"GLIBC_TUNABLES": TUNABLE}, root) is None  # nothing starts twice


def test_the_program_starts_again_with_its_arguments_in_the_same_process(tmp_path: Path) -> None:
    root = system(tmp_path, "always [madvise] never\n")
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys\n"
        "from pathlib import Path\n"
        "from wnrl.doctor import huge_pages\n"
        f"huge_pages.with_huge_pages.__defaults__ = (Path({str(root)!r}),)\n"
        "print(os.getpid(), flush=True)\n"
        "huge_pages.restart_with_huge_pages()\n"
        "print(os.environ['GLIBC_TUNABLES'], sys.argv[1:], sys.flags.dev_mode)\n"
    )
    environment = {name: x for name, x in os.environ.items() if name != "GLIBC_TUNABLES"}
    command = [sys.executable, "-X", "dev", str(program), "--norm", "a b"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    first, second, last = done.stdout.splitlines()
    assert first == second
    assert last == f"{TUNABLE} ['--norm', 'a b'] True"
