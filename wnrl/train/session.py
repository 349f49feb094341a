"""The moving parts of a run: started or restored, trained, evaluated and saved."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import nn

from wnrl.agents.learner import Observers
from wnrl.config import Config, replace
from wnrl.doctor.device import waiting_for
from wnrl.envs.call_order import HEARTBEAT
from wnrl.envs.guard.guarded_env import EnvironmentFault
from wnrl.envs.seeding import jumped
from wnrl.envs.vector import EpisodeStatistics, VectorEnv
from wnrl.instruments.curvature.instrument import CurvatureInstrument
from wnrl.instruments.instruments import Instruments
from wnrl.instruments.weight_rows import weight_vectors
from wnrl.train.build import build_agent, resolve
from wnrl.train.evaluation import evaluate_agent
from wnrl.train.faults.finite import check_metrics, check_weights
from wnrl.train.foreign_text import quoted
from wnrl.train.log.recorder import Recorder, Sources, gain_histograms
from wnrl.train.loop import Tick, crossed, run
from wnrl.train.memory_budget import saving_bytes
from wnrl.train.speed import Speed
from wnrl.train.storage import old_runs
from wnrl.train.storage.checkpoint import CheckpointError, Checkpoints, Saved
from wnrl.train.storage.run_folder import RunDirectory, loading
from wnrl.train.storage.run_record import make_record
from wnrl.train.storage.run_status import RunState
from wnrl.train.timing import Stopwatch
from wnrl.train.untrusted.typed_json import check_alike


class Stateful(Protocol):
    """A part of a run that a checkpoint holds."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything that moves."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue bit for bit where the state was taken."""
        ...


class Session:
    """One process's part of a run, from its beginning or from a checkpoint to its end.

    Call `start` or `restore`, then iterate over `train`.
    """

    def __init__(
        self,
        config: Config,
        folder: RunDirectory,
        env: VectorEnv,
        network: nn.Module,
        device: torch.device,
        done_steps: int,
        rollbacks: Sequence[str] = (),
        speed: Speed | None = None,
    ) -> None:
        """Build the parts; nothing in the folder changes.

        Args:
            config: the run's configuration.
            folder: the run's folder, claimed.
            env: the environments, built but not reset.
            network: the network, initialized.
            device: the agent's device.
            done_steps: agent steps done, 0 for a new run.
            rollbacks: why the run was rolled back, each time; each halves the learning rate.
            speed: from the calibration; None without one.
        """
        self.config = config
        self.rollbacks = tuple(rollbacks)
        learning_rate = config.agent.learning_rate * 0.5 ** len(rollbacks)
        self._folder = folder
        self._env = env
        self._done_steps = done_steps
        parts = resolve(replace(config, learning_rate=learning_rate) if rollbacks else config)
        self._agent = agent = build_agent(parts, env, network, device)
        self._statistics = EpisodeStatistics(env.num_envs, six_digits=config.protocol is not None)
        learner = agent.learner
        self._instruments = Instruments(
            agent.network,
            learner.optimizer,
            config.run.instruments_every_updates,
            max_grad_norm=config.agent.max_grad_norm or math.inf,
        )
        self._curvature = CurvatureInstrument(
            agent.network,
            learner.optimizer,
            config.run.curvature_every_updates,
            problem=lambda: learner.problem,
            updates=lambda: learner.updates,
        )
        learner.observer = Observers(self._curvature, self._instruments)
        self._stopwatch = Stopwatch(agent, wait=waiting_for(device))
        self._checkpoints = Checkpoints(
            folder.path,
            keep=config.run.keep_checkpoints,
            record=make_record(config, self.rollbacks),
        )
        self.recorder = Recorder(config, folder.status, done_steps, speed)
        self._parts: dict[str, Stateful] = {
            "agent": agent,
            "env": env,
            "statistics": self._statistics,
            "recorder": self.recorder,
            "instruments": self._instruments,
        }

    def saving_bytes(self) -> int:
        """Return the memory that a checkpoint takes while it is written, by estimate."""
        return saving_bytes(self.config, self._env, self._agent.network)

    def start(self) -> None:
        """Begin a new run, its environments reset, in place of what the folder holds."""
        self._folder.clear()
        self._folder.status.start(0, self.config.run.steps)

    def restore(self, saved: Saved) -> None:
        """Continue from a checkpoint; UsageError if this version cannot read it."""
        self._folder.status.start(saved.step, self.config.run.steps)
        with loading(self._folder.path, saved.step):
            state = saved.state()
            old_runs.migrate(
                state,
                self._folder.path,
                saved.step,
                self._agent.network,
                self._instruments.state_dict(),
                self.config.run.eval_episodes,
            )
            if len(self.rollbacks) > len(saved.manifest.record.get("rollbacks", ())):
                state["agent"] = jumped(state["agent"], len(self.rollbacks))
            optimizer = self._agent.learner.optimizer
            rates = [group["lr"] for group in optimizer.param_groups]
            check_alike(state["agent"], self._agent.state_dict(), "agent")
            for name, part in self._parts.items():
                part.load_state_dict(state[name])
            if self.rollbacks:  # the rates of the checkpoint may be from before
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate
            with HEARTBEAT.paused():
                self._checkpoints.resume(saved, self._agent.rows)

    def train(self, should_stop: Callable[[], bool]) -> Iterator[Tick]:
        """Train to the end of the run, yielding after every step of its environments.

        Args:
            should_stop: called after each step; True ends the session with a checkpoint.

        Raises:
            EnvironmentFault: an environment failed; what was learnt until then is saved.
            NotFiniteLearning: NaN or infinity was learnt; nothing is saved.
            CheckpointError: the last checkpoint could not be written.
        """
        recorder = self.recorder
        with HEARTBEAT.paused():
            self._agent.learner.optimizer.prepare()
            recorder.open(self._folder.path, self._sources())
        try:
            yield from self._steps(should_stop)
        except EnvironmentFault:
            if recorder.agent_steps > self._done_steps:
                self._save(recorder.agent_steps, last=False)
            raise
        except (ArithmeticError, RuntimeError, ValueError):
            check_weights(self._agent.learner)  # NaN is what breaks other code, and says less
            raise
        finally:
            recorder.progress.say("")  # the next output begins on a new line
            with HEARTBEAT.paused():
                self._report_checkpoint(self._checkpoints.wait)
                recorder.close()

    def _steps(self, should_stop: Callable[[], bool]) -> Iterator[Tick]:
        settings, recorder = self.config.run, self.recorder
        steps, stopping = self._done_steps, False
        for tick in run(self._env, self._stopwatch, self._statistics, steps, settings.steps):
            before, steps = steps, tick.agent_steps
            recorder.tick(tick)
            self._report_checkpoint(self._checkpoints.poll)
            if crossed(before, steps, settings.log_every_steps):
                self._check_finite()
            if crossed(recorder.evaluated_steps, steps, settings.eval_every_steps):
                self._evaluate(steps, should_stop)
            stopping = should_stop()
            last = stopping or steps >= settings.steps
            if last or crossed(before, steps, settings.checkpoint_every_steps):
                self._save(steps, last)
            yield tick
            if stopping:
                break
        recorder.finish(RunState.DONE if steps >= settings.steps else RunState.STOPPED)

    def _sources(self) -> Sources:
        agent = self._agent
        return Sources(
            scalars=agent.scalars,
            times=self._stopwatch.pop_times,
            histograms=lambda: gain_histograms(
                weight_vectors(agent.network, agent.learner.optimizer)
            ),
            instruments=self._instruments.pop_reading,
            curvature=self._curvature.pop_reading,
        )

    def _evaluate(self, agent_steps: int, should_stop: Callable[[], bool]) -> None:
        evaluated = evaluate_agent(self.config, self._agent, agent_steps, should_stop)
        if evaluated.episodes:
            self.recorder.evaluation(evaluated)

    def _check_finite(self) -> None:
        check_metrics(self.recorder.metrics)
        check_weights(self._agent.learner)

    def _save(self, agent_steps: int, last: bool) -> None:
        self._check_finite()  # a checkpoint with NaN would replace a good one
        state = {name: part.state_dict() for name, part in self._parts.items()}
        recorded, agent = state["recorder"], self._agent
        with HEARTBEAT.paused():
            self._report_checkpoint(self._checkpoints.wait)
        try:
            with HEARTBEAT.paused():
                self._checkpoints.save(
                    agent_steps,
                    state,
                    agent.network.state_dict(),
                    agent.rows,
                    before=lambda: self.recorder.sync(recorded),
                    wait=last,
                )
        except CheckpointError as error:
            folder = self._folder.path
            remedy = "make room" if folder.exists() else "bring the folder back"
            raise CheckpointError(
                f"{error}; {remedy}, then finish with --resume {quoted(folder)}"
            ) from error

    def _report_checkpoint(self, look: Callable[[], None]) -> None:
        """Say it if an earlier checkpoint could not be written; the run goes on."""
        try:
            look()
        except CheckpointError as error:
            self.recorder.progress.say(f"wnrl: {error}; training continues until the next one")
