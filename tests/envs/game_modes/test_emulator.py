"""The emulators that can change a game's mode play the default mode as the ALE's own do."""

from typing import Any

import numpy as np
import pytest

from wnrl.envs.atari_emulator import open_emulator
from wnrl.envs.game_modes.emulator import ModeEmulators
from wnrl.envs.protocols import AtariProtocol, protocol_named

SEEDS = np.array([7, 8])


def protocol(**changes: Any) -> AtariProtocol:
    """Classic without drawn no-ops, which come from another generator here."""
    return protocol_named("classic", changes={"noop_max": 1, **changes})


def same(one: Any, other: Any) -> bool:
    """Compare observations or numbers, and the dicts that come with them."""
    (*arrays, info), (*others, other_info) = one, other
    pairs = [*zip(arrays, others, strict=True), *((info[k], other_info[k]) for k in other_info)]
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in pairs)


@pytest.mark.parametrize(
    ("rom", "changes"),
    [
        ("breakout", {"max_episode_frames": 100}),  # cut at a step's last frame
        ("pong", {"repeat_action_probability": 0.25, "frameskip_frames": 1, "stack": 2}),
        ("freeway", {"full_action_space": True, "screen_pixels": 50}),
        ("ms_pacman", {"fire_reset": False, "max_episode_frames": 90}),  # in a step's middle
    ],
)
def test_the_default_mode_is_played_bit_for_bit_as_by_the_vector_environment(
    rom: str, changes: dict[str, Any]
) -> None:
    played = protocol(**changes)
    ale = open_emulator(rom, 2, played, num_threads=1)
    ours = ModeEmulators(rom, 2, played)
    assert ours.get_action_set() == ale.ale.get_action_set()
    assert same(ours.reset(seed=SEEDS), ale.reset(seed=SEEDS))
    random = np.random.default_rng(0)
    for step in range(60):
        actions = random.integers(len(ours.get_action_set()), size=2)
        assert same(ours.step(actions), ale.step(actions)), step
        if step == 30:
            which = {"reset_mask": np.array([False, True])}
            assert same(ours.reset(options=which), ale.reset(options=which))


def test_a_game_that_ends_begins_again_as_in_the_vector_environment() -> None:
    played = protocol(frameskip_frames=10)
    ale, ours = (
        open_emulator("breakout", 1, played, num_threads=1),
        ModeEmulators("breakout", 1, played),
    )
    ale.reset(seed=SEEDS[:1])
    ours.reset(seed=SEEDS[:1])
    ends = 0
    for step in range(150):
        actions = np.array([1 + step % 3])
        one, other = ours.step(actions), ale.step(actions)
        assert same(one, other), step
        ends += int(one[2].sum())
    assert ends >= 1


def test_colour_frames_have_the_size_of_the_games_own_screen() -> None:
    ale = open_emulator("breakout", 1, protocol(), num_threads=1, colour=True)
    ours = ModeEmulators("breakout", 1, protocol(), colour=True)
    assert same(ours.reset(seed=SEEDS[:1]), ale.reset(seed=SEEDS[:1]))
    assert same(ours.step(np.array([2])), ale.step(np.array([2])))


@pytest.mark.parametrize("fire_reset", [False, True])
def test_no_ops_are_drawn_from_the_seed_and_are_fewer_than_the_protocol_says(
    fire_reset: bool,
) -> None:
    emulators = ModeEmulators("breakout", 1, protocol(noop_max=4, fire_reset=fire_reset))
    drawn = []
    for _ in range(2):
        resets = [emulators.reset(seed=SEEDS[:1]), *(emulators.reset() for _ in range(15))]
        drawn.append([int(info["episode_frame_number"][0]) for _, info in resets])
    assert set(drawn[0]) == set(range(int(fire_reset), 4))
    assert drawn[0] == drawn[1]


def test_switches_are_read_at_a_reset_and_each_emulator_has_its_own() -> None:
    emulators = ModeEmulators("breakout", 3, protocol(mode=12))
    first, _ = emulators.reset(seed=SEEDS[[0, 0, 0]])
    assert np.array_equal(first[0], first[1])
    emulators.switch(1, -1, -1)
    emulators.switch(2, -1, 1)
    same_game, *_ = emulators.step(np.zeros(3, np.int64))
    assert np.array_equal(same_game[0], same_game[1])
    again, _ = emulators.reset(seed=SEEDS[[0, 0, 0]])
    assert np.array_equal(again[0], first[0])
    assert len({obs.tobytes() for obs in again}) == 3
