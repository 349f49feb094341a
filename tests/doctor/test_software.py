"""The software behind a result is named exactly, or not at all."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path

import pytest
import torch

import wnrl
from wnrl.doctor.software import git_commit, versions


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(autouse=True)
def _in_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WNRL_COMMIT", raising=False)


def test_versions_are_those_of_the_installed_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    by_name = versions()
    assert by_name["python"] == platform.python_version()
    assert by_name["wnrl"] == wnrl.__version__
    assert by_name["torch"].split("+")[0] == str(torch.__version__).split("+")[0]
    assert by_name["stable-baselines3"][0].isdigit()

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert versions()["ale-py"] == "not installed"


def test_the_commit_is_the_checkouts_and_says_when_files_were_changed(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("x = 1\n")
    git(tmp_path, "init", "--quiet")
    assert git_commit(package) is None  # no commit yet
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "one")
    git(tmp_path, "tag", "-a", "v1", "-m", "not what a commit is called")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert len(commit) == 40
    assert git_commit(package) == commit
    (package / "__init__.py").write_text("x = 2\n")
    assert git_commit(package) == f"{commit}-dirty"


def test_a_package_inside_another_repository_has_no_commit(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("x")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "notes")
    git(tmp_path, "commit", "--quiet", "-m", "one")
    package = tmp_path / "venv/package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    assert git_commit(package) is None


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert git_commit() is None


def test_where_there_is_no_checkout_an_image_says_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WNRL_COMMIT", "abc")
    assert git_commit(tmp_path) == "abc"
    monkeypatch.setenv("WNRL_COMMIT", "")  # an image that was built without it
    assert git_commit(tmp_path) is None
