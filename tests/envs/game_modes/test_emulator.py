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
        ("breakout", {"max_episode_frames": 150}),  # capped in the middle of a step
        ("pong", {"repeat_action_probability": 0.25, "frameskip_frames": 1, "stack": 2}),
        ("freeway", {"full_action_space": True, "screen_pixels": 50}),
        ("ms_pacman", {"fire_reset": False, "frameskip_frames": 3}),
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


def test_no_ops_are_drawn_from_the_seed_and_are_fewer_than_the_protocol_says() -> None:
    played = protocol(noop_max=6, fire_reset=False)
    emulators = ModeEmulators("breakout", 1, played)
    frames = [
        int(emulators.reset(seed=np.array([seed]))[1]["episode_frame_number"][0])
        for seed in (1, 2, 3, 4, 5, 1)
    ]
    assert set(frames) <= set(range(6))
    assert len(set(frames)) > 1
    assert frames[0] == frames[-1]


def test_a_mode_and_a_difficulty_are_another_game_and_switch_at_the_next_reset() -> None:
    emulators = ModeEmulators("breakout", 2, protocol(mode=12))
    two, _ = emulators.reset(seed=SEEDS[[0, 0]])
    assert np.array_equal(two[0], two[1])
    emulators.switch(1, -1, -1)
    still, *_ = emulators.step(np.zeros(2, np.int64))
    assert np.array_equal(still[0], still[1])  # not before a reset
    one, _ = emulators.reset(seed=SEEDS[[0, 0]])
    assert np.array_equal(one[0], two[0])
    assert not np.array_equal(one[1], two[1])
