"""Name the software that a result came from, for config.json and for the doctor."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

from wnrl import __version__

NOT_INSTALLED = "not installed"
OPTIONAL = {"MinAtar": "minatar"}  # distributions that only an extra requires, and the extra
_DISTRIBUTIONS = (
    "torch",
    "numpy",
    "gymnasium",
    "ale-py",
    "MinAtar",
    "stable-baselines3",
    "tensorboard",
)
_PACKAGE_DIR = Path(__file__).resolve().parent


def versions() -> dict[str, str]:
    """Return the version of each package that can change a result, by name.

    A package that is missing has the version `not installed`.
    """
    by_name = {"python": platform.python_version(), "wnrl": __version__}
    for name in _DISTRIBUTIONS:
        try:
            by_name[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            by_name[name] = NOT_INSTALLED
    return by_name


def git_commit(package_dir: Path = _PACKAGE_DIR) -> str | None:
    """Return the commit that these files belong to, with `-dirty` if tracked files were changed.

    Outside a checkout it is the environment variable WNRL_COMMIT, which a container image sets when
    it is built, or None. A package that is installed inside some other repository does not report
    that repository's commit.

    Args:
        package_dir: a folder of the package with an `__init__.py`.
    """
    if _git(package_dir, "ls-files", "--error-unmatch", "__init__.py") is None:
        return os.environ.get("WNRL_COMMIT") or None
    return _git(package_dir, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    """Return a git command's output, or None if git is missing or fails."""
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
