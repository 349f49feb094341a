"""Which Stable-Baselines3 this package works with."""

OLDEST = (2, 7)
NEXT = 3  # the first major version that nobody has tried


def check_version(installed: str) -> None:
    """Refuse a Stable-Baselines3 whose policies may be built another way.

    Raises:
        ImportError: one sentence with the versions and what to install.
    """
    major, minor = (int(part) for part in installed.split(".")[:2])
    if not OLDEST <= (major, minor) < (NEXT, 0):
        oldest = ".".join(map(str, OLDEST))
        raise ImportError(
            f"wnrl.sb3 works with stable-baselines3 from {oldest} to below {NEXT}, and {installed} "
            f"is installed: pip install 'stable-baselines3>={oldest},<{NEXT}'"
        )
