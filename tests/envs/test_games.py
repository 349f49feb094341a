"""Names: every spelling reaches its game, and nothing dangerous reaches the emulator."""

import subprocess
import sys

import pytest

from wnrl._settings import UsageError
from wnrl.envs.games import friendly_name, game_names, playable_roms, require_rom_id, rom_id
from wnrl.envs.make import canonical_name, is_atari, make_env
from wnrl.envs.protocols import PROTOCOLS, protocol_named


@pytest.mark.parametrize(
    ("name", "rom"),
    [
        ("Breakout", "breakout"),
        ("breakout", "breakout"),
        ("ALE/Breakout-v5", "breakout"),
        ("BreakoutNoFrameskip-v4", "breakout"),
        ("BreakoutDeterministic-v4", "breakout"),
        ("Breakout-v4", "breakout"),
        ("space_invaders", "space_invaders"),
        ("SpaceInvaders", "space_invaders"),
        ("SPACEINVADERS", "space_invaders"),
        ("UpNDown", "up_n_down"),
        ("TicTacToe3D", "tic_tac_toe_3d"),
        ("Atlantis2", "atlantis2"),
    ],
)
def test_every_spelling_of_a_game_reaches_its_rom(name: str, rom: str) -> None:
    assert rom_id(name) == rom
    assert is_atari(name)


@pytest.mark.parametrize(
    "name", ["CartPole-v1", "Blackjack-v1", "Breakout-ram-v4", "", "toy/Catch"]
)
def test_a_name_that_is_no_game_has_no_rom(name: str) -> None:
    assert rom_id(name) is None
    assert not is_atari(name)


def test_the_games_are_those_that_the_ale_registers_with_gymnasium() -> None:
    import gymnasium

    registered = {name for name in gymnasium.registry if name.startswith("ALE/")}
    assert {f"ALE/{name}-v5" for name in game_names()} == registered
    assert len(registered) == 104


def test_friendly_names_and_rom_ids_are_one_to_one() -> None:
    assert [rom_id(friendly_name(rom)) for rom in playable_roms()] == list(playable_roms())


@pytest.mark.parametrize("name", ["combat", "Joust", "ALE/MazeCraze-v5", "warlords"])
def test_a_multiplayer_game_is_refused_by_name(name: str) -> None:
    for use in (rom_id, require_rom_id, is_atari, canonical_name):
        with pytest.raises(UsageError, match="several players"):
            use(name)
    with pytest.raises(UsageError, match="several players"):
        make_env(name, 1, seed=0)


def test_an_unknown_game_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(UsageError, match=r"'Brekout' is not one of the ALE's 104 games.*Breakout"):
        require_rom_id("Brekout")


@pytest.mark.slow
def test_the_names_and_the_toys_load_without_the_emulator() -> None:
    code = "import sys, wnrl.envs.make; assert not any(m.startswith('ale_py') for m in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("toy/Catch", "toy/Catch"),
        ("space_invaders", "SpaceInvaders"),
        ("ALE/MsPacman-v5", "MsPacman"),
        ("CartPole-v1", "CartPole-v1"),
        ("Blackjack", "Blackjack"),
        ("gymnasium:CartPole-v1", "gymnasium:CartPole-v1"),
    ],
)
def test_the_canonical_name_is_one_per_environment_and_its_own(name: str, canonical: str) -> None:
    assert canonical_name(name) == canonical
    assert canonical_name(canonical) == canonical


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ALE/Breakuot-v5", "Breakout"),
        ("Breakout-v0", "Breakout"),
        ("Cartpole-v1", "CartPole-v1"),
        ("toy/Cach", "toy/Catch"),
        ("qqqqqq", "name a game of Atari or MinAtar"),
    ],
)
def test_an_unknown_environment_is_answered_with_the_nearest_of_all_names(
    name: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=f"unknown environment.*{hint}"):
        canonical_name(name)
    with pytest.raises(UsageError, match=f"unknown environment.*{hint}"):
        make_env(name, 1, seed=0)


def test_no_id_of_the_ale_reaches_gymnasium() -> None:
    import ale_py

    assert ale_py.__version__  # imported: its ids are registered with Gymnasium
    for name in ("Breakout-v0", "Breakout-ram-v4", "BreakoutNoFrameskip-v0", "ale_py:Breakout-v0"):
        with pytest.raises(UsageError, match="Breakout"):
            make_env(name, 1, seed=0)


def test_an_unknown_protocol_is_refused_even_where_none_is_needed() -> None:
    with pytest.raises(UsageError, match=r"unknown protocol 'stiky'.*classic, sticky.*mean sticky"):
        make_env("toy/Catch", 1, seed=0, protocol="stiky")


def test_the_protocols_hold_the_published_numbers() -> None:
    classic, sticky = PROTOCOLS["classic"], PROTOCOLS["sticky"]
    assert (classic.repeat_action_probability, sticky.repeat_action_probability) == (0.0, 0.25)
    assert (classic.noop_max, sticky.noop_max) == (30, 0)
    assert (classic.evaluation_epsilon, sticky.evaluation_epsilon) == (0.05, 0.001)
    assert (classic.life_loss, sticky.life_loss) == (True, False)
    assert classic.max_episode_steps == sticky.max_episode_steps == 27_000


def test_a_protocol_describes_itself_in_one_line() -> None:
    assert protocol_named("sticky").description == (
        "sticky: sticky actions 0.25, no no-ops, no FIRE, no life information, minimal actions, "
        "at most 27,000 agent steps, evaluated at epsilon 0.001"
    )


def test_a_stack_is_described_where_it_is_not_the_published_one() -> None:
    assert protocol_named("sticky", 1).description == (
        f"{protocol_named('sticky').description}, 1 frame in an observation"
    )
    assert protocol_named("sticky", 4) == protocol_named("sticky")
    assert protocol_named("sticky", 2).description.endswith(", 2 frames in an observation")


@pytest.mark.parametrize("name", ["toy/Corridor", "toy/Catch", "CartPole-v1"])
def test_a_stack_is_refused_where_nothing_is_stacked(name: str) -> None:
    with pytest.raises(UsageError, match=f"^stack 1 is for Atari games.*{name}"):
        make_env(name, 1, seed=0, stack=1)
    make_env(name, 1, seed=0, stack=0).close()
