"""scripts/parity/with_sb3.py: verdicts on hand numbers, and short runs of both sides."""

import csv
import dataclasses
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from script_modules import load_script

from wnrl.config import make_config
from wnrl.report.number_format import difference
from wnrl.train.build import build_env, build_network, resolve

parity = load_script("parity/with_sb3.py")
ROOT = Path(__file__).parents[2]
SHORT = {"CartPole-v1": 600, "MinAtar/Breakout-v1": 600, "Breakout": 3_072}


def rows(env: str, sb3: list[float], wnrl: list[float]) -> list[dict[str, str]]:
    """Rows of the table whose lowest return is 0."""
    return [
        {"agent": "ppo", "env": env, "side": side, "final_return": str(x), "lowest_return": "0"}
        for side, scores in (("sb3", sb3), ("wnrl", wnrl))
        for x in scores
    ]


def test_verdicts_allow_for_all_pairs() -> None:
    alike = rows("alike", [99.0, 100, 101] * 4, [99.0, 100, 101] * 4)
    apart = rows("apart", [99.0, 100, 101] * 4, [49.0, 50, 51] * 4)
    unclear = rows("unclear", [60.0, 100, 140] * 4, [50.0, 90, 130] * 4)
    header, rule, one, other, third = parity.table(
        parity.verdicts([*alike, *apart, *unclear], peer="sb3")
    )
    assert one == (
        "| ppo | alike | wnrl, sb3 | 100, 100 | +0.00 [−0.72, +0.72] | 10 | < 0.001 "
        "| within margin | 12, 12 |"
    )
    assert other.startswith("| ppo | apart | wnrl, sb3 | 50, 100 | −50.00 [")
    assert other.endswith(" | 10 | < 0.001 | worse | 12, 12 |")
    assert third.endswith(" | undecided | 12, 12 |")
    assert {line.count("|") for line in (header, rule, one, other, third)} == {10}


def test_another_peer_gives_the_margin() -> None:
    table = rows("alike", [99.0, 100, 101] * 4, [9.0, 10, 11] * 4)
    swapped = [row | {"side": {"sb3": "wnrl", "wnrl": "theirs"}[row["side"]]} for row in table]
    *_, line = parity.table(parity.verdicts(swapped, peer="theirs"))
    assert line.startswith("| ppo | alike | wnrl, theirs | 100, 10 | +90.00 [")
    assert line.endswith(" | 1 | < 0.001 | better | 12, 12 |")


def test_one_seed_gives_no_verdict() -> None:
    assert not parity.verdicts(rows("one", [1.0], [1.0]), peer="sb3")


@pytest.mark.parametrize(
    ("agent", "env"), [(agent, env) for agent, case in parity.CASES.items() for env in case.steps]
)
def test_both_sides_have_the_same_network(agent: str, env: str) -> None:
    """The same shapes, and first weights of the same spread."""
    if "MinAtar" in env:
        pytest.importorskip("minatar")
    parts = resolve(make_config(norm="none", seed=1, threads=1, **parity.ours(agent, env)))
    with closing(build_env(parts)) as envs:
        network, _ = build_network(parts, envs)
    model = parity.CASES[agent].sb3(env, 1_000, 1, parity.stock(env))
    theirs = model.policy.q_net if agent == "dqn" else model.policy
    shapes = [sorted(tuple(x.shape) for x in side.parameters()) for side in (network, theirs)]
    assert shapes[0] == shapes[1]
    spread = [
        sorted(x.std().item() for x in side.parameters() if x.ndim > 1)
        for side in (network, theirs)
    ]
    np.testing.assert_allclose(*spread, rtol=0.2)
    model.env.close()


# Settings that agree without being named: the optimizer's, and what is off or the network's.
UNNAMED = {"beta1", "separate", "hidden", "recurrent", "lstm_units", "burn_in_steps"}
UNNAMED |= {"sequence_steps", "categorical_targets", "atoms", "v_min", "v_max", "sigma_ratio"}
# By wnrl's name, SB3's attribute.
SHARED = {
    "gamma": "gamma",
    "max_grad_norm": "max_grad_norm",
    "gae_lambda": "gae_lambda",
    "rollout_steps": "n_steps",
    "epochs": "n_epochs",
    "entropy_coef": "ent_coef",
    "value_coef": "vf_coef",
    "normalize_advantage": "normalize_advantage",
    "num_envs": "n_envs",
    "batch_size": "batch_size",
    "warmup_steps": "learning_starts",
    "target_period_steps": "target_update_interval",
    "epsilon_start": "exploration_initial_eps",
    "epsilon_end": "exploration_final_eps",
}


@pytest.mark.parametrize(
    ("agent", "env"), [(agent, env) for agent, case in parity.CASES.items() for env in case.steps]
)
def test_both_sides_have_the_same_settings(agent: str, env: str) -> None:
    if "MinAtar" in env:
        pytest.importorskip("minatar")
    config = make_config(norm="none", **parity.ours(agent, env))
    settings = dataclasses.asdict(config.agent)
    assert not settings.keys() - parity.ours(agent, env).keys() - UNNAMED
    assert not settings.get("recurrent")
    model = parity.CASES[agent].sb3(env, config.run.steps, 1, parity.stock(env))
    shared = {name: other for name, other in SHARED.items() if hasattr(model, other)}
    wanted = {name: settings[name] for name in shared if name in settings}
    assert wanted == {name: getattr(model, shared[name]) for name in wanted}
    assert wanted.keys() >= {"gamma", "max_grad_norm", "num_envs"}
    (group,) = model.policy.optimizer.param_groups
    assert (group["eps"], group["betas"][0]) == (settings["optimizer_eps"], settings["beta1"])
    assert model.lr_schedule(1) == settings["learning_rate"]
    falls = settings.get("learning_rate_decay", False)
    assert model.lr_schedule(0.5) == settings["learning_rate"] * (0.5 if falls else 1)
    if agent == "ppo":
        rows = settings["num_envs"] * settings["rollout_steps"]
        assert model.batch_size * settings["minibatches"] == rows
        assert model.clip_range(0.5) == settings["clip_range"] / 2
        assert model.clip_range_vf is model.target_kl is None
    if agent == "dqn":
        steps = model.exploration_fraction * config.run.steps
        assert steps == pytest.approx(settings["epsilon_steps"])
        assert (settings["n_step"], settings["double"], settings["dueling"]) == (1, False, False)
        assert model.train_freq.frequency == settings["update_period_steps"]
        assert (model.gradient_steps, model.tau, model.buffer_size) == (1, 1, 30_000)
    model.env.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("agent", "env"),
    [(agent, env) for agent, case in parity.CASES.items() for env in SHORT if env in case.steps],
)
def test_both_sides_train_and_a_repeated_command_adds_nothing(
    agent: str, env: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "MinAtar" in env:
        pytest.importorskip("minatar")
    case = parity.CASES[agent]
    settings = dict(case.settings)
    if agent == "dqn":
        settings |= {"warmup_steps": 100, "epsilon_steps": 200, "batch_size": 8}
    monkeypatch.setitem(
        parity.CASES, agent, dataclasses.replace(case, steps=SHORT, settings=settings)
    )
    table = tmp_path / "parity.csv"
    arguments = ["with_sb3.py", "--csv", str(table), "--agent", agent, "--env", env, "--seeds", "1"]
    monkeypatch.setattr("sys.argv", arguments)
    parity.main()
    written = table.read_text()
    runs = list(csv.DictReader(written.splitlines()))
    assert [run["side"] for run in runs] == ["sb3", "wnrl"]
    assert all(int(run["episodes"]) > 1 for run in runs)
    parity.main()
    assert table.read_text() == written


def test_the_page_has_the_tables_of_the_rows() -> None:
    page = (ROOT / "docs" / "reproducing.md").read_text()
    contests = parity.verdicts(results("sb3_parity.csv"), peer="sb3")
    assert len(contests) >= 9
    assert "\n".join(parity.table(contests)) in page
    (more,) = parity.verdicts(results("sb3_parity_a2c_acrobot.csv"), peer="sb3")
    found = more.pair.difference.interval()
    assert difference(found.value, found.low, found.high) in page
    assert f"p = {more.judged.p:.2f}" in page
    begun = results("sb3_parity_ppo_breakout.csv")
    assert f"has been begun: {len(begun)} of its 6 runs" in " ".join(page.split())


def results(name: str) -> list[dict[str, str]]:
    with (ROOT / "scripts" / "results" / name).open(newline="") as file:
        return list(csv.DictReader(file))
