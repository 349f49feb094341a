import csv
from importlib import resources

import pytest

from wnrl.agents.catalogue import AGENTS
from wnrl.envs.games import game_names
from wnrl.envs.protocols import PROTOCOLS
from wnrl.stats.reference_scores import Reference, reference_scores

TABLE = resources.files("wnrl.stats") / "atari_reference_scores.csv"


def table_rows() -> list[dict[str, str]]:
    lines = [line for line in TABLE.read_text().splitlines() if not line.startswith("#")]
    return list(csv.DictReader(lines))


def scores(env: str, agent: str, protocol: str, frames: int) -> list[float]:
    return [x.score for x in reference_scores(env, agent=agent, protocol=protocol, frames=frames)]


def test_a_row_by_hand() -> None:
    (reference,) = reference_scores("Breakout", agent="dqn", protocol="sticky", frames=40_000_000)
    assert reference == Reference(
        algorithm="DQN (JAX, NatureCNN)",
        score=99.8,
        frames=40_000_000,
        runs=5,
        source="Dopamine@5873f54",
        protocol="sticky 0.25; minimal actions; no life-loss terminal; eps_train 0.01; mean TRAIN "
        "return over that 1M-frame iteration (not eval); 27k-step cap",
    )


def test_the_protocols_of_one_game_do_not_mix() -> None:
    assert scores("Breakout", "dqn", "classic", 40_000_000) == [358.327, 366.928, 377.82]
    assert scores("Breakout", "dqn", "sticky", 40_000_000) == [99.8]


@pytest.mark.parametrize(
    ("agent", "expected"),
    [("dqn", [20.602, 20.25, 20.43]), ("pqn", [20.49]), ("a2c", [17.292, 19.7]), ("drqn", [])],
)
def test_an_agent_is_compared_with_its_own_kind(agent: str, expected: list[float]) -> None:
    assert scores("Pong", agent, "classic", 40_000_000) == expected


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (3_999_999, []),
        (4_000_000, [23.35]),  # of 5 million frames
        (6_250_000, [23.35]),
        (6_250_001, []),
        (8_000_000, [51.94]),  # of 10 million
        (400_000, []),
    ],
)
def test_a_budget_is_the_same_within_a_quarter(frames: int, expected: list[float]) -> None:
    assert scores("Breakout", "dqn", "sticky", frames) == expected


@pytest.mark.parametrize("name", ["SpaceInvaders", "space_invaders", "ALE/SpaceInvaders-v5"])
def test_a_game_goes_by_any_of_its_names(name: str) -> None:
    assert scores(name, "pqn", "classic", 40_000_000) == [1325.2]


@pytest.mark.parametrize("env", ["CartPole-v1", "toy/Catch", "Tennis"])
def test_unpublished_scores_have_no_reference(env: str) -> None:
    assert scores(env, "ppo", "classic", 40_000_000) == []
    assert scores(env, "ppo", "-", 40_000_000) == []


@pytest.mark.parametrize("row", table_rows())
def test_a_rows_description_fits_its_protocol(row: dict[str, str]) -> None:
    assert row["agent"] in AGENTS
    assert row["protocol"] in PROTOCOLS
    assert row["game"] in game_names()
    assert ("no sticky" in row["conditions"]) == (row["protocol"] == "classic")
    assert "life_loss_info" not in row["conditions"]
    assert "LSTM" not in row["algorithm"]
    assert "Impala" not in row["algorithm"]


def test_every_source_is_explained_at_the_top_of_the_table() -> None:
    head = [line for line in TABLE.read_text().splitlines() if line.startswith("#")]
    for source in {row["source"].split(",")[0] for row in table_rows()}:
        assert any(line.startswith(f"# {source}: ") for line in head)
