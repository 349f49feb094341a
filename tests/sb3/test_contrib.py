"""Algorithms of sb3-contrib with a normalization."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from sb3_models import CONTINUOUS, OFF_POLICY, SHORT, STEPS, env_of, same_weights

from wnrl.nn import WNLSTM, WNLinear
from wnrl.optim.weight_norm import WNAdam
from wnrl.sb3 import SB3NormCallback

sb3_contrib = pytest.importorskip("sb3_contrib")

from wnrl._settings import UsageError  # noqa: E402
from wnrl.sb3 import contrib  # noqa: E402  # both after the skip

POLICIES: dict[str, dict[str, Any]] = {
    "QRDQN": {
        "MlpPolicy": contrib.WNQRDQNMlpPolicy,
        "CnnPolicy": contrib.WNQRDQNCnnPolicy,
        "MultiInputPolicy": contrib.WNQRDQNMultiInputPolicy,
    },
    "RecurrentPPO": {
        "MlpPolicy": contrib.WNRecurrentMlpPolicy,
        "CnnPolicy": contrib.WNRecurrentCnnPolicy,
        "MultiInputPolicy": contrib.WNRecurrentMultiInputPolicy,
    },
    "TQC": {
        "MlpPolicy": contrib.WNTQCPolicy,
        "CnnPolicy": contrib.WNTQCCnnPolicy,
        "MultiInputPolicy": contrib.WNTQCMultiInputPolicy,
    },
    "CrossQ": {"MlpPolicy": contrib.WNCrossQPolicy},
}
EVERY = [
    pytest.param(algorithm, policy, marks=() if policy == "MlpPolicy" else (pytest.mark.slow,))
    for algorithm, kinds in POLICIES.items()
    for policy in kinds
]


def make(algorithm: str, policy: str, *, stock: bool = False, **options: Any) -> Any:
    name = policy.replace("Policy", "LstmPolicy") if algorithm == "RecurrentPPO" else policy
    kind = name if stock else POLICIES[algorithm][policy]
    settings = SHORT["PPO"] if algorithm == "RecurrentPPO" else OFF_POLICY
    if algorithm == "RecurrentPPO":
        options = {"lstm_hidden_size": 8, **options}
    if algorithm == "CrossQ":
        options = {"net_arch": [32, 32], **options}
    env = env_of(policy, continuous=algorithm in CONTINUOUS)
    return getattr(sb3_contrib, algorithm)(
        kind, env, seed=3, device="cpu", policy_kwargs=options, **settings
    )


@pytest.mark.parametrize(("algorithm", "policy"), EVERY)
def test_they_begin_as_the_stock_policy_and_are_saved_and_loaded(
    algorithm: str, policy: str, tmp_path: Path
) -> None:
    model = make(algorithm, policy)
    assert same_weights(model.policy, make(algorithm, policy, stock=True).policy)
    model.learn(STEPS)
    model.save(tmp_path / "model.zip")
    loaded = type(model).load(tmp_path / "model.zip", device="cpu")
    model.policy.save(tmp_path / "policy.pt")
    alone = type(model.policy).load(tmp_path / "policy.pt", device="cpu")
    copied = [copy.deepcopy(model.policy), pickle.loads(pickle.dumps(model.policy))]
    for other in (loaded.policy, alone, *copied):
        assert same_weights(other, model.policy)
    stock = make(algorithm, policy, stock=True)
    stock.set_parameters(model.get_parameters())
    model.set_parameters(stock.get_parameters())


@pytest.mark.parametrize("norm", ["weight-mean", "batch", "spectral", "nap"])
@pytest.mark.parametrize("algorithm", POLICIES)
def test_they_learn_with_every_kind_of_normalization(algorithm: str, norm: str) -> None:
    model = make(algorithm, "MlpPolicy", norm=norm).learn(STEPS)
    assert all(p.isfinite().all() for p in model.policy.parameters())


def test_an_lstm_is_weight_normalized_with_the_torso() -> None:
    model = make("RecurrentPPO", "MlpPolicy", n_lstm_layers=2).learn(STEPS)
    lstm = model.policy.lstm_actor
    assert isinstance(lstm, WNLSTM)
    states = model.policy.optimizer.state
    assert all("norm" in states[getattr(lstm, name)] for name in lstm.weight_names())
    assert len(lstm.weight_names()) == 4
    with pytest.raises(UsageError, match="has no LSTM"):
        make("RecurrentPPO", "MlpPolicy", norm="layer", norm_where="lstm_actor")


@pytest.mark.parametrize(
    "options", [{"enable_critic_lstm": False}, {"shared_lstm": True, "enable_critic_lstm": False}]
)
def test_a_critic_with_another_path_is_normalized_along_it(options: dict[str, Any]) -> None:
    policy = make("RecurrentPPO", "MlpPolicy", norm_where="value", **options).policy
    kinds = (WNLinear, WNLSTM)
    names = [name for name, layer in policy.named_modules() if isinstance(layer, kinds)]
    first = "lstm_actor" if "shared_lstm" in options else "critic"
    assert set(names) == {"mlp_extractor.value_net.0", "mlp_extractor.value_net.2", first}


def test_the_callback_reads_quantiles_and_refuses_lstms() -> None:
    model = make("QRDQN", "MlpPolicy")
    model.learn(STEPS, callback=SB3NormCallback(every_updates=1), log_interval=None)
    assert model.logger.name_to_value["norm/angle/quantile_net.0"] > 0
    assert isinstance(model.logger.name_to_value["norm/policy_churn"], float)
    with pytest.raises(UsageError, match="A2C without an LSTM"):
        make("RecurrentPPO", "MlpPolicy").learn(STEPS, callback=SB3NormCallback())


def test_quantiles_stand_as_sb3_contrib_has_them() -> None:
    from wnrl.sb3.callback import network_view

    policy = make("QRDQN", "MlpPolicy").policy
    seen = torch.linspace(-1, 1, 12).reshape(3, 4)
    view, _ = network_view(policy)
    torch.testing.assert_close(view(seen), policy.quantile_net(seen).mean(dim=1))


@pytest.mark.parametrize("algorithm", ["TQC", "CrossQ"])
def test_none_learns_what_the_stock_policy_learns(algorithm: str) -> None:
    plain = make(algorithm, "MlpPolicy", norm="none").learn(STEPS)
    stock = make(algorithm, "MlpPolicy", stock=True).learn(STEPS)
    assert same_weights(plain.policy, stock.policy)


@pytest.mark.parametrize("algorithm", ["TQC", "CrossQ"])
def test_both_networks_are_stepped_with_the_settings_that_the_algorithm_gives(
    algorithm: str,
) -> None:
    policy = make(algorithm, "MlpPolicy").learn(STEPS).policy
    for network in (policy.actor, policy.critic):
        assert isinstance(network.optimizer, WNAdam)
        betas = (0.5 if algorithm == "CrossQ" else 0.9, 0.999)
        assert {group["betas"] for group in network.optimizer.param_groups} == {betas}
        normalized = [m for m in network.modules() if isinstance(m, WNLinear)]
        assert normalized
        assert all("norm" in network.optimizer.state[layer.weight] for layer in normalized)


def test_crossq_keeps_its_batch_renormalization_unless_it_is_switched_off() -> None:
    from sb3_contrib.common.torch_layers import BatchRenorm1d

    kept = make("CrossQ", "MlpPolicy", norm="layer").policy
    alone = make("CrossQ", "MlpPolicy", norm="layer", batch_norm=False).learn(STEPS).policy
    for policy, renorms in ((kept, 3 + 2 * 3), (alone, 0)):
        kinds = [type(layer) for layer in policy.modules()]
        assert kinds.count(BatchRenorm1d) == renorms
        assert kinds.count(torch.nn.LayerNorm) == 2 + 2 * 2
