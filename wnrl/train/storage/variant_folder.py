"""The folder of a variant, named after what is trained. A long name ends in a hash."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from wnrl._settings import flag_name
from wnrl.config import Config

LONGEST_BYTES = 120  # of a name; file systems allow 255 bytes


def variant_folder(out: Path, config: Config) -> Path:
    """Return the folder above a variant's seeds: `<out>/<Env>/<agent>-<norm>[-<flag>=<value>...]`.

    Earlier versions did not shorten names: a folder that exists under its whole name is used.
    """
    env = _env_name(config)
    games = out / (env if os.path.isdir(out / env) else shortened(env))
    whole = games / config.name
    return whole if os.path.isdir(whole) else games / folder_name(config)


def _env_name(config: Config) -> str:
    return config.run.env.replace("/", "-").replace(":", "-")


def flat_name(config: Config) -> str:
    """Return environment and `Config.name` as the name of one folder, shortened if too long."""
    return shortened(f"{_env_name(config)}-{config.name}", config.departures)


def folder_name(config: Config) -> str:
    """Return `Config.name`, shortened if it is too long."""
    return shortened(config.name, config.departures)


def shortened(name: str, flags: Iterable[str] = ()) -> str:
    """Return a name of at most `LONGEST_BYTES`: the beginning and a hash of the whole if need be.

    Args:
        name: the whole name.
        flags: settings at its end, each as `-<flag>=<value>`; none is cut in half.
    """
    whole = name.encode("utf-8", "backslashreplace")
    if len(whole) <= LONGEST_BYTES:
        return name
    ending = f"-etc-{hashlib.sha256(whole).hexdigest()[:16]}"
    room = LONGEST_BYTES - len(ending)
    kept = whole
    for flag in reversed([*flags]):
        if len(kept) <= room:
            break
        kept = kept[: kept.rindex(f"-{flag_name(flag)}=".encode())]
    return kept[:room].decode("utf-8", "ignore") + ending
