"""A training run from Python: `train(config)` and `resume(folder)` are generators.

A run claims its folder, builds its parts, starts or restores them, trains, saves and closes.
"""

import contextlib
import dataclasses
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from wnrl._settings import SettingError, UsageError, flag_name
from wnrl.config import OPERATIONAL, Config, make_config, replace
from wnrl.doctor.cpus import cpu_model, default_threads
from wnrl.doctor.device import resolve_device, use_deterministic_algorithms
from wnrl.doctor.memory import available_bytes, keep_freed_memory, peak_resident_bytes
from wnrl.envs.call_order import HEARTBEAT
from wnrl.envs.guard.guarded_env import EnvironmentFault, EnvironmentRaised, NotFiniteStep
from wnrl.envs.make import is_atari
from wnrl.envs.vector import VectorEnv
from wnrl.train.build import (
    build_env,
    build_network,
    check_curvature,
    check_graphs,
    check_norm,
    resolve,
)
from wnrl.train.evaluation import check_eval_video
from wnrl.train.faults.finite import NotFiniteLearning
from wnrl.train.faults.repeat_check import repeats
from wnrl.train.foreign_text import quoted, visible
from wnrl.train.loop import Tick
from wnrl.train.memory_budget import fit_memory
from wnrl.train.plugins import named_modules
from wnrl.train.session import Session
from wnrl.train.speed import Speed, choose_threads, format_duration, lent, measure_speed
from wnrl.train.start_message import (
    describe,
    describe_costs,
    describe_init,
    describe_observations,
    describe_threads,
)
from wnrl.train.storage.checkpoint import Checkpoints, Saved
from wnrl.train.storage.run_folder import FAULT, RunDirectory, naming_modules, read_config
from wnrl.train.storage.run_record import changes, check_settings, make_record
from wnrl.train.storage.variant_folder import variant_folder
from wnrl.train.tracking.catalogue import check_tracker

__all__ = ["resume", "train"]  # of `wnrl.train`

NOT_FINITE = (NotFiniteLearning, NotFiniteStep)
MAX_ROLLBACKS = 5  # after that the learning rate is a 32nd, and more would not help


def _never() -> bool:
    return False


def _silent(line: str) -> None:
    pass


def _ignore_claim(folder: RunDirectory, config: Config) -> None:
    pass


def _nothing() -> None:
    pass


def train(
    config: Config,
    *,
    overwrite: bool = False,
    should_stop: Callable[[], bool] = _never,
    say: Callable[[str], None] = _silent,
    claimed: Callable[[RunDirectory, Config], None] = _ignore_claim,
    began: Callable[[], None] = _nothing,
) -> Iterator[Tick]:
    """Start a run; yields after every step of its environments.

    Sets torch's number of CPU threads, which is part of the run because results depend on it bit
    for bit. Without `threads`, the calibration chooses it. The process keeps the memory that it
    frees (`wnrl.doctor.memory`).

    Args:
        config: from `wnrl.config.make_config`.
        overwrite: replace the run in the folder, once the new one is ready to begin.
        should_stop: called after each step; True ends the run with a checkpoint.
        say: called with each line for the user.
        claimed: called with the run's folder and configuration once this process owns it.
        began: called when everything is built, before the folder changes.

    Raises:
        UsageError: the configuration cannot be run here, or the folder cannot be used.
        CheckpointError: the last checkpoint could not be written.
    """
    check_tracker(config.run.track)
    device = resolve_device(config.run.device)
    if not (config.run.calibrate and device.type == "cpu" and default_threads() > 1):
        config = replace(config, threads=config.run.threads or default_threads())
    parts = resolve(config)
    with contextlib.closing(build_env(parts)) as env:
        # Before the folder is claimed or a line printed.
        check_norm(parts, env)
        check_graphs(parts, device)
        check_curvature(parts)
        check_eval_video(parts)
        with RunDirectory(run_dir_of(config)) as folder:
            if folder.holds_run and not overwrite:
                raise UsageError(
                    f"{folder.path} already holds a run; continue it with --resume "
                    f"{quoted(folder.path)}, replace it with --overwrite, or choose another "
                    "folder with --run-dir"
                )
            claimed(folder, config)
            yield from _train(config, folder, None, env, device, should_stop, say, began)


def resume(
    run_dir: Path,
    settings: Mapping[str, Any] = types.MappingProxyType({}),
    *,
    should_stop: Callable[[], bool] = _never,
    say: Callable[[str], None] = _silent,
    claimed: Callable[[RunDirectory, Config], None] = _ignore_claim,
    began: Callable[[], None] = _nothing,
) -> Iterator[Tick]:
    """Continue the run in a folder from its newest checkpoint; otherwise like `train`.

    A run without a checkpoint starts again from the beginning.

    Args:
        run_dir: the run's folder.
        settings: new values by name, only of `wnrl.config.OPERATIONAL`; `steps` makes it longer.
        should_stop: as in `train`.
        say: as in `train`.
        claimed: as in `train`.
        began: called when everything is restored.

    Raises:
        UsageError: no run, no usable checkpoint, or a setting that cannot change.
        CheckpointError: the last checkpoint could not be written.
    """
    read_config(run_dir)  # fail before claiming a folder that holds no run
    with RunDirectory(run_dir) as folder:
        with naming_modules(run_dir):
            config = _changed(read_config(run_dir), settings)
        check_tracker(config.run.track)
        with folder.status.recording_failure():
            saved = Checkpoints(run_dir).latest()
            if saved is None:
                say(
                    f"{visible(run_dir)} has no checkpoint yet: starting its run from the beginning"
                )
            elif saved.step >= config.run.steps:
                say(
                    f"already done at {saved.step:,} agent steps, and --steps is "
                    f"{config.run.steps:,}; give a larger --steps to continue"
                )
                return
            else:
                check_settings(config, saved.manifest.record, saved.step)
            config = replace(config, run_dir=str(run_dir))
            device = resolve_device(config.run.device)
            check_graphs(resolve(config), device)
            check_curvature(resolve(config))
            check_eval_video(resolve(config))
            claimed(folder, config)
            with naming_modules(run_dir):
                env = build_env(resolve(config))
            with contextlib.closing(env):
                yield from _train(config, folder, saved, env, device, should_stop, say, began)


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
    began: Callable[[], None],
) -> Iterator[Tick]:
    """Build, start or restore, train: the whole life of a run in a claimed folder."""
    config, speed = _announce(config, folder, saved, env, device, say)
    session = _build(config, folder, saved, env, device, _rollbacks(saved), speed, say)
    with _explaining(folder):
        if saved is None:
            env.reset()
            began()
            session.start()  # only now: a run that cannot be built has changed nothing
        else:
            session.restore(saved)
            began()
    done_steps = 0 if saved is None else saved.step
    with folder.status.recording_failure(diverged=NOT_FINITE), _explaining(folder):
        with HEARTBEAT.paused():
            folder.write_config(config, _facts(session, device), done_steps)
        held_bytes = peak_resident_bytes()
        for line in describe_costs(config, held_bytes, session.saving_bytes(), speed, done_steps):
            say(line)
        while True:
            try:
                yield from session.train(should_stop)
                break
            except NOT_FINITE as fault:
                saved = Checkpoints(folder.path).latest()
                rollbacks = (*session.rollbacks, str(fault))
                if config.run.on_nonfinite == "stop" or saved is None:
                    raise
                if len(rollbacks) > MAX_ROLLBACKS:
                    fault.add_note(f"the run was rolled back {MAX_ROLLBACKS} times already")
                    raise
            say(
                f"{rollbacks[-1]}: back to the checkpoint of agent step {saved.step:,}, with the "
                f"learning rate halved to {config.agent.learning_rate * 0.5 ** len(rollbacks):g}"
            )
            del session  # before the next one takes as much memory
            session = _build(config, folder, saved, env, device, rollbacks, speed, say)
            session.restore(saved)
            folder.write_config(config, _facts(session, device), saved.step)
    say(_summary(session, folder.path))


def _rollbacks(saved: Saved | None) -> tuple[str, ...]:
    """Return why the run was rolled back before a checkpoint, each time."""
    return () if saved is None else tuple(saved.manifest.record.get("rollbacks", ()))


@contextlib.contextmanager
def _explaining(folder: RunDirectory) -> Iterator[None]:
    """Add to a fault what is kept and how to go on; keep an environment's own traceback."""
    try:
        yield
    except EnvironmentRaised as fault:
        folder.write_fault(fault)
        fault.add_note(f"its traceback is in {folder.path / FAULT}")
        fault.add_note(kept(folder))
        raise
    except EnvironmentFault as fault:
        fault.add_note(kept(folder))
        raise
    except NotFiniteLearning as fault:
        fault.add_note(kept(folder))
        fault.add_note("try a lower learning rate, or --on-nonfinite rollback")
        raise


def kept(folder: RunDirectory) -> str:
    """Say from which checkpoint the run in a folder can go on, and how."""
    steps = Checkpoints(folder.path).steps()
    if not steps:
        return "there is no checkpoint yet"
    return (
        f"--resume {quoted(folder.path)} continues from the checkpoint of agent step {steps[-1]:,}"
    )


def _announce(
    config: Config,
    folder: RunDirectory,
    saved: Saved | None,
    env: VectorEnv,
    device: torch.device,
    say: Callable[[str], None],
) -> tuple[Config, Speed | None]:
    """Say what is run and measure its speed; return it as it fits into the memory."""
    torch.set_num_threads(config.run.threads or default_threads())
    if config.run.deterministic:
        use_deterministic_algorithms()
    keep_freed_memory()
    done_steps = 0 if saved is None else saved.step
    config, shrunk = fit_memory(config, env, available_bytes(), fixed=done_steps > 0)
    for line in describe(config, folder.path, device, done_steps):
        say(line)
    for line in describe_observations(config, env.observation):
        say(line)
    notes = [shrunk] if shrunk else []
    if saved is not None:
        notes += [
            f"{change}: results may differ from a run that never stopped"
            for change in changes(make_record(config), saved.manifest.record)
        ]
    elif not is_atari(config.run.env) and not repeats(lambda: build_env(resolve(config))):
        notes.append(
            f"{config.run.env} depends on more than its seed and actions: "
            "this run cannot be resumed"
        )
    for note in notes:
        say(f"  note      {note}")
    if not config.run.calibrate:
        return config, None
    say("  speed     measuring for a few seconds (--no-calibrate leaves this out)")
    with lent(config, env) as trial:
        if config.run.threads:
            return config, measure_speed(config, device, trial)
        threads, tried = choose_threads(config, device, trial, default_threads())
    say(f"  threads   {describe_threads(threads, tried)}")
    return replace(config, threads=threads), tried[threads]


def _build(
    config: Config,
    folder: RunDirectory,
    saved: Saved | None,
    env: VectorEnv,
    device: torch.device,
    rollbacks: Sequence[str],
    speed: Speed | None,
    say: Callable[[str], None],
) -> Session:
    """Build the parts of a run; nothing in its folder changes."""
    done_steps = 0 if saved is None else saved.step
    # A checkpoint's weights replace those of the initialization.
    parts = resolve(replace(config, init="default") if done_steps else config)
    network, init_report = build_network(parts, env)
    if init_report is not None:
        say(f"  init      {describe_init(init_report)}")
    with HEARTBEAT.paused():
        return Session(config, folder, env, network, device, done_steps, rollbacks, speed)


def _facts(session: Session, device: torch.device) -> dict[str, Any]:
    """Return what config.json says besides the settings."""
    config = session.config
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_model()
    protocol = resolve(config).protocol
    return {
        "device": {"type": device.type, "name": name},
        "protocol": dataclasses.asdict(protocol) if protocol else None,
        "modules": named_modules(),
        "rollbacks": list(session.rollbacks),
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
    video = f" --video {quoted(run_dir / 'play.gif')}" if is_atari(config.run.env) else ""
    further = f" --steps {2 * until_steps:_}" if done else ""
    of_env = config.run.env.rpartition(":")[0]
    modules = dict.fromkeys([*named_modules(), *([of_env] if of_env else [])])
    needs = "".join(f" --import {quoted(module)}" for module in modules)
    resume_line = f"  resume    python -m wnrl.train --resume {quoted(run_dir)}{needs}{further}\n"
    return (
        f"{'done' if done else 'stopped'} at {steps:,} of {until_steps:,} agent steps after "
        f"{format_duration(recorder.elapsed_s)}: {scored}\n"
        f"  evaluate  python -m wnrl.evaluate {quoted(run_dir)}{needs}{video}\n"
        f"{'' if finished else resume_line}"
        f"  watch     tensorboard --logdir {quoted(run_dir)}"
    )


def run_dir_of(config: Config) -> Path:
    """Return the run's folder: the one that was given, or one named after the run."""
    if config.run.run_dir:
        return Path(config.run.run_dir)
    return variant_folder(Path("runs"), config) / f"seed{config.run.seed}"
