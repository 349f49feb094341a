"""`python -m wnrl.train --env Breakout`: the composer of a run.

`train(config)` is the same from Python: a generator that yields as it goes.
"""

import dataclasses
import platform
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from wnrl.agents.base import Agent
from wnrl.announce import describe, describe_init, describe_time
from wnrl.build import (
    build_agent,
    build_env,
    build_network,
    evaluation_env,
    evaluation_epsilon,
    fit_buffer,
)
from wnrl.checkpoint import CheckpointError, Checkpoints, Saved
from wnrl.config import OPERATIONAL, Config, flag_name, make_config, replace
from wnrl.cpus import usable_cpus
from wnrl.device import resolve_device
from wnrl.diagnostics import weight_vectors
from wnrl.envs.make import is_atari
from wnrl.envs.protocols import protocol_named
from wnrl.envs.vector import Episode, EpisodeStatistics, VectorEnv
from wnrl.errors import UsageError
from wnrl.evaluate import evaluate_policy
from wnrl.flags import one_line, parse_train_flags
from wnrl.forecast import format_duration, measure_speed
from wnrl.loop import Tick, run
from wnrl.memory import available_bytes, peak_resident_bytes
from wnrl.nn.norms import NORMS
from wnrl.recorder import Recorder, crossed, gain_histograms
from wnrl.rundir import RunDirectory, read_config
from wnrl.seeding import numpy_generator

MAX_THREADS = 8  # more do not help batches of 32


def train(
    config: Config,
    *,
    resume: bool = False,
    overwrite: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[Tick]:
    """Run a configuration in its folder; yields after every step of its environments.

    Sets torch's number of CPU threads, which is part of a run: results depend on it bit for bit.

    Args:
        config: from `wnrl.config.make_config`.
        resume: go on from the folder's newest checkpoint.
        overwrite: remove the run that is in the folder, if one is.
        should_stop: asked after each step; True ends the run with a checkpoint.
        say: takes each line meant for a person.

    Raises:
        UsageError: a configuration that cannot be run here, or a folder that cannot be used.
    """
    config = replace(config, threads=config.run.threads or min(usable_cpus(), MAX_THREADS))
    with RunDirectory(run_dir_of(config)) as folder:
        if overwrite:
            folder.clear()
        if folder.holds_run and not resume:
            raise UsageError(
                f"{folder.path} holds a run already; go on with --resume {folder.path}, start "
                "anew with --overwrite, or choose another folder with --run-dir"
            )
        checkpoints = Checkpoints(folder.path, keep=config.run.keep_checkpoints)
        saved = checkpoints.latest() if resume else None
        if resume and saved is None:
            say(f"{folder.path} has no checkpoint yet: starting its run from the beginning")
            folder.clear()
        torch.set_num_threads(config.run.threads)
        env = build_env(config)
        try:
            yield from _train(config, folder, checkpoints, saved, env, should_stop, say)
        finally:
            env.close()


def _train(
    config: Config,
    folder: RunDirectory,
    checkpoints: Checkpoints,
    saved: Saved | None,
    env: VectorEnv,
    should_stop: Callable[[], bool],
    say: Callable[[str], None],
) -> Iterator[Tick]:
    device = resolve_device(config.run.device)
    fresh = saved is None
    config, shrunk = fit_buffer(config, env, available_bytes(), fixed=not fresh)
    speed = measure_speed(config, device) if config.run.calibrate else None
    network, said = build_network(config if fresh else replace(config, init="default"), env)
    agent = build_agent(config, env, network, device)
    statistics = EpisodeStatistics(env.num_envs)
    done_steps = 0
    recorded = None
    if saved is None:
        folder.write_config(config, _facts(config, device))
        env.reset()
    else:
        state = saved.state()
        done_steps = saved.step
        agent.load_state_dict(state["agent"])
        checkpoints.resume(saved, agent.rows)
        statistics.load_state_dict(state["statistics"])
        env.load_state_dict(state["env"])
        recorded = state["recorder"]
    for line in describe(config, folder.path, device, done_steps, peak_resident_bytes()):
        say(line)
    if said is not None:
        say(f"  init      {describe_init(said)}")
    if shrunk:
        say(f"  note      {shrunk}")
    if speed is not None:
        for line in describe_time(config, speed, done_steps):
            say(line)

    recorder = Recorder(
        folder.path,
        config,
        recorded,
        done_steps,
        agent.scalars,
        lambda: gain_histograms(weight_vectors(agent.network, agent.optimizer)),
    )

    def save(agent_steps: int, last: bool) -> None:
        state = {
            "agent": agent.state_dict(),
            "env": env.state_dict(),
            "statistics": statistics.state_dict(),
            "recorder": recorder.state_dict(),
        }
        try:
            checkpoints.save(agent_steps, state, agent.network.state_dict(), agent.rows)
        except CheckpointError as error:
            if last:
                raise
            recorder.progress.say(f"wnrl: {error}; going on, the next one is tried as usual")

    steps, stopping = done_steps, False
    try:
        for tick in run(env, agent, statistics, done_steps, config.run.steps):
            before, steps = steps, tick.agent_steps
            recorder.tick(tick)
            if crossed(before, steps, config.run.eval_every_steps):
                recorder.evaluation(_evaluate(config, agent, steps))
            stopping = should_stop()
            last = stopping or steps >= config.run.steps
            if last or crossed(before, steps, config.run.checkpoint_every_steps):
                save(steps, last)
            yield tick
            if stopping:
                break
        if steps > done_steps:
            recorder.progress.finish(steps, recorder.recent)
    finally:
        recorder.close()
    say(_summary(folder.path, recorder, steps, config.run.steps))


def _evaluate(config: Config, agent: Agent, agent_steps: int) -> list[Episode]:
    """Whole episodes of the policy as it is; changes nothing in the run."""
    env = evaluation_env(config, config.run.eval_episodes, "evaluation", agent_steps)
    generator = numpy_generator(config.run.seed, "evaluation policy", agent_steps)
    try:
        policy = agent.policy(evaluation_epsilon(config), generator)
        return evaluate_policy(env, policy, config.run.eval_episodes)
    finally:
        env.close()


def _facts(config: Config, device: torch.device) -> dict[str, Any]:
    """What config.json says beside the settings."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    protocol = protocol_named(config.run.protocol) if is_atari(config.run.env) else None
    return {
        "device": {"type": device.type, "name": name or platform.machine()},
        "protocol": dataclasses.asdict(protocol) if protocol else None,
    }


def _summary(run_dir: Path, recorder: Recorder, steps: int, until_steps: int) -> str:
    mean = recorder.recent.mean_return
    scored = "no episode ended"
    if mean is not None:
        scored = (
            f"{recorder.episodes:,} episodes, mean raw return {mean:.1f} of the last "
            f"{len(recorder.recent)}"
        )
    state = "done" if steps >= until_steps else "stopped"
    further = f"--steps {2 * until_steps:_} " if steps >= until_steps else ""
    return (
        f"{state} at {steps:,} of {until_steps:,} agent steps after "
        f"{format_duration(recorder.wall_time_s)}: {scored}\n"
        f"  evaluate  python -m wnrl.evaluate {run_dir} --gif {run_dir}/play.gif\n"
        f"  go on     python -m wnrl.train --resume {run_dir} {further}\n"
        f"  watch     tensorboard --logdir {run_dir}"
    )


def run_dir_of(config: Config) -> Path:
    """The run's folder: as asked, or named by what the run is."""
    if config.run.run_dir:
        return Path(config.run.run_dir)
    env = config.run.env.replace("/", "-").replace(":", "-")
    return Path("runs") / env / config.name / f"seed{config.run.seed}"


def configure(arguments: Sequence[str]) -> tuple[Config, dict[str, Any]]:
    """The configuration that a command line asks for, and its commands.

    Raises:
        UsageError: the arguments cannot be used.
    """
    commands, settings = parse_train_flags(arguments)
    if "resume" not in commands:
        return make_config(settings), commands
    if "overwrite" in commands:
        raise UsageError("--resume goes on with a run, --overwrite removes it; give one of them")
    run_dir = Path(commands["resume"])
    config = read_config(run_dir)
    # Checked as if for a new run, so that a wrong value is told the same.
    asked = make_config({"env": config.run.env, "agent": config.run.agent, **settings}).run
    for name in settings:
        if name not in OPERATIONAL or name == "run_dir":
            raise UsageError(
                f"--{flag_name(name)} is fixed in a run that goes on; with --resume these may "
                f"change: {', '.join('--' + flag_name(n) for n in OPERATIONAL if n != 'run_dir')}"
            )
    changes = {name: getattr(asked, name) for name in settings}
    return replace(config, **changes, run_dir=str(run_dir)), commands


def list_norms() -> str:
    """The catalogue of normalizations: name, one line, paper, cost."""
    return "\n".join(
        f"{norm.name:<10} {norm.summary}\n{'':<10} paper: {norm.paper}\n{'':<10} cost:  {norm.cost}"
        for norm in NORMS.values()
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Train from the command line; returns the exit code.

    0: done; 2: input that cannot be used; 130, 143: stopped by Ctrl-C or SIGTERM, with a
    checkpoint; 1: the last checkpoint could not be written.
    """
    received: list[int] = []

    def remember(signum: int, frame: FrameType | None) -> None:
        if received:  # asked twice: do not wait for the end of the step
            raise KeyboardInterrupt
        received.append(signum)

    try:
        config, commands = configure(sys.argv[1:] if arguments is None else arguments)
        if "list_norms" in commands:
            print(list_norms())
            return 0
        before = {s: signal.signal(s, remember) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            for _ in train(
                config,
                resume="resume" in commands,
                overwrite="overwrite" in commands,
                should_stop=lambda: bool(received),
                say=lambda line: print(line, flush=True),
            ):
                pass
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)
    except UsageError as error:
        print(f"wnrl.train: {one_line(error)}", file=sys.stderr)
        return 2
    except CheckpointError as error:
        print(f"wnrl.train: {error}", file=sys.stderr)
        return 1
    return 128 + received[0] if received else 0


if __name__ == "__main__":
    sys.exit(main())
