"""A training run from Python: `train(config)` and `resume(folder)` yield as they go."""

import contextlib
import dataclasses
import math
import platform
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from wnrl._settings import UsageError, flag_name
from wnrl.agents.base import Agent, ValuePolicy
from wnrl.config import OPERATIONAL, Config, make_config, replace
from wnrl.doctor.allocator import keep_freed_memory
from wnrl.doctor.cpus import default_threads
from wnrl.doctor.device import resolve_device, waiting_for
from wnrl.doctor.memory import available_bytes, peak_resident_bytes
from wnrl.envs.make import is_atari
from wnrl.envs.seeding import numpy_generator
from wnrl.envs.vector import Episode, EpisodeStatistics, VectorEnv
from wnrl.instruments.instruments import Instruments
from wnrl.instruments.value_error import ValueGap
from wnrl.instruments.weight_rows import weight_vectors
from wnrl.nn.networks.named_layers import with_names
from wnrl.train.build import (
    build_env,
    build_network,
    check_norm,
    evaluation_env,
    evaluation_epsilon,
    fit_memory,
    run_protocol,
)
from wnrl.train.build_agent import build_agent
from wnrl.train.evaluation import evaluate_policy
from wnrl.train.log.recorder import Recorder, crossed, gain_histograms
from wnrl.train.loop import Tick, run
from wnrl.train.speed import format_duration, measure_speed
from wnrl.train.start_message import describe, describe_costs, describe_init
from wnrl.train.storage.checkpoint import CheckpointError, Checkpoints, Saved
from wnrl.train.storage.run_folder import RunDirectory, loading, read_config, variant_folder
from wnrl.train.timing import Stopwatch


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
    """Begin the run of a configuration; yields after every step of its environments.

    Sets torch's number of CPU threads, which is part of a run: results depend on it bit for bit.
    The process keeps the memory that it frees (`wnrl.doctor.allocator`).

    Args:
        config: from `wnrl.config.make_config`.
        overwrite: replace the run that is in the folder, if one is, once this one can begin.
        should_stop: asked after each step; True ends the run with a checkpoint.
        say: takes each line meant for a person.

    Raises:
        UsageError: a configuration that cannot be run here, or a folder that cannot be used.
        CheckpointError: the last checkpoint could not be written.
    """
    config = replace(config, threads=config.run.threads or default_threads())
    device = resolve_device(config.run.device)
    with contextlib.closing(build_env(config)) as env:
        check_norm(config, env)  # before a folder is claimed or a word is said
        with RunDirectory(run_dir_of(config)) as folder:
            if folder.holds_run and not overwrite:
                raise UsageError(
                    f"{folder.path} holds a run already; go on with --resume {folder.path}, start "
                    "anew with --overwrite, or choose another folder with --run-dir"
                )
            yield from _train(config, folder, None, env, device, should_stop, say)


def resume(
    run_dir: Path,
    settings: Mapping[str, Any] = types.MappingProxyType({}),
    *,
    should_stop: Callable[[], bool] = _never,
    say: Callable[[str], None] = _silent,
) -> Iterator[Tick]:
    """Go on with the run in a folder from its newest checkpoint; the rest is as in `train`.

    A run without one starts again from its beginning.

    Args:
        run_dir: the run's folder.
        settings: changes by name, of `wnrl.config.OPERATIONAL` alone; `steps` makes it longer.
        should_stop: as in `train`.
        say: as in `train`.

    Raises:
        UsageError: no run, no usable checkpoint, or a setting that is fixed.
        CheckpointError: the last checkpoint could not be written.
    """
    read_config(run_dir)  # a folder without a run is told so before it is made one's own
    with RunDirectory(run_dir) as folder:
        config = _changed(read_config(run_dir), settings)
        saved = Checkpoints(run_dir).latest()
        if saved is None:
            say(f"{run_dir} has no checkpoint yet: starting its run from the beginning")
        elif saved.step >= config.run.steps:
            say(
                f"already done at {saved.step:,} of {config.run.steps:,} agent steps; --steps with "
                "a larger number goes on"
            )
            return
        config = replace(config, run_dir=str(run_dir))
        device = resolve_device(config.run.device)
        with contextlib.closing(build_env(config)) as env:
            yield from _train(config, folder, saved, env, device, should_stop, say)


def _changed(config: Config, settings: Mapping[str, Any]) -> Config:
    """A run's configuration with changes that leave what is learnt as it is."""
    fixed = {"env": config.run.env, "agent": config.run.agent, "norm": config.run.norm}
    asked = make_config({**fixed, **settings}).run
    allowed = [name for name in OPERATIONAL if name != "run_dir"]
    for name in settings:
        if name not in allowed:
            raise UsageError(
                f"--{flag_name(name)} is fixed in a run that goes on; with --resume these may "
                f"change: {', '.join('--' + flag_name(other) for other in allowed)}"
            )
    return replace(config, **{name: getattr(asked, name) for name in settings})


def _train(
    config: Config,
    folder: RunDirectory,
    saved: Saved | None,
    env: VectorEnv,
    device: torch.device,
    should_stop: Callable[[], bool],
    say: Callable[[str], None],
) -> Iterator[Tick]:
    torch.set_num_threads(config.run.threads)
    keep_freed_memory()
    fresh = saved is None
    done_steps = 0 if saved is None else saved.step
    config, shrunk = fit_memory(config, env, available_bytes(), fixed=not fresh)
    for line in describe(config, folder.path, device, done_steps):
        say(line)
    if shrunk:
        say(f"  note      {shrunk}")
    speed = measure_speed(config, device) if config.run.calibrate else None
    network, said = build_network(config if fresh else replace(config, init="default"), env)
    if said is not None:
        say(f"  init      {describe_init(said)}")
    agent = build_agent(config, env, network, device)
    statistics = EpisodeStatistics(env.num_envs)
    checkpoints = Checkpoints(folder.path, keep=config.run.keep_checkpoints)
    agent.observer = instruments = Instruments(
        agent.network,
        agent.optimizer,
        config.run.instruments_every_updates,
        max_grad_norm=config.agent.max_grad_norm or math.inf,
    )
    stopwatch = Stopwatch(agent, wait=waiting_for(device))
    recorded = None
    if saved is None:
        env.reset()
        folder.clear()  # as late as this: whatever cannot be run has cost nothing
    else:
        with loading(folder.path, done_steps):
            state = saved.state()
            agent.load_state_dict(state["agent"])
            checkpoints.resume(saved, agent.rows)
            statistics.load_state_dict(state["statistics"])
            env.load_state_dict(state["env"])
            recorded = state["recorder"]
            if "instruments" in state:  # a run begun before there were any has none
                noted = {
                    name: with_names(network, part) if isinstance(part, Mapping) else part
                    for name, part in state["instruments"].items()
                }
                instruments.load_state_dict(noted)
    folder.write_config(config, _facts(config, device), done_steps)
    for line in describe_costs(config, peak_resident_bytes(), speed, done_steps):
        say(line)

    recorder = Recorder(
        folder.path,
        config,
        recorded,
        done_steps,
        lambda: {**agent.scalars(), **stopwatch.take()},
        lambda: gain_histograms(weight_vectors(agent.network, agent.optimizer)),
        instruments.take,
    )

    def save(agent_steps: int, last: bool) -> None:
        state = {
            "agent": agent.state_dict(),
            "env": env.state_dict(),
            "statistics": statistics.state_dict(),
            "recorder": recorder.state_dict(),
            "instruments": instruments.state_dict(),
        }
        try:
            checkpoints.save(agent_steps, state, agent.network.state_dict(), agent.rows)
        except CheckpointError as error:
            if last:
                raise
            recorder.progress.say(f"wnrl: {error}; going on, the next one is tried as usual")

    steps, stopping = done_steps, False
    try:
        for tick in run(env, stopwatch, statistics, done_steps, config.run.steps):
            before, steps = steps, tick.agent_steps
            recorder.tick(tick)
            if crossed(recorder.evaluated_steps, steps, config.run.eval_every_steps):
                played, found = _evaluate(config, agent, steps, should_stop)
                if played:
                    recorder.evaluation(played, found)
            stopping = should_stop()
            last = stopping or steps >= config.run.steps
            if last or crossed(before, steps, config.run.checkpoint_every_steps):
                save(steps, last)
            yield tick
            if stopping:
                break
        if steps > done_steps:
            recorder.finish()
    finally:
        recorder.progress.say("")  # whatever is written next begins a line of its own
        recorder.close()
    say(_summary(config, folder.path, recorder, steps))


def _evaluate(
    config: Config, agent: Agent, agent_steps: int, should_stop: Callable[[], bool]
) -> tuple[list[Episode], dict[str, float]]:
    """Whole episodes of the policy as it is, and how well it predicted them; none if it is stopped.

    Changes nothing in the run.
    """
    env = evaluation_env(config, config.run.eval_episodes, "evaluation", agent_steps)
    generator = numpy_generator(config.run.seed, "evaluation policy", agent_steps)
    try:
        policy = agent.policy(evaluation_epsilon(config), generator)
        values = None
        if isinstance(policy, ValuePolicy) and config.run.instruments_every_updates:
            learner = config.agent
            values = ValueGap(
                policy, env.num_envs, learner.gamma, clip_rewards=learner.clip_rewards
            )
        played = evaluate_policy(
            env, policy, config.run.eval_episodes, should_stop=should_stop, values=values
        )
        return played, {} if values is None else values.result().scalars()
    finally:
        env.close()


def _facts(config: Config, device: torch.device) -> dict[str, Any]:
    """What config.json says beside the settings."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    protocol = run_protocol(config) if is_atari(config.run.env) else None
    return {
        "device": {"type": device.type, "name": name or platform.machine()},
        "protocol": dataclasses.asdict(protocol) if protocol else None,
    }


def _summary(config: Config, run_dir: Path, recorder: Recorder, steps: int) -> str:
    until_steps, mean = config.run.steps, recorder.recent.mean_return
    scored = "no episode ended"
    if mean is not None:
        scored = (
            f"{recorder.episodes:,} episodes, mean raw return {mean:.1f} of the last "
            f"{len(recorder.recent)}"
        )
    done = steps >= until_steps
    finished = done and config.rate_ends and until_steps >= config.run.schedule_steps
    gif = f" --gif {run_dir}/play.gif" if is_atari(config.run.env) else ""
    further = f" --steps {2 * until_steps:_}" if done else ""
    go_on = f"  go on     python -m wnrl.train --resume {run_dir}{further}\n"
    return (
        f"{'done' if done else 'stopped'} at {steps:,} of {until_steps:,} agent steps after "
        f"{format_duration(recorder.elapsed_s)}: {scored}\n"
        f"  evaluate  python -m wnrl.evaluate {run_dir}{gif}\n"
        f"{'' if finished else go_on}"
        f"  watch     tensorboard --logdir {run_dir}"
    )


def run_dir_of(config: Config) -> Path:
    """The run's folder: as asked, or named by what the run is."""
    if config.run.run_dir:
        return Path(config.run.run_dir)
    return variant_folder(Path("runs"), config) / f"seed{config.run.seed}"
