"""Where each value of a configuration comes from, and what a wrong one is told."""

import dataclasses
import json
import math

import pytest

from wnrl._settings import UsageError
from wnrl.agents.catalogue import AGENTS
from wnrl.config import NORM, Config, config_from_json, fields_of, make_config, replace
from wnrl.nn.norms.catalogue import NORMS, get_norm, register_norm


def test_defaults_are_the_atari_ones_of_sb3_zoo() -> None:
    agent = make_config().agent
    assert (agent.learning_rate, agent.batch_size, agent.buffer_size) == (1e-4, 32, 100_000)
    assert (agent.warmup_steps, agent.update_period_steps, agent.target_period_steps) == (
        100_000,
        4,
        1_000,
    )


def test_a_vector_environment_has_defaults_of_its_own() -> None:
    config = make_config(env="CartPole-v1")
    assert (config.agent.n_step, config.agent.double, config.agent.batch_size) == (3, True, 64)
    assert config.run.steps == 50_000


def test_a_flag_wins_over_a_preset_which_wins_over_the_default() -> None:
    fast = make_config(preset="fast")
    assert (fast.agent.warmup_steps, fast.agent.learning_rate) == (2_000, 1e-4)
    assert make_config(preset="fast", warmup_steps=3_000).agent.warmup_steps == 3_000


def test_a_normalization_may_bring_settings_that_a_flag_overrides() -> None:
    data = get_norm("weight").derived("weight-data", presets={"none": {"init": "data"}})
    register_norm(data)
    try:
        assert make_config(norm="weight-data").run.init == "data"
        assert make_config(norm="weight-data", init="default").run.init == "default"
        assert make_config(norm="weight-data", preset="fast").run.init == "default"
        assert make_config(norm="weight").run.init == "default"
    finally:
        del NORMS["weight-data"]


def test_a_keyword_wins_over_a_file() -> None:
    assert make_config({"steps": 7, "seed": 5}, steps=9).run.steps == 9
    assert make_config({"steps": 7, "seed": 5}, steps=9).run.seed == 5


@pytest.mark.parametrize(
    ("norm", "rate"), [("weight", 3e-4), ("weight-mean", 3e-4), ("none", 1e-4), ("batch", 1e-4)]
)
def test_the_paper_preset_has_the_papers_rate_for_each_arm(norm: str, rate: float) -> None:
    agent = make_config(preset="paper", norm=norm).agent
    assert (agent.optimizer, agent.beta1, agent.batch_size) == ("adamax", 0.5, 64)
    assert agent.learning_rate == rate
    assert agent.target_period_steps == 4 * 10_000  # agent steps of as many updates
    run = make_config(preset="paper", norm=norm).run
    ours = ("normal", "data", "paper") if rate == 3e-4 else ("he", "default", "weight")
    assert (run.init_weights, run.init, run.v_norm) == ours
    assert make_config(norm=norm).run.init_weights == "agent"


def test_every_preset_names_only_settings_that_exist() -> None:
    for name, entry in AGENTS.items():
        for preset, values in entry.presets.items():
            assert set(values) <= set(fields_of(name))
            for norm in NORMS.values():
                assert set(norm.presets.get(preset, {})) <= set(fields_of(name))
        assert set(entry.control) <= set(fields_of(name))
    known = {preset for entry in AGENTS.values() for preset in entry.presets}
    assert all(set(norm.presets) <= known for norm in NORMS.values())


def test_whole_numbers_may_be_written_with_underscores_or_an_exponent() -> None:
    for text in ("10_000", "1e4", "10000", "10000.0"):
        assert make_config(steps=text).run.steps == 10_000


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lerning_rate": 1}, "unknown setting 'lerning_rate'.*did you mean learning_rate"),
        ({"eps": 1, "norm": "layer"}, "unknown setting 'eps'.*; did you mean norm.eps.$"),
        ({"norm": "wieght"}, "norm 'wieght' is unknown; allowed: none.*did you mean weight"),
        (
            {"agent": "dqm"},
            "agent 'dqm' is unknown; allowed: dqn, pqn, a2c, ppo; did you mean dqn",
        ),
        ({"steps": "many"}, "steps takes a whole number of agent steps, not 'many'"),
        ({"steps": "1.5"}, "steps takes a whole number"),
        ({"steps": 0}, "steps 0 is out of range; it must be at least 1 agent step$"),
        ({"steps": float("inf")}, "steps takes a whole number"),
        ({"gamma": 1.5}, "gamma 1.5 is out of range; it must be at most 1"),
        ({"gamma": "nan"}, "gamma is not a number"),
        ({"gamma": "inf"}, "gamma inf is out of range; it must be at most 1"),
        ({"max_grad_norm": "inf"}, "max_grad_norm inf is out of range; it must be finite$"),
        ({"optimizer_eps": 1e999}, "optimizer_eps inf is out of range; it must be finite$"),
        ({"progress_every_s": "-inf"}, "progress_every_s -inf is out of range.*at least 0 s$"),
        ({"learning_rate": 0}, "learning_rate 0.* more than 0"),
        ({"double": "perhaps"}, "double is on or off"),
        ({"batch_size": True}, "batch_size takes a whole number"),
        ({"env": "Braekout"}, "Braekout.*did you mean.*Breakout"),
        ({"protocol": "stiky"}, "protocol 'stiky'.*did you mean sticky"),
    ],
)
def test_a_wrong_setting_is_told_what_is_allowed(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_config(values)


def test_schedules_keep_their_length_when_a_run_is_made_longer() -> None:
    config = make_config(steps=1_000)
    assert replace(config, steps=5_000).run.schedule_steps == 1_000


def test_json_round_trip_gives_the_same_configuration() -> None:
    config = make_config(env="Pong", norm="layer", preset="nature", seed=3)
    assert config_from_json(json.loads(json.dumps(config.to_json()))) == Config(
        config.run, config.agent, list_to_tuple(config.explicit), config.norm
    )


def list_to_tuple(names: object) -> tuple[str, ...]:
    assert isinstance(names, tuple)
    return names


def test_parameters_of_the_normalization_are_set_checked_and_kept() -> None:
    config = make_config({"norm": "group", "norm.groups": "16"}, **{"norm.eps": 1e-3})
    assert (config.norm.groups, config.norm.eps) == (16, 1e-3)
    assert config.explicit == ("norm", "norm.eps", "norm.groups")
    assert make_config(norm="group").norm.groups == 32
    again = config_from_json(json.loads(json.dumps(config.to_json())))
    assert again == dataclasses.replace(config, explicit=tuple(again.explicit))
    assert replace(config, seed=3).norm == config.norm
    assert replace(config, norm="layer").norm == get_norm("layer").settings
    assert replace(config, **{"norm.groups": 8}).norm.groups == 8


def test_a_parameter_of_another_normalization_is_told_which_there_are() -> None:
    with pytest.raises(UsageError, match=r"not a parameter of normalization layer, which has eps"):
        make_config({"norm": "layer", "norm.groups": 16})
    with pytest.raises(UsageError, match=r"not a parameter of normalization weight"):
        make_config({"norm.eps": 1e-3})
    with pytest.raises(UsageError, match=r"norm.groups 0 is out of range"):
        make_config({"norm": "group", "norm.groups": 0})
    with pytest.raises(UsageError, match=r"norm takes text, not 3"):
        make_config({"norm": 3})


def test_infinite_parameters_are_refused_for_they_train_on_nan() -> None:
    floats = [
        (norm.name, field.name)
        for norm in NORMS.values()
        for field in dataclasses.fields(norm.settings)
        if isinstance(field.default, float)
    ]
    assert {("batch-renorm", "r_max"), ("spectral", "lipschitz")} < set(floats)
    for norm, name in floats:
        for number in ("inf", "-inf", "nan"):
            with pytest.raises(UsageError, match=rf"norm.{name} (-?inf .*must|is not)"):
                make_config({"norm": norm, NORM + name: number})
    with pytest.raises(UsageError, match=r"^norm.r_max inf is out of range; it must be finite$"):
        make_config({"norm": "batch-renorm", "norm.r_max": "inf"})


def test_lines_of_progress_may_never_come() -> None:
    assert make_config(progress_every_s="inf").run.progress_every_s == math.inf


def test_a_run_begun_with_an_infinite_limit_of_gradients_is_one_without_a_limit() -> None:
    saved = make_config().to_json()
    saved["agent"]["max_grad_norm"] = math.inf
    assert config_from_json(json.loads(json.dumps(saved))).agent.max_grad_norm == 0


def test_a_configuration_from_before_parameters_has_their_defaults() -> None:
    saved = make_config(norm="group").to_json()
    del saved["norm"]
    assert config_from_json(saved).norm.groups == 32
    saved["norm"] = {"groups": 16, "gone": 1}
    assert config_from_json(saved).norm.groups == 16
    saved["norm"] = {"groups": "some"}
    with pytest.raises(UsageError, match=r"norm.groups takes a whole number"):
        config_from_json(saved)


def test_a_pqn_from_before_the_setting_is_evaluated_with_the_protocols_random_actions() -> None:
    new = make_config(env="Breakout", agent="pqn")
    assert new.protocol is not None
    assert new.protocol.evaluation_epsilon == 0.0
    saved = new.to_json()
    del saved["agent"]["protocol_epsilon"]
    old = config_from_json(saved)
    assert old.protocol is not None
    assert old.protocol.evaluation_epsilon == 0.05
    assert old.departures == {"protocol_epsilon": True}
    assert make_config(env="CartPole-v1", agent="pqn", protocol_epsilon=True).departures == {}


def test_a2c_on_atari_steps_as_the_zoos_and_older_runs_keep_their_rule() -> None:
    new = make_config(env="Breakout", agent="a2c")
    assert (new.agent.optimizer, new.agent.optimizer_eps) == ("rmsprop-tf", 1e-5)
    saved = new.to_json()
    saved["agent"] |= {"optimizer": "rmsprop", "optimizer_eps": 3.16e-3}  # the defaults before
    old = config_from_json(saved).agent
    assert (old.optimizer, old.optimizer_eps) == ("rmsprop", 3.16e-3)


def test_a_run_is_named_by_what_changes_learning() -> None:
    assert make_config().name == "dqn-weight"
    assert make_config(seed=9, device="cpu", eval_episodes=3).name == "dqn-weight"
    assert make_config(preset="fast").name == "dqn-weight-preset=fast"
    assert make_config(norm="none", double=True, batch_size=64).name == (
        "dqn-none-batch-size=64-double=True"
    )
    assert make_config(protocol="sticky").name == "dqn-weight-protocol=sticky"
    parameters = {"norm": "group", "norm.groups": 16, "norm.eps": 1e-5}
    assert make_config(parameters).name == "dqn-group-norm.groups=16"
    assert make_config({"norm": "batch-renorm", "norm.r_max": 2}).name == (
        "dqn-batch-renorm-norm.r-max=2.0"
    )
    assert make_config(norm_where="penultimate").name == "dqn-weight-norm-where=penultimate"


def test_a_place_is_spelt_one_way_in_the_name_and_in_the_settings() -> None:
    configs = [make_config(norm_where=where) for where in ("conv1, conv2", "conv2,conv1,conv2")]
    configs.append(replace(make_config(), norm_where="conv2, conv1"))
    saved = configs[0].to_json()
    saved["run"]["norm_where"] = " conv2,conv1"
    configs.append(config_from_json(saved))
    for config in configs:
        assert config.run.norm_where == "conv1,conv2"
        assert config.name == "dqn-weight-norm-where=conv1,conv2"
    assert make_config(norm_where=" torso").name == "dqn-weight"


def test_the_length_of_a_run_is_named_where_a_schedule_goes_by_it() -> None:
    assert make_config(steps=5_000).name == "dqn-weight-schedule-steps=5000"
    assert make_config(steps=5_000, epsilon_steps=7).name == "dqn-weight-epsilon-steps=7"
    assert make_config(steps=5_000, preset="fast").name == "dqn-weight-preset=fast"
    assert make_config(steps=5_000, preset="fast", norm="nap").name == (
        "dqn-nap-preset=fast-schedule-steps=5000"
    )


def test_a_setting_without_effect_names_nothing() -> None:
    assert make_config(norm="none", weight_storage="gv", v_norm="paper").name == "dqn-none"
    assert make_config(norm="none", norm_where="all").name == "dqn-none"
    assert make_config(env="CartPole-v1", protocol="sticky").name == "dqn-weight"
    assert make_config(hidden=3, init_observations=9).name == "dqn-weight"
    assert make_config(v_norm="paper").name == "dqn-weight-v-norm=paper"
    assert make_config(norm="weight-mean", v_norm="paper").name == "dqn-weight-mean-v-norm=paper"


def test_an_architecture_names_the_sizes_that_it_takes() -> None:
    toy = {"env": "toy/Catch", "width": 2, "hidden": 7}
    assert make_config({**toy, "network": "impala"}).name == "dqn-weight-network=impala-width=2"
    assert make_config(toy).name == "dqn-weight-hidden=7"
    assert make_config(width=2, hidden=7, network="impala").name == (
        "dqn-weight-network=impala-width=2"
    )
    assert make_config(width=2, hidden=7, network="mlp").name == "dqn-weight-network=mlp-hidden=7"


def test_the_stack_that_is_there_anyway_names_nothing() -> None:
    assert make_config(stack=4).name == "dqn-weight"
    assert make_config(stack=1).name == "dqn-weight-stack=1"
    assert make_config(stack=1, recurrent=True).name == "dqn-weight-recurrent=True"
    assert make_config(stack=4, recurrent=True).name == "dqn-weight-recurrent=True-stack=4"


def test_a_rate_under_a_norms_own_schedule_names_no_decay() -> None:
    asked = {"agent": "ppo", "learning_rate_decay": False}
    assert make_config(asked, norm="nap").name == "ppo-nap"
    assert make_config(asked).name == "ppo-weight-learning-rate-decay=False"


def test_a_recurrent_ppo_has_one_torso_and_two_are_refused() -> None:
    config = make_config(env="CartPole-v1", agent="ppo", recurrent=True)
    assert config.name == "ppo-weight-recurrent=True"
    assert config_from_json(config.to_json()) == config
    with pytest.raises(UsageError, match="recurrent needs a single torso; leave out separate"):
        make_config(env="CartPole-v1", agent="ppo", recurrent=True, separate=True)


def test_minibatches_that_do_not_divide_a_huge_rollout_are_told_at_once() -> None:
    huge = 10**12
    with pytest.raises(UsageError, match=r"does not divide .*; 6 does"):
        make_config(agent="ppo", num_envs=6, rollout_steps=huge + 1, minibatches=7)


def test_what_changes_no_layer_has_no_place_whatever_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert [name for name, norm in NORMS.items() if not norm.has_place] == ["none"]
    monkeypatch.setitem(NORMS, "mine", dataclasses.replace(get_norm("none"), name="mine"))
    assert make_config(norm="mine", norm_where="penultimate").name == "dqn-mine"
    parameters = {"norm": "projection", "norm.activation": "none", "norm_where": "head"}
    assert "norm-where=head" in make_config(parameters).name


def test_a_norm_of_features_goes_to_the_last_hidden_layer_unless_a_person_says_otherwise() -> None:
    config = make_config(norm="penultimate-l2")
    assert (config.run.norm_where, config.run.norm_after) == ("penultimate", "activation")
    assert config.name == "dqn-penultimate-l2"
    assert make_config(norm="penultimate-l2", norm_where="torso").name.endswith("norm-where=torso")
    other = replace(config, norm="layer")
    assert (other.run.norm_where, other.run.norm_after) == ("torso", "layer")
    placed = replace(make_config(norm="layer", norm_where="conv1"), norm="simplicial")
    assert placed.run.norm_where == "conv1"


def test_the_side_of_the_nonlinearity_is_part_of_a_run_where_activations_are_normalized() -> None:
    after = make_config(norm="batch", norm_after="activation")
    assert after.name == "dqn-batch-norm-after=activation"
    assert config_from_json(after.to_json()).run.norm_after == "activation"
    assert make_config(norm="weight", norm_after="activation").name == "dqn-weight"
    saved = make_config(norm="batch").to_json()
    del saved["run"]["norm_after"]  # a run from before this setting
    assert config_from_json(saved) == make_config(norm="batch")
    with pytest.raises(UsageError, match="norm_after 'relu' is unknown; allowed: layer, act"):
        make_config(norm="batch", norm_after="relu")


def test_a_normalization_of_observations_is_part_of_a_run() -> None:
    config = make_config(norm="batch", norm_input="batch", norm_after="activation")
    assert config.name == "dqn-batch-norm-after=activation-norm-input=batch"
    assert config_from_json(config.to_json()) == config
    saved = make_config().to_json()
    del saved["run"]["norm_input"]  # a run from before this setting
    assert config_from_json(saved) == make_config()
    with pytest.raises(UsageError, match=r"norm_input 'runing' is unknown.*did you mean running"):
        make_config(norm_input="runing")


def test_a_registered_norm_can_be_chosen() -> None:
    register_norm(dataclasses.replace(get_norm("layer"), name="mine"))
    try:
        assert make_config(norm="mine").run.norm == "mine"
    finally:
        del NORMS["mine"]


def test_a_configuration_edited_by_hand_is_checked_as_flags_are() -> None:
    saved = make_config().to_json()
    saved["agent"]["batch_size"] = "32 or so"
    with pytest.raises(UsageError, match="batch_size takes a whole number"):
        config_from_json(saved)
    saved["agent"]["batch_size"] = 32
    saved["run"]["norm"] = "wieght"
    with pytest.raises(UsageError, match="did you mean weight"):
        config_from_json(saved)


def test_every_setting_says_what_it_means() -> None:
    for kind in (type(make_config().run), *(entry.settings for entry in AGENTS.values())):
        for field in dataclasses.fields(kind):
            assert field.metadata["meaning"], field.name
