"""From a configuration to what is built: every choice reaches the part that it is about."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from wnrl._settings import SettingError, UsageError
from wnrl.agents.catalogue import AGENTS
from wnrl.agents.dqn import DQN
from wnrl.config import make_config
from wnrl.envs.protocols import protocol_named
from wnrl.instruments.weight_rows import weight_vectors
from wnrl.nn.networks.heads import DuelingHead
from wnrl.nn.networks.nature import NatureTorso
from wnrl.nn.networks.q_network import assemble_q_network
from wnrl.nn.networks.spec import NetworkSpec
from wnrl.nn.norms.catalogue import NORMS
from wnrl.nn.norms.layers.running_norm import RunningNorm
from wnrl.nn.norms.transition_values import joint_batch, separate_batches
from wnrl.nn.weight_norm.layers import WNLinear
from wnrl.optim.step import ClippedStep
from wnrl.optim.weight_norm import WNAdam, WNAdamax, WNRMSprop
from wnrl.rl import losses
from wnrl.rl.value_losses import ErrorLoss
from wnrl.train.build import (
    build_agent,
    build_env,
    build_network,
    check_graphs,
    check_norm,
    evaluation_env,
    random_play,
    resolve,
)
from wnrl.train.memory_budget import RESERVE_BYTES, _update_bytes, fit_memory


def built(env: str = "toy/Catch", **settings: object) -> DQN:
    config = make_config({"env": env, "buffer_size": 1_000, **settings})
    environment = build_env(resolve(config))
    try:
        network, _ = build_network(resolve(config), environment)
        agent = build_agent(resolve(config), environment, network, torch.device("cpu"))
    finally:
        environment.close()
    assert isinstance(agent, DQN)
    return agent


def test_double_and_the_loss_are_the_ones_asked_for() -> None:
    assert built(double=True)._settings.double
    assert built(loss="huber")._loss == ErrorLoss(losses.huber)
    assert built(loss="mse")._loss == ErrorLoss(losses.squared)


def test_n_step_and_the_size_reach_the_replay() -> None:
    agent = built(n_step=5, buffer_size=800, num_envs=2)
    assert (agent.replay.n_step, agent.replay.capacity_rows, agent.replay.num_envs) == (5, 400, 2)


def test_dueling_chooses_the_head() -> None:
    assert isinstance(built(dueling=True).network.head, DuelingHead)
    assert isinstance(built(dueling=False).network.head, torch.nn.Linear)


def test_hidden_is_the_width_of_both_layers() -> None:
    shapes = [tuple(p.shape) for p in built(hidden=7).network.parameters() if p.ndim == 2]
    assert shapes == [(7, 50), (7, 7), (3, 7)]


@pytest.mark.parametrize(
    ("name", "normalizing", "plain"),
    [
        ("adam", WNAdam, torch.optim.Adam),
        ("adamax", WNAdamax, torch.optim.Adamax),
    ],
)
def test_the_optimizer_has_the_numbers_asked_for(name: str, normalizing: type, plain: type) -> None:
    numbers = {"learning_rate": 0.5, "beta1": 0.25, "optimizer_eps": 0.125, "max_grad_norm": 3.0}
    ours = built(norm="weight", optimizer=name, **numbers).learner.optimizer
    theirs = built(norm="none", optimizer=name, **numbers).learner.optimizer
    assert isinstance(ours, normalizing)
    assert isinstance(theirs, ClippedStep)
    assert isinstance(theirs.optimizer, plain)
    for optimizer in (ours, theirs):
        assert optimizer.max_norm == 3.0
        for group in optimizer.param_groups:
            assert (group["lr"], group["betas"], group["eps"]) == (0.5, (0.25, 0.999), 0.125)


def test_rmsprop_is_natures_centred_one() -> None:
    for norm in ("weight", "none"):
        optimizer = built(norm=norm, optimizer="rmsprop", optimizer_eps=0.125).learner.optimizer
        assert isinstance(optimizer, WNRMSprop)
        assert optimizer.rule.moments == ("square_avg", "grad_avg")
        assert {group["alpha"] for group in optimizer.param_groups} == {0.95}
        assert {group["eps"] for group in optimizer.param_groups} == {0.125}


def test_a_max_grad_norm_of_zero_clips_nothing() -> None:
    optimizer = built(max_grad_norm=0.0).learner.optimizer
    assert isinstance(optimizer, WNAdam)
    assert optimizer.max_norm == math.inf


@pytest.mark.parametrize("norm", ["weight", "weight-mean"])
@pytest.mark.parametrize("storage", ["w", "gv"])
def test_every_norm_with_weight_vectors_has_them_in_the_storage_asked_for(
    norm: str, storage: str
) -> None:
    network = built(norm=norm, weight_storage=storage).network
    stored = [layer.storage for layer in network.modules() if isinstance(layer, WNLinear)]
    assert stored == [storage] * 2


def learn_once(agent: DQN) -> None:
    rng = np.random.default_rng(0)
    n = agent.replay.num_envs
    for row in range(12):
        agent.replay.add(
            rng.random((n, 50), np.float32),
            rng.integers(3, size=n),
            rng.random(n, np.float32),
            np.full(n, 0.9, np.float32),
            np.full(n, row == 0),
            np.ones(n, np.bool_),
        )
    agent._learn(1)


@pytest.mark.parametrize("storage", ["w", "gv"])
@pytest.mark.parametrize(("v_norm", "length"), [("unit", 1.0), ("paper", 0.05 * 50**0.5)])
def test_v_norm_reaches_the_layers(storage: str, v_norm: str, length: float) -> None:
    agent = built(norm="weight", weight_storage=storage, v_norm=v_norm, learning_rate=1e-9)
    learn_once(agent)
    _, norm = weight_vectors(agent.network, agent.learner.optimizer)["torso.layers.hidden1"]
    torch.testing.assert_close(norm, torch.full_like(norm, length))


def test_a_norms_hook_is_called_after_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    stepped = []
    hooked = dataclasses.replace(NORMS["none"], after_step=stepped.append)
    monkeypatch.setitem(NORMS, "none", hooked)
    agent = built(norm="none")
    learn_once(agent)
    assert stepped == [agent.network]


@pytest.mark.parametrize("norm", NORMS)
def test_the_target_is_apart_from_the_online_network_until_it_is_copied_buffers_and_all(
    norm: str,
) -> None:
    agent = built(norm=norm, double=True, target_period_steps=10)
    target = {name: value.clone() for name, value in agent._target.network.state_dict().items()}
    learn_once(agent)
    assert not agent._target.network.training
    assert all(
        torch.equal(target[n], value) for n, value in agent._target.network.state_dict().items()
    )
    changed = [n for n, v in agent.network.state_dict().items() if not torch.equal(v, target[n])]
    assert changed
    constants = ("radius", "noise_key", "weight_start", "bias_start")
    statistics = [n for n, _ in agent.network.named_buffers() if not n.endswith(constants)]
    assert set(statistics) <= set(changed)
    agent._agent_steps = 10
    agent.learner.updates = 10  # none is due: the copy alone
    agent.update()
    copied = agent._target.network.state_dict()
    assert all(torch.equal(copied[n], value) for n, value in agent.network.state_dict().items())


@pytest.mark.parametrize("norm", NORMS)
def test_an_agent_that_acts_changes_no_weight_and_no_buffer(norm: str) -> None:
    agent = built(norm=norm, warmup_steps=0, epsilon_start=0.0, epsilon_end=0.0)
    learn_once(agent)  # and stays in training mode
    before = {name: value.clone() for name, value in agent.network.state_dict().items()}
    obs = np.random.default_rng(1).random((4, 50), np.float32)
    first = np.zeros(4, np.bool_)
    actions = agent.act(obs, first)
    assert all(torch.equal(before[n], value) for n, value in agent.network.state_dict().items())
    policy = agent.policy(0.0, np.random.default_rng(0))
    one_by_one = [policy.act(obs[n : n + 1], first[:1]).item() for n in range(4)]
    assert actions.tolist() == one_by_one


def test_the_values_and_the_place_are_the_ones_asked_for() -> None:
    assert built(norm="batch")._values is separate_batches
    statistics: dict[str, Any] = {"norm.statistics": "joint"}
    joint = built(norm="batch", **statistics)
    assert joint._values is joint_batch
    learn_once(joint)
    placed = built(norm="spectral", norm_where="penultimate,head").network
    kinds = [type(m).__name__ for m in placed.modules() if isinstance(m, torch.nn.Linear)]
    assert kinds == ["Linear", "SpectralLinear", "SpectralLinear"]


def test_observations_are_normalized_where_that_is_asked_for() -> None:
    mixed: dict[str, Any] = {"norm.statistics": "mixed"}
    agent = built(norm="batch", norm_input="running", **mixed)
    statistics = agent.network.get_submodule("torso.input_norm.norm")
    assert isinstance(statistics, RunningNorm)
    learn_once(agent)
    assert statistics.count.item() == agent._settings.batch_size
    parts = resolve(make_config(env="toy/Catch", norm="none", norm_input="batch", batch_size=1))
    with pytest.raises(SettingError, match="norm_input batch needs batches of at least 2"):
        check_norm(parts, build_env(parts))
    target: dict[str, Any] = {"norm.statistics": "target"}
    parts = resolve(make_config(target, env="toy/Catch", agent="pqn", norm="batch"))
    with pytest.raises(SettingError, match="target needs both ends of a transition at once"):
        check_norm(parts, build_env(parts))


def test_activations_are_normalized_on_the_side_of_the_nonlinearity_that_is_asked_for() -> None:
    for after, kinds in (
        ("layer", ["Linear", "BatchNorm1d", "ReLU"]),
        ("activation", ["Linear", "ReLU", "BatchNorm1d"]),
    ):
        layers = built(norm="batch", norm_after=after).network.get_submodule("torso.layers")
        assert [type(layer).__name__ for layer in layers.children()][1:4] == kinds
    impala = NetworkSpec(
        (4, 16, 16), "uint8", 2, norm=dataclasses.replace(NORMS["batch"], after="activation"),
        torso="impala",
    )  # fmt: skip
    with pytest.raises(SettingError, match="activation cannot be at 'conv', which is followed by"):
        assemble_q_network(impala)
    assert assemble_q_network(dataclasses.replace(impala, where="fc"))


@pytest.mark.parametrize("env", ["toy/Catch", "Breakout"])
@pytest.mark.parametrize("norm", NORMS)
def test_a_check_of_the_norm_assembles_from_shapes_alone(
    norm: str, env: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.nn.Module] = []

    def seeing(spec: NetworkSpec) -> torch.nn.Module:
        seen.append(assemble_q_network(spec))
        return seen[-1]

    record = dataclasses.replace(AGENTS["dqn"], assemble=seeing)
    monkeypatch.setattr("wnrl.train.build.AGENTS", {"dqn": record})
    for storage in ("w", "gv"):
        config = make_config(env=env, norm=norm, num_envs=1, weight_storage=storage, dueling=True)
        environment, before = build_env(resolve(config)), torch.get_rng_state()
        check_norm(resolve(config), environment)
        environment.close()
        assert torch.equal(before, torch.get_rng_state())
    assert len(seen) == 2
    tensors = [t for network in seen for t in (*network.parameters(), *network.buffers())]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_a_norm_of_ones_own_that_needs_numbers_is_left_for_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def counting(features_in: int, features_out: int) -> torch.nn.Module:
        layer = torch.nn.Linear(features_in, features_out)
        assert layer.weight.sum().item() < 1e9
        return layer

    monkeypatch.setitem(NORMS, "none", dataclasses.replace(NORMS["none"], linear=counting))
    config = make_config(env="toy/Catch", norm="none")
    check_norm(resolve(config), build_env(resolve(config)))
    with pytest.raises(UsageError, match="has no such part or layer"):
        check_norm(
            resolve(make_config(env="toy/Catch", norm="none", norm_where="x")),
            build_env(resolve(config)),
        )


def test_a_schedule_of_its_own_without_an_update_is_refused() -> None:
    env = build_env(resolve(make_config(env="CartPole-v1")))
    for short in (
        {"steps": 500},
        {"schedule_steps": 499},
        {"steps": 503, "update_period_steps": 4},
    ):
        with pytest.raises(
            UsageError, match=r"leaves norm nap, which follows .* no update after warmup_steps 500"
        ):
            check_norm(resolve(make_config(short, env="CartPole-v1", norm="nap")), env)
        check_norm(resolve(make_config(short, env="CartPole-v1", norm="layer")), env)
    for enough in ({"steps": 501}, {"steps": 500, "schedule_steps": 900}, {}):
        check_norm(resolve(make_config(enough, env="CartPole-v1", norm="nap")), env)


def test_a_norms_schedule_ends_with_the_runs() -> None:
    settings: dict[str, Any] = {"steps": 1_000, "schedule_steps": 1_200, "warmup_steps": 200}
    assert make_config(settings, update_period_steps=4).agent.updates(1_200) == 250
    assert make_config(settings, warmup_steps=2_000).agent.updates(1_200) == 0
    agent = built(norm="nap", learning_rate=0.5, **settings, **{"norm.final_rate": 0.0})
    assert agent.scalars()["train/learning_rate"] == 0.5
    learn_once(agent)
    agent._learn(1)
    rate = agent.scalars()["train/learning_rate"]
    assert rate == pytest.approx(0.5 * (1 - 1 / 1_000))  # an update per step in a toy


def test_epsilon_falls_over_a_tenth_of_the_schedule_or_as_asked() -> None:
    agent = built(
        warmup_steps=0, epsilon_steps=0, epsilon_end=0.2, steps=1_000, schedule_steps=2_000
    )
    assert [agent._epsilon(step) for step in (0, 100, 200, 400)] == pytest.approx(
        [1.0, 0.6, 0.2, 0.2]
    )
    agent = built(warmup_steps=0, epsilon_steps=10, epsilon_end=0.5, epsilon_start=0.7)
    assert [agent._epsilon(step) for step in (0, 5, 10)] == pytest.approx([0.7, 0.6, 0.5])


@pytest.mark.parametrize(
    ("preset", "norm", "kind", "group"),
    [
        ("nature", "weight", WNRMSprop, {"lr": 2.5e-4, "alpha": 0.95, "eps": 0.1 / 32}),
        ("paper", "weight", WNAdamax, {"lr": 3e-4, "betas": (0.5, 0.999), "eps": 1e-8}),
        ("fast", "weight", WNAdam, {"lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8}),
    ],
)
def test_a_preset_is_built_as_published(
    preset: str, norm: str, kind: type, group: dict[str, object]
) -> None:
    agent = built("Breakout", preset=preset, norm=norm, num_envs=1, init_observations=16)
    assert isinstance(agent.network.torso, NatureTorso)
    assert isinstance(agent.learner.optimizer, kind)
    for built_group in agent.learner.optimizer.param_groups:
        assert {name: built_group[name] for name in group} == group


def test_the_paper_preset_begins_as_the_paper_and_its_baseline_as_deep_q_rl() -> None:
    plain = built(preset="paper", norm="none").network.torso.layers.hidden1
    bound = (3 / plain.in_features) ** 0.5
    assert 0.95 * bound < float(plain.weight.detach().abs().max()) <= bound
    assert bool((plain.bias == 0.1).all())
    agent = built(preset="paper", norm="weight")
    layer = agent.network.torso.layers.hidden1
    seen = random_play(resolve(make_config(env="toy/Catch", preset="paper")))
    with torch.no_grad():
        z = layer(agent.network.torso.layers[0](torch.from_numpy(seen)))
    torch.testing.assert_close(z.mean(0), torch.zeros(z.shape[1]), rtol=0, atol=1e-4)
    varied = z.std(0, correction=0)
    torch.testing.assert_close(varied, torch.ones_like(varied), rtol=0, atol=1e-3)
    layer.weight.grad = torch.zeros_like(layer.weight)
    agent.learner.optimizer.step()
    norms = agent.learner.optimizer.state[layer.weight]["norm"]
    assert torch.allclose(norms, torch.full_like(norms, 0.05 * layer.in_features**0.5))


@pytest.mark.parametrize(
    ("env", "protocol", "epsilon"),
    [("Pong", "classic", 0.05), ("Pong", "sticky", 0.001), ("CartPole-v1", "classic", 0.0)],
)
def test_evaluation_is_as_random_as_the_protocol_says(
    env: str, protocol: str, epsilon: float
) -> None:
    assert resolve(make_config(env=env, protocol=protocol)).evaluation_epsilon == epsilon


@pytest.mark.parametrize("agent", ["a2c", "ppo", "pqn"])
def test_other_agents_add_no_random_actions_and_the_protocol_says_so(agent: str) -> None:
    config = make_config(env="Pong", agent=agent)
    assert resolve(config).evaluation_epsilon == 0.0
    assert resolve(config).protocol.description.split(", ")[-1] == "evaluated at epsilon 0"


def test_the_protocol_of_a_run_has_the_stack_that_it_plays_with() -> None:
    assert resolve(make_config(env="Pong")).protocol == protocol_named("classic")
    recurrent = resolve(make_config(env="Pong", recurrent=True)).protocol
    assert recurrent.stack == 1
    assert recurrent.description.endswith(", 1 frame in an observation")
    assert resolve(make_config(env="Pong", stack=2)).protocol.stack == 2
    assert resolve(make_config(env="Pong", recurrent=True, stack=4)).protocol.stack == 4


def test_evaluation_plays_elsewhere_than_training() -> None:
    config = make_config(env="CartPole-v1")
    training, evaluation = (
        build_env(resolve(config)),
        evaluation_env(resolve(config), 3, "evaluation", 0),
    )
    again, later = (evaluation_env(resolve(config), 3, "evaluation", step) for step in (0, 100))
    for env in (training, evaluation, again, later):
        env.reset()
    assert evaluation.num_envs == 3
    assert np.array_equal(evaluation.obs, again.obs)
    assert not np.array_equal(evaluation.obs, later.obs)
    assert not np.array_equal(evaluation.obs, training.obs[:3])


def test_a_default_buffer_shrinks_and_one_that_was_asked_for_does_not() -> None:
    available = 600 * 1024**2
    default = make_config(env="CartPole-v1")
    env = build_env(resolve(default))
    huge = {"env": "CartPole-v1", "buffer_size": 10**9}
    with pytest.raises(UsageError, match="buffer_size 1_000_000_000 needs"):
        fit_memory(make_config(huge), env, available, fixed=False)
    nobody_asked = dataclasses.replace(make_config(huge), explicit=())
    shrunk, note = fit_memory(nobody_asked, env, available, fixed=False)
    assert note is not None
    assert 1_000_000 < shrunk.agent.buffer_size < 10**9
    with pytest.raises(UsageError, match="needs"):
        fit_memory(nobody_asked, env, available, fixed=True)
    assert fit_memory(default, env, available, fixed=False) == (default, None)


def test_a_replay_of_sequences_may_shrink_below_the_rows_of_an_update() -> None:
    config = make_config(env="toy/Catch", recurrent=True, sequence_steps=100)
    env = build_env(resolve(config))
    storage = config.agent.storage(env.num_envs, env.observation)
    available = RESERVE_BYTES + _update_bytes(config, env) + storage.bytes_of(1_000)
    shrunk, note = fit_memory(config, env, available, fixed=False)
    env.close()
    assert note is not None
    assert 1_000 <= shrunk.agent.buffer_size < config.agent.learning_batch


def test_a_rollout_and_what_is_learnt_at_once_must_fit() -> None:
    env = build_env(resolve(make_config(env="Breakout", num_envs=1)))
    available = 8 * 1024**3
    for fits in ({}, {"rollout_steps": 1_024, "minibatches": 32}):
        config = make_config(fits, env="Breakout", agent="ppo", num_envs=1)
        assert fit_memory(config, env, available, fixed=False) == (config, None)
    for too_much in (
        {"rollout_steps": 1_000_000, "minibatches": 1_000},
        {"rollout_steps": 32_000, "minibatches": 1},
        {"rollout_steps": 4_096, "minibatches": 1, "network": "impala"},
    ):
        config = make_config(too_much, env="Breakout", agent="ppo", num_envs=1)
        with pytest.raises(UsageError, match=r"rollout_steps .* are free; lower one of them"):
            fit_memory(config, env, available, fixed=False)
    env.close()


def test_graphs_need_a_gpu_and_a_network_without_recurrence() -> None:
    def checked(device: str, **changes: Any) -> None:
        config = make_config(env="CartPole-v1", agent="ppo", **changes)
        check_graphs(resolve(config), torch.device(device))

    with pytest.raises(SettingError, match="graphs needs a GPU, and the device is cpu"):
        checked("cpu", graphs=True)
    with pytest.raises(SettingError, match="graphs cannot capture a recurrent network"):
        checked("cuda", graphs=True, recurrent=True)
    checked("cuda", graphs=True)
    checked("cpu")
