"""Recurrent DQN: its targets step by step, its states, and that it remembers."""

import dataclasses
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from agent_runs import AFTER, BLIND
from torch import Tensor

from wnrl.agents.base import ValuePolicy
from wnrl.agents.dqn import DQN
from wnrl.agents.learner import Learner
from wnrl.agents.recurrent_dqn import RecurrentDQN, sequence_losses
from wnrl.agents.settings.dqn import CONTROL, DQNConfig
from wnrl.envs.make import make_env
from wnrl.envs.seeding import numpy_generator, torch_generator
from wnrl.envs.toy import Corridor
from wnrl.envs.vector import EpisodeStatistics, VectorEnv
from wnrl.nn.networks.q_network import QNetwork, build_q_network
from wnrl.nn.networks.recurrent import RecurrentQNetwork
from wnrl.nn.networks.spec import NetworkSpec
from wnrl.nn.norms.catalogue import NORMS, get_norm
from wnrl.nn.norms.transition_values import separate_batches
from wnrl.optim.step import OptimizerSpec
from wnrl.rl import losses
from wnrl.rl.replay import Replay
from wnrl.rl.row_store import RowStore
from wnrl.rl.schedules import linear
from wnrl.rl.sequence_replay import SequenceReplay
from wnrl.rl.sequences import Sequences, SequenceShape
from wnrl.rl.value_losses import ErrorLoss
from wnrl.train.loop import run

CPU = torch.device("cpu")
HUBER = ErrorLoss(losses.huber)
# A whole stretch of rows at once and row by row add up in another order.
ROUNDING = {"rtol": 1e-5, "atol": 1e-6}


def config_of(**changes: Any) -> DQNConfig:
    return DQNConfig(**{**CONTROL, "recurrent": True, **changes})


def build(
    env: VectorEnv, config: DQNConfig, norm_name: str = "none", seed: int = 1
) -> RecurrentDQN | DQN:
    norm = get_norm(norm_name).in_storage("w")
    spec = env.observation
    network = build_q_network(
        NetworkSpec(
            spec.shape,
            spec.dtype,
            env.num_actions,
            norm=norm,
            hidden=(config.hidden,) * 2,
            lstm_units=config.lstm_units if config.recurrent else 0,
        ),
        torch_generator(seed, "network"),
    )
    optimizer = norm.optimizer(
        network, OptimizerSpec(learning_rate=config.learning_rate, max_grad_norm=10.0)
    )
    stored: dict[str, Any] = {
        "capacity": config.buffer_size,
        "num_envs": env.num_envs,
        "frame_shape": spec.frame_shape,
        "frame_dtype": spec.dtype,
        "stack": spec.stack,
        "n_step": config.n_step,
        "generator": numpy_generator(seed, "replay"),
    }
    learner = Learner(network, optimizer, norm.after_step)
    parts: dict[str, Any] = {
        "num_actions": env.num_actions,
        "epsilon": lambda step: linear(step, 1.0, config.epsilon_end, config.epsilon_steps),
        "generator": numpy_generator(seed, "exploration"),
    }
    if isinstance(network, QNetwork):
        settings = dataclasses.replace(config, double=True)
        return DQN(learner, Replay(**stored), settings, values=separate_batches, **parts)
    replay = SequenceReplay(
        **stored,
        shape=SequenceShape(
            config.burn_in_steps,
            config.sequence_steps,
            config.state_period_steps,
            config.lstm_units,
        ),
    )
    return RecurrentDQN(learner, replay, config, **parts)


def play(
    env: VectorEnv, learner: RecurrentDQN | DQN, steps: int, done_steps: int = 0
) -> tuple[list[float], int]:
    """Until that many agent steps are done; the returns, and how many really are."""
    returns: list[float] = []
    for tick in run(env, learner, EpisodeStatistics(env.num_envs), done_steps, steps):
        returns += [episode.raw_return for episode in tick.episodes]
        done_steps = tick.agent_steps
    return returns, done_steps


def walked(
    norm: str, seed: int, steps: int, **changes: Any
) -> tuple[RecurrentDQN | DQN, list[float]]:
    """An agent after so many agent steps of toy/Memory, and the returns of its episodes."""
    config = config_of(**changes)
    env = make_env("toy/Memory", config.num_envs, seed)
    learner = build(env, config, norm, seed)
    env.reset()
    return learner, play(env, learner, steps)[0]


def in_corridor(**changes: Any) -> tuple[RecurrentDQN, VectorEnv]:
    """One that has played the corridor, whose episodes end in every way, and learnt nothing."""
    config = config_of(num_envs=3, warmup_steps=10_000, lstm_units=6, hidden=8, **changes)
    env = Corridor(3, seed=0)
    learner = build(env, config)
    assert isinstance(learner, RecurrentDQN)
    env.reset()
    play(env, learner, 300)
    return learner, env


def other_network(learner: RecurrentDQN) -> RecurrentQNetwork:
    """A target network that differs."""
    other = build(Corridor(3, seed=0), learner._settings, seed=2).network
    assert isinstance(other, RecurrentQNetwork)
    return other.requires_grad_(False)


@torch.no_grad()
def row_by_row(network: RecurrentQNetwork, batch: Sequences, b: int) -> list[Tensor]:
    """The action values (A,) of each row of a sequence: the definition, one step at a time."""
    h, c = (part[:, b : b + 1] for part in batch.state)
    values = []
    for obs, first in zip(batch.obs[:, b], batch.first[:, b], strict=True):
        if first:
            h, c = torch.zeros_like(h), torch.zeros_like(c)
        hidden, (h, c) = network.lstm(network.torso(obs[None])[None], (h, c))
        values.append(network.head(hidden)[0, 0])
    return values


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize(("burn_in", "n_step"), [(0, 1), (3, 1), (3, 4)])
def test_td_errors_are_those_of_single_rows_seen_in_order(
    double: bool, burn_in: int, n_step: int
) -> None:
    learner, _ = in_corridor(burn_in_steps=burn_in, n_step=n_step)
    online, target = learner.network, other_network(learner)
    batch = learner.replay.sample(40)
    td = sequence_losses(online, target, batch, burn_in, HUBER, double=double).td
    assert td.shape == (8, 40)
    for b in range(40):
        ours, theirs = row_by_row(online, batch, b), row_by_row(target, batch, b)
        for t in torch.nonzero(batch.learnt[:, b]).flatten().tolist():
            at = burn_in + int(batch.bootstrap[t, b])
            best = theirs[at][ours[at].argmax()] if double else theirs[at].max()
            value = ours[burn_in + t][batch.action[t, b]]
            expected = batch.reward[t, b] + batch.discount[t, b] * best - value
            torch.testing.assert_close(td[t, b], expected, **ROUNDING)
    assert not batch.learnt.all()  # borders were among them


def gradients(learner: RecurrentDQN, target: RecurrentQNetwork, batch: Sequences) -> list[Tensor]:
    learner.network.zero_grad()
    loss = sequence_losses(learner.network, target, batch, 3, HUBER, double=True).loss
    losses.masked_mean(loss, batch.learnt).backward()
    return [parameter.grad.clone() for parameter in learner.network.parameters()]


def test_what_is_not_learnt_from_does_not_matter() -> None:
    learner, _ = in_corridor(burn_in_steps=3, n_step=2)
    target = other_network(learner)
    batch = learner.replay.sample(30)
    plain = gradients(learner, target, batch)
    spoilt = batch._replace(
        reward=torch.where(batch.learnt, batch.reward, 100.0), obs=batch.obs.clone()
    )
    rows = torch.arange(len(batch.obs))[:, None]  # (T, 1)
    last = torch.where(batch.learnt, batch.bootstrap, 0).amax(dim=0) + 3  # (B,)
    spoilt.obs[rows > last] = 77
    assert (spoilt.obs != batch.obs).any()
    for ours, theirs in zip(gradients(learner, target, spoilt), plain, strict=True):
        torch.testing.assert_close(ours, theirs, **ROUNDING)


def test_no_gradient_comes_from_the_burn_in_though_its_rows_matter() -> None:
    env = make_env("toy/Memory", 4, 1)
    config = config_of(burn_in_steps=3, warmup_steps=10_000)
    learner = build(env, config)
    assert isinstance(learner, RecurrentDQN)
    env.reset()
    play(env, learner, 300)
    batch = learner.replay.sample(30)
    obs = batch.obs.clone().requires_grad_()
    loss, td, _ = sequence_losses(
        learner.network, learner.network, batch._replace(obs=obs), 3, HUBER, double=False
    )
    loss.sum().backward()
    assert not obs.grad[:3].any()
    assert obs.grad[3:].any()
    changed = batch._replace(obs=torch.cat([batch.obs[:3] + 1, batch.obs[3:]]))
    other = sequence_losses(learner.network, learner.network, changed, 3, HUBER, double=False).td
    begun_before = ~batch.first[:4].any(
        dim=0
    )  # within it, the state does not come from the burn-in
    assert not torch.isclose(other, td)[:, begun_before].all()


def test_after_an_end_an_environment_acts_from_an_empty_state_and_the_others_do_not() -> None:
    learner, env = in_corridor()
    kept: list[tuple[np.ndarray, Tensor, Tensor]] = []
    add = learner.replay.add
    learner.replay.add = lambda *row: (kept.append((row[4], *row[6])), add(*row))
    seen = 0
    for _ in range(40):
        obs, first = env.obs.copy(), env.first
        learner.act(obs, first)
        after = learner._memory.state
        env.send(np.zeros(3, np.int64))
        learner.observe(env.recv())
        _, h, c = kept[-1]
        for part in (h, c):
            assert (part[0] == 0).all(dim=1).tolist() == first.tolist()
        _, alone = learner.network.unroll(
            torch.from_numpy(obs)[None], torch.ones(1, 3, dtype=torch.bool), (h, c)
        )
        for part, began in zip(after, alone, strict=True):
            same = torch.isclose(part, began, **ROUNDING)[0].all(dim=1)
            assert same.tolist() == first.tolist()
        seen += int(first.sum())
    assert seen > 10
    assert not all(first.all() for first, *_ in kept)


def test_acting_sees_what_a_whole_episode_at_once_shows() -> None:
    learner, env = in_corridor()
    policy = learner.policy(0.0, np.random.default_rng(0))
    env.reset()
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for _ in range(30):
        obs, first = env.obs.copy(), env.first
        policy.act(obs, first)
        values = [policy.values(obs, np.full(3, action)) for action in range(3)]
        rows.append((obs, first, np.stack(values, axis=1)))
        env.send(np.zeros(3, np.int64))
        env.recv()
    obs, first, values = (torch.from_numpy(np.stack(x)) for x in zip(*rows, strict=True))
    whole, _ = learner.network.unroll(obs, first, learner.network.initial_state(3))
    torch.testing.assert_close(values, whole.detach(), **ROUNDING)


def test_a_policy_is_frozen_begins_anew_and_takes_any_number_of_environments() -> None:
    learner, _ = in_corridor()
    policy = learner.policy(0.0, np.random.default_rng(0))
    assert isinstance(policy, ValuePolicy)
    env = Corridor(7, seed=3)
    env.reset()
    everywhere = np.ones(7, np.bool_)
    before = policy.values(env.obs, policy.act(env.obs, everywhere))
    state = [part.clone() for part in learner._memory.state]
    with torch.no_grad():
        for parameter in learner.network.parameters():
            parameter.add_(0.1)
    after = policy.values(env.obs, policy.act(env.obs, everywhere))
    assert np.array_equal(before, after)
    policy.act(env.obs, ~everywhere)
    assert all(map(torch.equal, learner._memory.state, state))


def test_epsilon_is_the_share_of_random_actions() -> None:
    learner, _ = in_corridor()
    with torch.no_grad():
        learner.network.head.bias.copy_(torch.tensor([0.0, 100.0, 0.0]))
    obs = np.repeat(Corridor(1, 0)._obs, 4_000, axis=0)
    for epsilon, share in ((0.0, 1.0), (0.3, 0.8), (1.0, 1 / 3)):
        actions = learner.policy(epsilon, np.random.default_rng(1)).act(obs, np.ones(4_000, bool))
        assert np.mean(actions == 1) == pytest.approx(share, abs=0.03)


def test_updates_come_so_often_that_a_step_is_learnt_from_as_in_dqn() -> None:
    for changes in ({}, {"batch_size": 16, "sequence_steps": 5, "update_period_steps": 3}):
        recurrent, plain = config_of(**changes), config_of(recurrent=False, **changes)
        shares = [c.learning_batch / c.steps_per_update for c in (recurrent, plain)]
        assert shares[0] == shares[1]
    config = config_of(warmup_steps=6, update_period_steps=2, sequence_steps=3)
    assert [config.updates(n) for n in (5, 11, 12, 17, 18)] == [0, 0, 1, 1, 2]  # one in 2 * 3


def test_updates_and_copies_of_the_target_are_made_when_they_are_due() -> None:
    config = config_of(
        num_envs=2, warmup_steps=6, update_period_steps=2, sequence_steps=3, target_period_steps=15
    )
    env = make_env("toy/Memory", 2, 1)
    learner = build(env, config)
    env.reset()
    known, copies = 0, 0  # agent steps that an update knows of: not the newest
    target = {name: x.clone() for name, x in flat(learner.state_dict()["target"]).items()}
    for tick in run(env, learner, EpisodeStatistics(2), 0, 70):
        state = learner.state_dict()
        assert state["updates"] == config.updates(known)
        if known // 15 > copies:
            copies = known // 15
            target = {name: x.clone() for name, x in flat(state["network"]).items()}
        assert all(torch.equal(x, target[name]) for name, x in flat(state["target"]).items())
        known = tick.agent_steps
    assert copies == 4


# Seeds 1 to 8 pass: pytest tests/agents -k remembers -m "slow or not slow" --learning-seeds 8
@pytest.mark.usefixtures("short_memory")
@pytest.mark.parametrize("norm", ["weight", pytest.param("none", marks=pytest.mark.slow)])
def test_it_remembers(norm: str, learning_seed: int) -> None:
    changes = {"warmup_steps": 300, "epsilon_steps": 900, "target_period_steps": 250}
    _, returns = walked(norm, learning_seed, 1_500, **changes)
    assert abs(np.mean(returns[:50])) < 0.6
    assert np.mean(returns[-50:]) > AFTER


@pytest.mark.slow
@pytest.mark.usefixtures("short_memory")
def test_plain_dqn_does_not(learning_seed: int) -> None:
    changes = {"epsilon_steps": 1_500, "recurrent": False, "update_period_steps": 2}
    _, returns = walked("none", learning_seed, 2_500, **changes)
    assert abs(np.mean(returns[-200:])) < BLIND


@pytest.mark.parametrize("norm", NORMS)
def test_every_normalization_learns_from_sequences(norm: str) -> None:
    learner, _ = walked(norm, 1, 580, sequence_steps=4)
    assert learner.state_dict()["updates"] >= 18
    values = [x for x in learner.network.state_dict().values() if x.is_floating_point()]
    assert all(bool(x.isfinite().all()) for x in values)


def test_a_seed_repeats_exactly_and_another_does_not() -> None:
    def weights(seed: int) -> bytes:
        learner, _ = walked("weight", seed, 300, warmup_steps=100)
        assert learner.state_dict()["updates"] > 20
        return b"".join(x.numpy().tobytes() for x in learner.network.state_dict().values())

    first, again, other = map(weights, (1, 1, 2))
    assert first == again
    assert first != other


def carried(source: RowStore, destination: RowStore) -> None:
    file = io.BytesIO()
    with source.hold_rows(source.oldest_row, source.total_rows) as held:
        held.write(file)
    file.seek(0)
    destination.read_rows(file, source.oldest_row, source.total_rows)


def test_saved_loaded_and_continued_equals_never_stopped() -> None:
    config = config_of(
        warmup_steps=100,
        epsilon_steps=200,
        buffer_size=240,  # the ring wraps
        target_period_steps=150,
        burn_in_steps=1,  # so that the state of the first row after the loading matters
    )
    envs = [make_env("toy/Memory", 4, 3) for _ in range(3)]
    never_stopped, first, second = (build(env, config, "weight", 3) for env in envs)
    for env in envs[:2]:
        env.reset()
    play(envs[0], never_stopped, 600)
    _, done_steps = play(envs[1], first, 413)
    file = io.BytesIO()
    torch.save({"agent": first.state_dict(), "env": envs[1].state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert state["agent"]["memory"]["h"].any()  # within an episode
    second.load_state_dict(state["agent"])
    envs[2].load_state_dict(state["env"])
    carried(first.rows, second.rows)
    play(envs[2], second, 600, done_steps)
    one, other = (flat(learner.state_dict()) for learner in (never_stopped, second))
    assert one.keys() == other.keys()
    for name, value in one.items():
        same = torch.equal(value, other[name]) if isinstance(value, Tensor) else None
        assert value == other[name] if same is None else same, name
    ours, theirs = (learner.replay.sample(16) for learner in (never_stopped, second))
    assert all(map(torch.equal, ours[:7], theirs[:7]))
    assert all(map(torch.equal, ours.state, theirs.state))


def flat(state: Any, name: str = "") -> dict[str, Any]:
    """Every leaf of a nested state by its path."""
    if isinstance(state, dict):
        return {k: v for key, x in state.items() for k, v in flat(x, f"{name}/{key}").items()}
    if isinstance(state, list):
        return {k: v for i, x in enumerate(state) for k, v in flat(x, f"{name}/{i}").items()}
    return {name: state}


class Watch:
    """Counts what an observer is told."""

    def __init__(self, look: Callable[[Tensor, Tensor], None]) -> None:
        self.before_step = look
        self.steps = 0

    def after_step(self) -> None:
        self.steps += 1


def test_the_loss_and_the_observer_know_the_learnt_rows_alone() -> None:
    config = config_of(warmup_steps=100, sequence_steps=4)
    env = make_env("toy/Memory", 4, 1)
    learner = build(env, config)
    assert isinstance(learner, RecurrentDQN)
    drawn: list[Sequences] = []
    sample = learner.replay.sample
    learner.replay.sample = lambda size: drawn.append(sample(size)) or drawn[-1]
    expected: list[float] = []

    def look(obs: Tensor, learning_batch: Tensor) -> None:
        batch = drawn[-1]
        assert torch.equal(obs, batch.obs[4:8][batch.learnt])
        assert torch.equal(obs, learning_batch)
        assert len(obs) == batch.learnt.sum() < batch.learnt.numel()
        loss, *_ = sequence_losses(
            learner.network, learner._target.network, batch, 4, HUBER, double=True
        )
        expected.append(float(loss.detach()[batch.learnt].mean()))

    learner.learner.observer = watch = Watch(look)
    env.reset()
    seen = []
    for tick in run(env, learner, EpisodeStatistics(4), 0, 160):
        if tick.metrics is not None:
            seen.append(float(tick.metrics["train/loss"]))
    assert len(seen) == len(drawn) == watch.steps > 5
    assert seen == pytest.approx(expected, rel=1e-5)


def test_it_learns_from_single_frames_of_a_game() -> None:
    env = make_env("Pong", 2, 1, num_threads=1, stack=1)
    config = dataclasses.replace(
        DQNConfig(num_envs=2, recurrent=True, lstm_units=32, burn_in_steps=4, sequence_steps=8),
        batch_size=4,
        warmup_steps=40,
        update_period_steps=1,
        buffer_size=400,
    )
    learner = build(env, config, "weight")
    env.reset()
    play(env, learner, 70)
    assert learner.replay.total_rows == 35
    assert learner.state_dict()["updates"] == 3
    env.close()
