import io
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_replay import EVENTS, FRAME, Episodes, NaiveReplay, NaiveTransition

from wnrl._settings import UsageError
from wnrl.rl import frame_stacks
from wnrl.rl.frame_stacks import DeviceFrames
from wnrl.rl.replay import Batch, Replay

CPU = torch.device("cpu")


def make_replay(
    rows: int = 8,
    num_envs: int = 1,
    stack: int = 1,
    n_step: int = 1,
    frame_shape: tuple[int, ...] = (1,),
    frame_dtype: str = "float32",
    seed: int = 0,
) -> Replay:
    return Replay(
        rows * num_envs,
        num_envs,
        frame_shape,
        frame_dtype,
        stack,
        n_step,
        np.random.default_rng(seed),
    )


def assert_same(batch: Batch, transitions: Sequence[NaiveTransition]) -> None:
    for index, expected in enumerate(transitions):
        s_tm1, a_tm1, r_t, discount_t, s_t = (field[index] for field in batch)
        np.testing.assert_array_equal(s_tm1.numpy(), expected[0])
        np.testing.assert_array_equal(s_t.numpy(), expected[4])
        found = (a_tm1.item(), r_t.item(), discount_t.item())
        assert found == expected[1:4]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_every_transition_is_the_naive_replays(data: st.DataObject) -> None:
    num_envs = data.draw(st.integers(1, 3), "num_envs")
    stack = data.draw(st.sampled_from([1, 4]), "stack")
    n_step = data.draw(st.integers(1, 4), "n_step")
    rows = data.draw(st.integers(stack + n_step, 14), "rows")
    dtype = data.draw(st.sampled_from(["uint8", "float32"]), "dtype")
    copied = data.draw(st.booleans(), "copied")
    starts_at_first = data.draw(st.booleans(), "starts_at_first")
    plan = data.draw(
        st.lists(
            st.lists(st.sampled_from(EVENTS), min_size=num_envs, max_size=num_envs),
            min_size=1,
            max_size=40,
        ),
        "events",
    )
    replay = make_replay(rows, num_envs, stack, n_step, FRAME, dtype)
    if copied:
        replay._frames = DeviceFrames(replay._ring, stack, CPU)  # as on a GPU
    naive = NaiveReplay(rows, num_envs, stack, n_step)
    episodes = Episodes(num_envs, FRAME, dtype, starts_at_first)
    for events in plan:
        row = episodes.next_row(events)
        replay.add(*row)
        naive.add(row)
        expected = naive.eligible()
        pairs = replay.eligible()
        assert {(int(r), int(e)) for r, e in pairs} == set(expected)
        if not expected:
            with pytest.raises(ValueError, match="nothing to sample"):
                replay.sample(1)
            continue
        assert_same(
            replay.gather(pairs[:, 0], pairs[:, 1]), [expected[int(r), int(e)] for r, e in pairs]
        )
        drawn = replay.draw(5)
        assert_same(
            replay.gather(*drawn),
            [expected[int(r), int(e)] for r, e in zip(*drawn, strict=True)],
        )


def test_a_truncated_return_stops_at_the_final_observation_and_keeps_its_discount() -> None:
    replay = make_replay(n_step=3)
    #              row: 0, 1, 2 is final, 3 begins the next episode
    rewards, valid, first = [1.0, 2.0, 64.0, 4.0, 8.0], [1, 1, 0, 1, 1], [1, 0, 0, 1, 0]
    for k in range(5):
        replay.add(
            np.array([[10.0 * (k + 1)]], np.float32),
            np.array([k]),
            np.array([rewards[k]], np.float32),
            np.array([0.5], np.float32),
            np.array([bool(first[k])]),
            np.array([bool(valid[k])]),
        )
    batch = replay.gather(np.array([0, 1]), np.array([0, 0]))
    assert batch.s_tm1.tolist() == [[10.0], [20.0]]
    assert batch.a_tm1.tolist() == [0, 1]
    assert batch.r_t.tolist() == [2.0, 2.0]  # 1 + 0.5 * 2, and 2 alone
    assert batch.discount_t.tolist() == [0.25, 0.5]
    assert batch.s_t.tolist() == [[30.0], [30.0]]  # the final observation, not the next episode's
    assert replay.eligible().tolist() == [[0, 0], [1, 0]]


def test_a_lost_life_ends_the_return_but_not_the_stack() -> None:
    replay = make_replay(stack=4, n_step=2, frame_dtype="uint8")
    for k in range(6):
        replay.add(
            np.array([[k + 1]], np.uint8),
            np.array([0]),
            np.array([1.0], np.float32),
            np.array([0.0 if k == 3 else 0.5], np.float32),
            np.array([k == 0]),
            np.array([True]),
        )
    batch = replay.gather(np.array([2, 3]), np.array([0, 0]))
    assert batch.r_t.tolist() == [1.5, 1.0]
    assert batch.discount_t.tolist() == [0.0, 0.0]
    assert batch.s_tm1[..., 0].tolist() == [[0, 1, 2, 3], [1, 2, 3, 4]]
    assert batch.s_t[..., 0].tolist() == [[2, 3, 4, 5], [3, 4, 5, 6]]


def extend(replay: Replay, episodes: Episodes, rows: int, generator: np.random.Generator) -> None:
    """Add rows with random episode ends."""
    for _ in range(rows):
        replay.add(*episodes.next_row(generator.choice(EVENTS, size=replay.num_envs).tolist()))


def filled(rows_added: int, **options: Any) -> Replay:
    defaults: dict[str, Any] = {"rows": 20, "num_envs": 2}
    options = defaults | {"frame_shape": FRAME, "frame_dtype": "uint8"} | options
    replay = make_replay(**options)
    episodes = Episodes(options["num_envs"], options["frame_shape"], options["frame_dtype"])
    extend(replay, episodes, rows_added, np.random.default_rng(5))
    return replay


def test_sampling_is_uniform_over_the_eligible_pairs() -> None:
    replay = filled(53, stack=4, n_step=3)
    pairs = [tuple(pair) for pair in replay.eligible().tolist()]
    draws = 400 * len(pairs)
    rows, envs = replay.draw(draws)
    counts = dict.fromkeys(pairs, 0)
    for pair in zip(rows.tolist(), envs.tolist(), strict=True):
        counts[pair] += 1
    chi_square = sum((count - 400) ** 2 / 400 for count in counts.values())
    # mean and variance of chi square are the degrees of freedom and twice them; the seed is fixed
    freedom = len(pairs) - 1
    assert abs(chi_square - freedom) < 4 * (2 * freedom) ** 0.5


def test_sampling_ends_and_misses_none_where_hardly_a_row_is_eligible() -> None:
    replay = make_replay(rows=3000)
    valid = np.zeros(3000, np.bool_)
    valid[[1000, 2000]] = True
    first = ~np.roll(valid, 1)
    for k in range(3000):
        replay.add(
            np.ones((1, 1), np.float32),
            np.array([0]),
            np.zeros(1, np.float32),
            np.zeros(1, np.float32),
            first[k : k + 1],
            valid[k : k + 1],
        )
    rows, _ = replay.draw(50)
    assert 10 < rows.tolist().count(1000) < 40
    assert set(rows.tolist()) == {1000, 2000}


def test_the_same_seed_repeats_the_samples_and_another_seed_does_not() -> None:
    one, same, other = (filled(40, seed=seed).sample(16) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one.s_tm1, other.s_tm1)


@pytest.mark.parametrize(
    ("stack", "frame_shape", "frame_dtype", "shape", "dtype"),
    [
        (4, (84, 84), "uint8", (32, 4, 84, 84), torch.uint8),
        (1, (84, 84), "uint8", (32, 84, 84), torch.uint8),
        (1, (5,), "float32", (32, 5), torch.float32),
    ],
)
def test_a_batch_has_the_documented_shapes_and_types(
    stack: int,
    frame_shape: tuple[int, ...],
    frame_dtype: str,
    shape: tuple[int, ...],
    dtype: torch.dtype,
) -> None:
    batch = filled(15, stack=stack, frame_shape=frame_shape, frame_dtype=frame_dtype).sample(32)
    for observation in (batch.s_tm1, batch.s_t):
        assert (observation.shape, observation.dtype) == (shape, dtype)
    assert (batch.a_tm1.shape, batch.a_tm1.dtype) == ((32,), torch.int64)
    for scalar in (batch.r_t, batch.discount_t):
        assert (scalar.shape, scalar.dtype) == ((32,), torch.float32)


def test_a_batch_is_the_callers_own() -> None:
    replay = filled(15)
    rows, envs = replay.draw(4)
    batch, untouched = replay.gather(rows, envs), replay.gather(rows, envs)
    for field in batch:
        field.fill_(1)
    assert all(torch.equal(a, b) for a, b in zip(replay.gather(rows, envs), untouched, strict=True))


def test_a_given_batch_is_written_into_and_equals_a_fresh_one() -> None:
    for options in ({"stack": 4, "n_step": 3}, {"frame_dtype": "float32"}):
        fresh, reused = filled(40, **options), filled(40, **options)
        batch = reused.empty_batch(6)
        for _ in range(3):
            assert reused.sample(6, out=batch) is batch
            assert all(torch.equal(a, b) for a, b in zip(fresh.sample(6), batch, strict=True))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("s_t", torch.zeros(6, 2, 3)),
        ("s_t", torch.zeros(6, 3, 2, dtype=torch.uint8).transpose(1, 2)),
        ("s_tm1", torch.zeros(5, 2, 3, dtype=torch.uint8)),
        ("r_t", torch.zeros(6, 1)),
        ("a_tm1", torch.zeros(6)),
    ],
)
def test_a_given_batch_that_does_not_fit_is_refused(name: str, value: torch.Tensor) -> None:
    replay = filled(40)
    batch = replay.empty_batch(6)._replace(**{name: value})
    with pytest.raises(ValueError, match=r"out must be like empty_batch\(6\) on cpu"):
        replay.sample(6, out=batch)


def test_length_counts_pairs_with_n_newer_rows_before_and_after_the_ring_is_full() -> None:
    lengths = [len(filled(rows, n_step=3)) for rows in (0, 3, 4, 20, 21, 70)]
    assert lengths == [0, 0, 2, 34, 34, 34]


def test_bytes_are_known_exactly_beforehand() -> None:
    for capacity, num_envs in ((100, 1), (103, 4), (1000, 7)):
        replay = Replay(capacity, num_envs, (5, 6), "uint8", 4, 1, np.random.default_rng(0))
        assert replay.nbytes == Replay.bytes_needed(capacity, num_envs, (5, 6), "uint8")


def segments_of(replay: Replay, bounds: Sequence[int]) -> list[tuple[int, int, bytes]]:
    segments = []
    for start, stop in itertools.pairwise(bounds):
        file = io.BytesIO()
        with replay.hold_rows(start, stop) as held:
            held.write(file)
        segments.append((start, stop, file.getvalue()))
    return segments


@pytest.mark.parametrize("total", [13, 20, 47, 71])
@pytest.mark.parametrize("stack", [1, 4])
@pytest.mark.parametrize("copied", [False, True])
def test_restored_from_segments_it_goes_on_as_if_never_stopped(
    total: int, stack: int, copied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_stacks, "PIECE_BYTES", 4 * 2 * 2 * 3 + 1)  # 4 rows
    options: dict[str, Any] = {"rows": 20, "num_envs": 2, "stack": stack, "n_step": 3}
    options |= {"frame_shape": FRAME, "frame_dtype": "uint8"}
    replay = make_replay(**options)
    episodes = Episodes(2, FRAME, "uint8")
    generator = np.random.default_rng(7)
    segments = []
    bounds = [*range(0, total, 9), total]  # 9 does not divide 20: segments wrap at odd places
    for start, stop in itertools.pairwise(bounds):
        extend(replay, episodes, stop - start, generator)
        replay.sample(3)
        segments += segments_of(replay, [start, stop])
    file = io.BytesIO()
    torch.save(replay.state_dict(), file)
    file.seek(0)
    restored = make_replay(**options, seed=99)
    if copied:
        restored._frames = DeviceFrames(restored._ring, stack, CPU)  # as on a GPU
    restored.load_state_dict(torch.load(file, weights_only=True))
    for start, stop, content in segments:
        restored.read_rows(io.BytesIO(content), start, stop)

    later = np.random.default_rng(8)
    for _ in range(45):
        for one, other in zip(replay.sample(8), restored.sample(8), strict=True):
            assert torch.equal(one, other)
        row = episodes.next_row(later.choice(EVENTS, size=2).tolist())
        replay.add(*row)
        restored.add(*row)
    assert replay.state_dict() == restored.state_dict()


def loaded(replay: Replay) -> Replay:
    restored = make_replay(rows=20, num_envs=2, frame_shape=FRAME, frame_dtype="uint8")
    restored.load_state_dict(replay.state_dict())
    return restored


def test_until_all_rows_are_back_the_replay_refuses_to_work() -> None:
    replay = filled(30)
    restored = loaded(replay)
    episodes = Episodes(2, FRAME, "uint8")
    for start, stop, content in segments_of(replay, [10, 20, 30]):
        for use in (
            lambda: restored.sample(1),
            lambda: restored.rows(29, 30),
            lambda: restored.add(*episodes.next_row(["go", "go"])),
        ):
            with pytest.raises(ValueError, match="not restored yet: call read_rows"):
                use()
        restored.read_rows(io.BytesIO(content), start, stop)
    restored.sample(1)


def test_a_capacity_too_small_for_one_transition_is_refused_with_the_least_that_works() -> None:
    with pytest.raises(UsageError, match=r"a replay of 13 transitions .* need 14"):
        Replay(13, 2, (1,), "uint8", 4, 3, np.random.default_rng(0))
    assert Replay(15, 2, (1,), "uint8", 4, 3, np.random.default_rng(0)).capacity_rows == 7


@pytest.mark.parametrize(
    "wrong",
    [{"frame_dtype": "float64"}, {"stack": 0}, {"n_step": 0}, {"num_envs": 0}],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be"):
        make_replay(**wrong)
