"""A training run from Python: `train(config)` and `resume(folder)` are generators.

A run claims its folder, builds its parts, starts or restores them, trains, saves and closes.
"""

import contextlib
import dataclasses
import platform
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from wnrl._settings import SettingError, UsageError, flag_name
from wnrl.config import OPERATIONAL, Config, make_config, replace
from wnrl.doctor.cpus import default_threads
from wnrl.doctor.device import resolve_device
from wnrl.doctor.memory import available_bytes, keep_freed_memory, peak_resident_bytes
from wnrl.envs.make import is_atari
from wnrl.envs.vector import VectorEnv
from wnrl.train.build import build_env, build_network, check_norm, resolve
from wnrl.train.loop import Tick
from wnrl.train.memory_budget import fit_memory
from wnrl.train.session import Session
from wnrl.train.speed import Speed, format_duration, measure_speed
from wnrl.train.start_message import describe, describe_costs, describe_init
from wnrl.train.storage.checkpoint import Checkpoints, Saved
from wnrl.train.storage.run_folder import RunDirectory, read_config
from wnrl.train.storage.variant_folder import variant_folder


def _never() -> bool:
    return False


def _silent(line: str) -> None:
    pass


def train(
    config: Config,
    *,
    overwrite: bool = False,
    should_stop: Callable[[], bool] = _never,
    say: Callable[[str], None] = _silent,
) -> Iterator[Tick]:
    """Start a run; yields after every step of its environments.

    Sets torch's number of CPU threads, which is part of the run because results depend on it bit
    for bit. The process keeps the memory that it frees (`wnrl.doctor.memory`).

    Args:
        config: from `wnrl.config.make_config`.
        overwrite: replace the run in the folder, once the new one is ready to begin.
        should_stop: called after each step; True ends the run with a checkpoint.
        say: called with each line for the user.

    Raises:
        UsageError: the configuration cannot be run here, or the folder cannot be used.
        CheckpointError: the last checkpoint could not be written.
    """
    config = replace(config, threads=config.run.threads or default_threads())
    device = resolve_device(config.run.device)
    parts = resolve(config)
    with contextlib.closing(build_env(parts)) as env:
        check_norm(parts, env)  # before the folder is claimed or a line printed
        with RunDirectory(run_dir_of(config)) as folder:
            if folder.holds_run and not overwrite:
                raise UsageError(
                    f"{folder.path} already holds a run; continue it with --resume {folder.path}, "
                    "replace it with --overwrite, or choose another folder with --run-dir"
                )
            yield from _train(config, folder, None, env, device, should_stop, say)


def resume(
    run_dir: Path,
    settings: Mapping[str, Any] = types.MappingProxyType({}),
    *,
    should_stop: Callable[[], bool] = _never,
    say: Callable[[str], None] = _silent,
) -> Iterator[Tick]:
    """Continue the run in a folder from its newest checkpoint; otherwise like `train`.

    A run without a checkpoint starts again from the beginning.

    Args:
        run_dir: the run's folder.
        settings: new values by name, only of `wnrl.config.OPERATIONAL`; `steps` makes it longer.
        should_stop: as in `train`.
        say: as in `train`.

    Raises:
        UsageError: no run, no usable checkpoint, or a setting that cannot change.
        CheckpointError: the last checkpoint could not be written.
    """
    read_config(run_dir)  # fail before claiming a folder that holds no run
    with RunDirectory(run_dir) as folder:
        config = _changed(read_config(run_dir), settings)
        with folder.status.recording_failure():
            saved = Checkpoints(run_dir).latest()
            if saved is None:
                say(f"{run_dir} has no checkpoint yet: starting its run from the beginning")
            elif saved.step >= config.run.steps:
                say(
                    f"already done at {saved.step:,} agent steps, and --steps is "
                    f"{config.run.steps:,}; give a larger --steps to continue"
                )
                return
            config = replace(config, run_dir=str(run_dir))
            device = resolve_device(config.run.device)
            with contextlib.closing(build_env(resolve(config))) as env:
                yield from _train(config, folder, saved, env, device, should_stop, say)


def _changed(config: Config, settings: Mapping[str, Any]) -> Config:
    """Return a run's configuration with new values of settings that do not affect learning."""
    fixed = {"env": config.run.env, "agent": config.run.agent, "norm": config.run.norm}
    changed = make_config({**fixed, **settings}).run
    allowed = [name for name in OPERATIONAL if name != "run_dir"]
    for name in settings:
        if name not in allowed:
            raise SettingError(
                name,
                "cannot change when a run resumes; these settings can: "
                f"{', '.join('--' + flag_name(other) for other in allowed)}",
            )
    return replace(config, **{name: getattr(changed, name) for name in settings})


def _train(
    config: Config,
    folder: RunDirectory,
    saved: Saved | None,
    env: VectorEnv,
    device: torch.device,
    should_stop: Callable[[], bool],
    say: Callable[[str], None],
) -> Iterator[Tick]:
    """Build, start or restore, train: the whole life of a run in a claimed folder."""
    done_steps = 0 if saved is None else saved.step
    session, speed = _build(config, folder, env, device, done_steps, say)
    if saved is None:
        session.start()  # only now: a run that cannot be built has changed nothing
    else:
        session.restore(saved)
    config = session.config
    with folder.status.recording_failure():
        folder.write_config(config, _facts(config, device), done_steps)
        for line in describe_costs(config, peak_resident_bytes(), speed, done_steps):
            say(line)
        yield from session.train(should_stop)
    say(_summary(session, folder.path))


def _build(
    config: Config,
    folder: RunDirectory,
    env: VectorEnv,
    device: torch.device,
    done_steps: int,
    say: Callable[[str], None],
) -> tuple[Session, Speed | None]:
    """Announce the run and build its parts; nothing in its folder changes."""
    torch.set_num_threads(config.run.threads)
    keep_freed_memory()
    config, shrunk = fit_memory(config, env, available_bytes(), fixed=done_steps > 0)
    for line in describe(config, folder.path, device, done_steps):
        say(line)
    if shrunk:
        say(f"  note      {shrunk}")
    speed = measure_speed(config, device) if config.run.calibrate else None
    # A checkpoint's weights replace those of the initialization.
    parts = resolve(replace(config, init="default") if done_steps else config)
    network, init_report = build_network(parts, env)
    if init_report is not None:
        say(f"  init      {describe_init(init_report)}")
    return Session(config, folder, env, network, device, done_steps), speed


def _facts(config: Config, device: torch.device) -> dict[str, Any]:
    """Return what config.json says besides the settings."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    protocol = resolve(config).protocol
    return {
        "device": {"type": device.type, "name": name or platform.machine()},
        "protocol": dataclasses.asdict(protocol) if protocol else None,
    }


def _summary(session: Session, run_dir: Path) -> str:
    """Return the last lines of a run: how it ended, and the commands to use next."""
    config, recorder = session.config, session.recorder
    steps, until_steps, mean = recorder.agent_steps, config.run.steps, recorder.recent.mean_return
    scored = "no episode ended"
    if mean is not None:
        scored = (
            f"{recorder.episodes:,} episodes, mean raw return {mean:.1f} over the last "
            f"{len(recorder.recent)}"
        )
    done = steps >= until_steps
    finished = done and config.rate_ends and until_steps >= config.run.schedule_steps
    gif = f" --gif {run_dir}/play.gif" if is_atari(config.run.env) else ""
    further = f" --steps {2 * until_steps:_}" if done else ""
    module = config.run.env.rpartition(":")[0]
    needs = f" --import {module}" if module else ""
    resume_line = f"  resume    python -m wnrl.train --resume {run_dir}{needs}{further}\n"
    return (
        f"{'done' if done else 'stopped'} at {steps:,} of {until_steps:,} agent steps after "
        f"{format_duration(recorder.elapsed_s)}: {scored}\n"
        f"  evaluate  python -m wnrl.evaluate {run_dir}{needs}{gif}\n"
        f"{'' if finished else resume_line}"
        f"  watch     tensorboard --logdir {run_dir}"
    )


def run_dir_of(config: Config) -> Path:
    """Return the run's folder: the one that was given, or one named after the run."""
    if config.run.run_dir:
        return Path(config.run.run_dir)
    return variant_folder(Path("runs"), config) / f"seed{config.run.seed}"
