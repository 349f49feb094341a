"""Every sequence is the naive replay's, and none crosses an episode's border."""

import io
import itertools
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_replay import EVENTS, FRAME, Episodes, NaiveReplay

from wnrl._settings import UsageError
from wnrl.envs.toy import Corridor
from wnrl.rl.recurrent_states import State
from wnrl.rl.replay import Replay
from wnrl.rl.sequence_replay import SequenceReplay
from wnrl.rl.sequences import Sequences, SequenceShape

UNITS = 2


def make_replay(rows: int = 30, num_envs: int = 1, seed: int = 0, **options: Any) -> SequenceReplay:
    given: dict[str, Any] = {
        "frame_shape": FRAME,
        "frame_dtype": "uint8",
        "stack": 1,
        "n_step": 1,
        "burn_in_steps": 3,
        "sequence_steps": 4,
        "period_steps": 2,
        "lstm_units": UNITS,
    }
    given |= options
    shape = SequenceShape(**{field.name: given.pop(field.name) for field in fields(SequenceShape)})
    generator = np.random.default_rng(seed)
    return SequenceReplay(rows * num_envs, num_envs, generator=generator, shape=shape, **given)


def state_before(row: int, num_envs: int) -> State:
    """One that says where it belongs: h is the row and c the environment, each plus one."""
    h = torch.full((1, num_envs, UNITS), row + 1.0)
    c = torch.arange(1.0, num_envs + 1)[None, :, None].expand(1, num_envs, UNITS)
    return h, c


def extend(
    replay: SequenceReplay, episodes: Episodes, rows: int, generator: np.random.Generator
) -> None:
    """Add rows with random episode ends."""
    for _ in range(rows):
        events = generator.choice(EVENTS, size=episodes.num_envs).tolist()
        state = state_before(episodes.row, episodes.num_envs)
        replay.add(*episodes.next_row(events), state)


def filled(added: int, **options: Any) -> SequenceReplay:
    num_envs = options.setdefault("num_envs", 2)
    replay = make_replay(**options)
    extend(replay, Episodes(num_envs, FRAME, "uint8"), added, np.random.default_rng(5))
    return replay


class NaiveSequences(NaiveReplay):
    """The definition, in lists."""

    def __init__(self, rows: int, num_envs: int, stack: int, n_step: int, **numbers: int) -> None:
        super().__init__(rows, num_envs, stack, n_step)
        self.burn_in, self.length = numbers["burn_in_steps"], numbers["sequence_steps"]
        self.period = numbers["period_steps"]

    def sequence(self, row: int, env: int) -> dict[str, Any] | None:
        """Of one whose first learnt row this is; None if it is none."""
        first = [stored[4] for stored in self.history[env]]
        if not first[row] and (row - self.burn_in) % self.period:
            return None
        learnt = [self.transition(row, env)]
        if learnt[0] is None:
            return None
        begin = row
        while begin > row - self.burn_in and not first[begin]:
            begin -= 1
            if begin < 0:
                return None
        if self.observation(begin, env) is None:
            return None
        burn_in = [max(k, begin) for k in range(row - self.burn_in, row)]
        while len(learnt) < self.length:
            transition = self.transition(row + len(learnt), env) if learnt[-1] else None
            learnt.append(transition)
        return {
            "state": 0.0 if first[begin] else begin + 1.0,
            "burn_in": [self.observation(k, env) for k in burn_in],
            "first": [first[begin] and k == begin for k in range(row - self.burn_in, row + 1)],
            "learnt": learnt,
        }

    def transition(self, row: int, env: int) -> Any:
        return super().transition(row, env) if row < len(self.history[env]) else None

    def sequences(self) -> dict[tuple[int, int], dict[str, Any]]:
        found = {}
        for env, history in enumerate(self.history):
            for row in range(max(0, len(history) - self.rows), len(history)):
                sequence = self.sequence(row, env)
                if sequence is not None:
                    found[row, env] = sequence
        return found


def assert_same(
    batch: Sequences, expected: Sequence[dict[str, Any]], envs: Sequence[int], burn_in: int
) -> None:
    for b, (sequence, env) in enumerate(zip(expected, envs, strict=True)):
        h, c = (part[0, b].tolist() for part in batch.state)
        known = sequence["state"] > 0
        assert (h, c) == ([sequence["state"]] * UNITS, [(env + 1.0) * known] * UNITS)
        assert batch.first[: burn_in + 1, b].tolist() == sequence["first"]
        for t, obs in enumerate(sequence["burn_in"]):
            np.testing.assert_array_equal(batch.obs[t, b].numpy(), obs)
        assert batch.learnt[:, b].tolist() == [x is not None for x in sequence["learnt"]]
        for t, transition in enumerate(sequence["learnt"]):
            if transition is None:
                continue
            s_tm1, action, reward, discount, s_t = transition
            np.testing.assert_array_equal(batch.obs[burn_in + t, b].numpy(), s_tm1)
            at = int(batch.bootstrap[t, b])
            np.testing.assert_array_equal(batch.obs[burn_in + at, b].numpy(), s_t)
            found = (batch.action[t, b], batch.reward[t, b], batch.discount[t, b])
            assert tuple(x.item() for x in found) == (action, reward, discount)
        # the network gets from the first learnt row to the last bootstrap without forgetting
        assert not batch.first[burn_in + 1 :, b].any()


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_every_sequence_is_the_naive_replays(data: st.DataObject) -> None:
    num_envs = data.draw(st.integers(1, 3), "num_envs")
    stack = data.draw(st.sampled_from([1, 4]), "stack")
    n_step = data.draw(st.integers(1, 4), "n_step")
    numbers = {
        "burn_in_steps": data.draw(st.integers(0, 5), "burn_in"),
        "sequence_steps": data.draw(st.integers(1, 6), "sequence"),
        "period_steps": data.draw(st.integers(1, 5), "period"),
    }
    least = SequenceReplay.least_rows(
        stack, n_step, numbers["burn_in_steps"], numbers["period_steps"]
    )
    rows = data.draw(st.integers(least, 20), "rows")
    starts_at_first = data.draw(st.booleans(), "starts_at_first")
    plan = data.draw(
        st.lists(
            st.lists(st.sampled_from(EVENTS), min_size=num_envs, max_size=num_envs),
            min_size=1,
            max_size=45,
        ),
        "events",
    )
    replay = make_replay(rows, num_envs, stack=stack, n_step=n_step, **numbers)
    naive = NaiveSequences(rows, num_envs, stack, n_step, **numbers)
    episodes = Episodes(num_envs, FRAME, "uint8", starts_at_first)
    for number, events in enumerate(plan):
        row = episodes.next_row(events)
        replay.add(*row, state_before(number, num_envs))
        naive.add(row)
        expected = naive.sequences()
        pairs = replay.eligible()
        assert {(int(r), int(e)) for r, e in pairs} == set(expected)
        if not expected:
            assert number < least
            with pytest.raises(ValueError, match="no sequence to sample"):
                replay.sample(1)
            continue
        for drawn in (pairs.T, replay.draw(3)):
            sequences = [expected[int(r), int(e)] for r, e in zip(*drawn, strict=True)]
            batch = replay.gather(*drawn)
            assert_same(batch, sequences, drawn[1].tolist(), numbers["burn_in_steps"])


def corridor(
    rows: int, num_envs: int = 3, **options: Any
) -> tuple[SequenceReplay, dict[tuple[int, ...], int]]:
    """Played at random; and how often each (environment, episode, t) was a transition."""
    env = Corridor(num_envs, seed=0)
    replay = make_replay(
        300, num_envs, frame_shape=(10, 10), stack=4, **{"burn_in_steps": 4} | options
    )
    env.reset()
    generator, played = np.random.default_rng(0), {}
    for row in range(rows):
        obs, first = env.obs.copy(), env.first
        actions = generator.integers(3, size=num_envs)
        env.send(actions)
        step = env.recv()
        discount = np.where(step.terminated | step.life_lost, 0.0, 0.5).astype(np.float32)
        state = state_before(row, num_envs)
        replay.add(obs[:, -1], actions, step.reward, discount, first, ~step.first, state)
        for n in np.flatnonzero(~step.first).tolist():
            place = Corridor.place(obs[n, -1])
            assert place is not None
            played[place] = row
    return replay, played


@pytest.mark.parametrize("n_step", [1, 3])
def test_no_sequence_of_the_corridor_crosses_a_border(n_step: int) -> None:
    replay, _ = corridor(200, n_step=n_step)
    batch = replay.sample(200)
    seen_after_an_end = 0
    for b in range(200):
        places = [Corridor.place(frame) for frame in batch.obs[:, b, -1].numpy()]
        env, episode, _ = places[0]  # the burn-in's
        for t in range(4):
            at, bootstrap = 4 + t, 4 + int(batch.bootstrap[t, b])
            if not batch.learnt[t, b]:
                seen_after_an_end += places[at] is not None and places[at][:2] != (env, episode)
                continue
            assert {place[:2] for place in places[: at + 1]} == {(env, episode)}
            assert places[bootstrap][:2] == (env, episode)
            taken = places[at][2]
            length = Corridor.length_steps(env, episode)
            assert taken < length  # an action on the final observation is learnt from by none
            assert places[bootstrap][2] == min(taken + n_step, length)
    assert seen_after_an_end > 50


def test_every_transition_of_the_corridor_is_in_some_sequence() -> None:
    replay, played = corridor(200, burn_in_steps=2, n_step=2)
    batch = replay.gather(*replay.eligible().T)
    learnt = {
        Corridor.place(frame)
        for frame in batch.obs[2:6, :, -1][batch.learnt].numpy()  # (L, B) -> (rows, 10, 10)
    }
    assert learnt == {place for place, row in played.items() if row + 2 < 200}


def test_a_sequence_on_hand_numbers() -> None:
    # rows          0  1  2  3  4  5  6  7; 4 is final (its action 4 is not used), 5 a first
    replay = make_replay(n_step=2, frame_shape=(1,), period_steps=2, burn_in_steps=1)
    for k in range(8):
        replay.add(
            np.array([[k]], np.uint8),
            np.array([k]),
            np.array([2.0**k], np.float32),
            np.array([0.5], np.float32),
            np.array([k in (0, 5)]),
            np.array([k != 4]),
            state_before(k, 1),
        )
    assert replay.eligible().tolist() == [[0, 0], [1, 0], [3, 0], [5, 0]]
    batch = replay.gather(np.array([0, 3, 5]), np.zeros(3, np.int64))
    assert batch.obs[..., 0].T.tolist() == [
        [0, 0, 1, 2, 3, 4, 5],
        [2, 3, 4, 5, 6, 7, 7],  # what is not there yet is the newest row, masked out
        [5, 5, 6, 7, 7, 7, 7],
    ]
    assert batch.first.int().T.tolist() == [
        [0, 1, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0, 0],
    ]
    assert batch.learnt.int().T.tolist() == [[1, 1, 1, 1], [1, 0, 0, 0], [1, 0, 0, 0]]
    assert batch.reward[:, 0].tolist() == [1 + 1, 2 + 2, 4 + 4, 8]
    assert batch.discount[:, 0].tolist() == [0.25, 0.25, 0.25, 0.5]
    assert batch.bootstrap[:, 0].tolist() == [2, 3, 4, 4]  # the last one is the final observation
    assert batch.state[0][0, :, 0].tolist() == [0.0, 3.0, 0.0]


def test_sampling_is_uniform_over_the_sequences() -> None:
    replay = filled(53)
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


def test_sampling_ends_where_hardly_a_row_begins_a_sequence() -> None:
    replay, episodes = make_replay(3000, period_steps=2900), Episodes(1, FRAME, "uint8")
    for row in range(3000):
        replay.add(*episodes.next_row(["go"]), state_before(row, 1))
    assert replay.eligible().tolist() == [[0, 0], [3, 0], [2903, 0]]
    assert set(replay.draw(50)[0].tolist()) == {0, 3, 2903}


def test_the_same_seed_repeats_the_samples_and_another_seed_does_not() -> None:
    one, same, other = (filled(40, seed=seed).sample(16) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one[:7], same[:7], strict=True))
    assert not torch.equal(one.obs, other.obs)


def test_a_batch_has_the_documented_shapes_and_types_and_is_the_callers_own() -> None:
    replay = filled(60, stack=4, n_step=2)
    pairs = replay.draw(5)
    batch, untouched = replay.gather(*pairs), replay.gather(*pairs)
    rows = 3 + 4 + 2
    assert (batch.obs.shape, batch.obs.dtype) == ((rows, 5, 4, *FRAME), torch.uint8)
    assert (batch.first.shape, batch.first.dtype) == ((rows, 5), torch.bool)
    scalars = {"action": torch.int64, "reward": torch.float32, "discount": torch.float32}
    for name, dtype in {**scalars, "bootstrap": torch.int64, "learnt": torch.bool}.items():
        field = getattr(batch, name)
        assert (field.shape, field.dtype) == ((4, 5), dtype)
    for part in batch.state:
        assert (part.shape, part.dtype) == ((1, 5, UNITS), torch.float32)
    for field in (*batch[:7], *batch.state):
        field.fill_(1)
    again = replay.gather(*pairs)
    assert all(torch.equal(a, b) for a, b in zip(again[:7], untouched[:7], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(again.state, untouched.state, strict=True))


def test_bytes_are_known_exactly_beforehand() -> None:
    for capacity, num_envs, period in ((100, 1, 3), (103, 4, 8), (1000, 7, 40)):
        replay = SequenceReplay(
            capacity,
            num_envs,
            (5, 6),
            "uint8",
            1,
            1,
            np.random.default_rng(0),
            SequenceShape(burn_in_steps=0, sequence_steps=2, period_steps=period, lstm_units=16),
        )
        assert replay.nbytes == SequenceReplay.bytes_needed(
            capacity, num_envs, (5, 6), "uint8", lstm_units=16, period_steps=period
        )
    # 12,500 rows, 313 of which have a state: 8 environments, h and c of 512 numbers
    assert (
        SequenceReplay.bytes_needed(
            100_000, 8, (1, 84, 84), "uint8", lstm_units=512, period_steps=40
        )
        == Replay.bytes_needed(100_000, 8, (84, 84), "uint8") + 313 * 8 * 2 * 512 * 4
    )


@pytest.mark.parametrize("total", [13, 30, 47, 71])
@pytest.mark.parametrize("period", [2, 7, 12])
def test_restored_from_segments_it_goes_on_as_if_never_stopped(total: int, period: int) -> None:
    options: dict[str, Any] = {"rows": 31, "num_envs": 2, "n_step": 3, "period_steps": period}
    replay = make_replay(**options)
    episodes, generator = Episodes(2, FRAME, "uint8"), np.random.default_rng(7)
    segments = []
    bounds = [*range(0, total, 9), total]  # 9 divides neither 31 nor a period
    for start, stop in itertools.pairwise(bounds):
        extend(replay, episodes, stop - start, generator)
        replay.sample(3)
        file = io.BytesIO()
        with replay.hold_rows(start, stop) as held:
            held.write(file)
        segments.append((start, stop, file.getvalue()))
    file = io.BytesIO()
    torch.save(replay.state_dict(), file)
    file.seek(0)
    restored = make_replay(**options, seed=99)
    restored.load_state_dict(torch.load(file, weights_only=True))
    for start, stop, content in segments:
        with pytest.raises(ValueError, match="not restored yet"):
            restored.sample(1)
        read = io.BytesIO(content)
        restored.read_rows(read, start, stop)
    assert read.read() == b""

    later = np.random.default_rng(8)
    for _ in range(45):
        one, other = replay.sample(8), restored.sample(8)
        assert all(torch.equal(a, b) for a, b in zip(one[:7], other[:7], strict=True))
        assert all(torch.equal(a, b) for a, b in zip(one.state, other.state, strict=True))
        row = (*episodes.next_row(later.choice(EVENTS, size=2).tolist()), state_before(99, 2))
        replay.add(*row)
        restored.add(*row)
    assert replay.state_dict() == restored.state_dict()


def test_a_state_of_another_shape_is_refused_and_nothing_is_stored() -> None:
    replay = make_replay(num_envs=2)
    row = Episodes(2, FRAME, "uint8").next_row(["go", "go"])
    h, c = state_before(0, 2)
    for state in ((h[0], c[0]), (h, c[:, :1]), (h[..., :1], c)):
        with pytest.raises(ValueError, match=r"h and c must be \(1, 2, 2\), not"):
            replay.add(*row, state)
    assert replay.total_rows == 0


def test_a_saved_state_of_another_period_is_refused() -> None:
    with pytest.raises(ValueError, match="period_steps 2, this one has 3"):
        make_replay(period_steps=3).load_state_dict(make_replay().state_dict())


def test_a_capacity_too_small_for_a_sequence_is_refused_with_the_least_that_works() -> None:
    with pytest.raises(UsageError, match=r"a replay of 14 transitions .* need 16"):
        make_replay(7, 2, n_step=2)
    make_replay(8, 2, n_step=2)


@pytest.mark.parametrize(
    "wrong",
    [{"burn_in_steps": -1}, {"sequence_steps": 0}, {"period_steps": 0}, {"lstm_units": 0}],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        make_replay(**wrong)
