"""What a checkpoint was trained with: settings, versions and machine, compared on resume.

The record is in the checkpoint's manifest. config.json can be edited by hand; with other settings
the rest of the run would be another experiment under the old one's name.
"""

import functools
import platform
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wnrl._settings import SettingError
from wnrl.config import OPERATIONAL, Config
from wnrl.doctor.software import git_commit, versions

Record = Mapping[str, Any]
EMPTY: Record = types.MappingProxyType({})  # of checkpoints from before there were records


@functools.cache
def software() -> Mapping[str, Any]:
    """Return the versions and the commit that this process runs, asked once."""
    return {"versions": versions(), "commit": git_commit()}


def make_record(config: Config, rollbacks: Sequence[str] = ()) -> Record:
    """Return the record of a run that trains here and now, in plain values.

    Args:
        config: the run's configuration.
        rollbacks: why the run was rolled back, each time.
    """
    settings = {name: x for name, x in config.values.items() if name not in OPERATIONAL}
    return {
        "settings": settings,
        "rollbacks": list(rollbacks),
        **software(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def check_settings(config: Config, saved: Record, agent_step: int) -> None:
    """Refuse to resume with a setting that differs from the checkpoint's.

    Args:
        config: the run's configuration now, from config.json.
        saved: the checkpoint's record.
        agent_step: agent steps at the checkpoint.

    Raises:
        SettingError: a setting that affects learning has another value.
    """
    now = config.values
    for name, value in saved.get("settings", {}).items():
        if name in now and now[name] != value:
            raise SettingError(
                name,
                f"is {now[name]} in config.json, but the checkpoint of agent step {agent_step:,} "
                f"was trained with {value}: set it back to {value}, or start a new run with "
                f"{now[name]}",
            )


def changes(now: Record, saved: Record) -> Iterator[str]:
    """Yield what is different from when the checkpoint was written, `torch 2.13.0 (was 2.12.1)`."""
    if not saved:
        return
    named = [(f"{name} ", now["versions"].get(name), x) for name, x in saved["versions"].items()]
    named += [("commit ", now["commit"], saved["commit"]), ("", now["machine"], saved["machine"])]
    for name, current, before in named:
        if current != before:
            yield f"{name}{current or 'unknown'} (was {before or 'unknown'})"
