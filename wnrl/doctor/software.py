"""From which software a result came: for config.json and for the doctor."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

from wnrl import __version__

NOT_INSTALLED = "not installed"
_DISTRIBUTIONS = ("torch", "numpy", "gymnasium", "ale-py", "stable-baselines3", "tensorboard")
_PACKAGE_DIR = Path(__file__).resolve().parent


def versions() -> dict[str, str]:
    """Version of each package that can change a result, by name; `not installed` if it is not."""
    found = {"python": platform.python_version(), "wnrl": __version__}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = NOT_INSTALLED
    return found


def git_commit(package_dir: Path = _PACKAGE_DIR) -> str | None:
    """The commit that this package's files are of, with `-dirty` if tracked files were changed.

    Where it is not run from a checkout, what the environment variable WNRL_COMMIT says (an image
    sets it when it is built), else None: an installed package that happens to lie inside some other
    repository is not of that repository's commit.
    """
    if _git(package_dir, "ls-files", "--error-unmatch", "__init__.py") is None:
        return os.environ.get("WNRL_COMMIT") or None
    return _git(package_dir, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    """A git command's output; None if git is missing or refuses."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
