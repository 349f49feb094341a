"""The storage of on-policy learners: what comes out is what went in, from the same memory."""

import io
from typing import Any

import numpy as np
import pytest
import torch

from wnrl.rl.rollout import Rollout, RolloutBatch, shuffled

T, N, SHAPE = 4, 3, (2, 5)
EXTRAS = ("value", "log_prob")


def rows(count: int = T, dtype: str = "uint8", seed: int = 0) -> list[dict[str, Any]]:
    """Rows in which no two numbers are the same; environment 1 ends at row 1."""
    generator = np.random.default_rng(seed)
    made = []
    for k in range(count):
        numbers = 100.0 * seed + 10.0 * k + np.arange(N)
        made.append(
            {
                "obs": generator.integers(0, 255, (N, *SHAPE)).astype(dtype),
                "first": np.array([False, k == 3, False]),
                "action": generator.integers(0, 9, N),
                "reward": numbers + 0.25,
                "discount": (1 / (numbers + 2)).astype(np.float32),
                "valid": np.array([True, k != 2, True]),
                "value": torch.from_numpy(numbers + 0.5).float(),
                "log_prob": (numbers + 0.125).astype(np.float32),
            }
        )
    return made


def filled(dtype: str = "uint8", seed: int = 0) -> Rollout:
    rollout = Rollout(T, N, SHAPE, dtype, EXTRAS)
    for row in rows(dtype=dtype, seed=seed):
        rollout.add(**row)
    return rollout


def tensors(batch: RolloutBatch) -> dict[str, torch.Tensor]:
    fields = dict(zip(batch._fields, batch, strict=True))
    extras: Any = fields.pop("extras")
    return fields | extras


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_every_number_comes_out_where_it_went_in_and_in_its_type(dtype: str) -> None:
    out = tensors(filled(dtype).to("cpu"))
    expected = rows(dtype=dtype)
    assert list(out) == list(expected[0])
    types = {"obs": getattr(torch, dtype), "action": torch.int64}
    types |= {"first": torch.bool, "valid": torch.bool}
    for name, field in out.items():
        assert field.dtype == types.get(name, torch.float32)
        assert field.shape == (T, N, *(SHAPE if name == "obs" else ()))
        for k, row in enumerate(expected):
            counts = torch.from_numpy(row["valid"])
            if name in ("reward", "discount"):
                came = torch.as_tensor(row[name], dtype=field.dtype)
                assert torch.equal(field[k], torch.where(counts, came, 0.0))
            else:
                assert torch.equal(field[k], torch.as_tensor(row[name]))
    assert (out["reward"] == 0).sum() == (out["discount"] == 0).sum() == 1


def test_the_same_memory_is_filled_again_after_clear() -> None:
    rollout = filled()
    before = {name: field.data_ptr() for name, field in tensors(rollout.to("cpu")).items()}
    rollout.clear()
    assert not rollout.full
    for row in rows(seed=1):
        rollout.add(**row)
    after = tensors(rollout.to("cpu"))
    assert {name: field.data_ptr() for name, field in after.items()} == before
    assert torch.equal(after["value"], tensors(filled(seed=1).to("cpu"))["value"])


def test_on_the_cpu_nothing_is_copied() -> None:
    rollout = filled()
    first, second = (tensors(rollout.to(device)) for device in ("cpu", torch.device("cpu")))
    assert all(first[name].data_ptr() == second[name].data_ptr() for name in first)
    assert sum(field.untyped_storage().nbytes() for field in first.values()) == rollout.nbytes


def test_what_was_added_may_be_written_over() -> None:
    rollout, row = Rollout(1, N, SHAPE, "uint8", EXTRAS), rows(1)[0]
    rollout.add(**row)
    row["obs"][:], row["value"][:] = 0, 0
    batch = rollout.to("cpu")
    assert batch.obs.any()
    assert batch.extras["value"].all()


@pytest.mark.parametrize("extras", [(), ("value",), EXTRAS])
def test_bytes_needed_are_the_bytes_held(extras: tuple[str, ...]) -> None:
    # Per row and environment: 10 of uint8, an action of 8, two of 4, two of 1.
    each = 10 + 8 + 4 + 4 + 1 + 1 + 4 * len(extras)
    assert Rollout.bytes_needed(T, N, SHAPE, "uint8", extras) == T * N * each
    assert Rollout.bytes_needed(T, N, SHAPE, "float32", extras) == T * N * (each + 30)
    for dtype in ("uint8", "float32"):
        held = Rollout(T, N, SHAPE, dtype, extras).nbytes
        assert held == Rollout.bytes_needed(T, N, SHAPE, dtype, extras)


def test_observations_are_kept_on_the_device_that_learns() -> None:
    """`meta` stands for a GPU, of which a row's observations arrive as a tensor."""
    rollout = Rollout(T, N, SHAPE, "uint8", EXTRAS, device="meta")
    for k, row in enumerate(rows()):
        obs = torch.from_numpy(row["obs"]).to("meta") if k else row["obs"][:, ::-1]
        rollout.add(**{**row, "obs": obs})
    assert rollout.full
    fields = rollout.state_dict()["fields"]
    assert [name for name, x in fields.items() if x.is_meta] == ["obs"]
    assert all(x.is_meta for x in tensors(rollout.to("meta")).values())


@pytest.mark.parametrize("stopped", range(T + 1))
def test_saved_and_loaded_goes_on_as_if_never_stopped(stopped: int) -> None:
    rollout = filled(seed=1)  # what an earlier round left behind is no part of the state
    rollout.clear()
    for row in rows()[:stopped]:
        rollout.add(**row)
    buffer = io.BytesIO()
    torch.save(rollout.state_dict(), buffer)
    rollout.clear()
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    assert all(len(field) == stopped for field in state["fields"].values())
    other = Rollout(T, N, SHAPE, "uint8", EXTRAS)
    other.load_state_dict(state)
    assert other.filled_rows == stopped
    for row in rows()[stopped:]:
        other.add(**row)
    expected = tensors(filled().to("cpu"))
    assert all(torch.equal(x, expected[name]) for name, x in tensors(other.to("cpu")).items())


def test_saved_extras_keep_the_names_of_old_checkpoints() -> None:
    fields = filled().state_dict()["fields"]
    assert list(fields)[-2:] == ["kept.value", "kept.log_prob"]


def test_a_state_holds_the_filled_rows_only_and_no_view_of_the_memory() -> None:
    rollout = Rollout(1000, N, SHAPE, "uint8", EXTRAS)
    rollout.add(**rows(1)[0])
    state = rollout.state_dict()
    buffer = io.BytesIO()
    torch.save(state, buffer)
    assert buffer.tell() < rollout.nbytes / 10
    rollout.clear()
    rollout.add(**rows(1, seed=1)[0])
    assert state["fields"]["reward"].tolist() == [[0.25, 1.25, 2.25]]


@pytest.mark.parametrize(
    "other",
    [
        (T + 1, N, SHAPE, "uint8", EXTRAS),
        (T, N + 1, SHAPE, "uint8", EXTRAS),
        (T, N, (5, 2), "uint8", EXTRAS),
        (T, N, SHAPE, "float32", EXTRAS),
        (T, N, SHAPE, "uint8", ("value",)),
    ],
)
def test_a_state_of_another_rollout_is_refused(other: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="the state is of a rollout of 4 steps"):
        Rollout(*other).load_state_dict(filled().state_dict())


def test_a_full_rollout_takes_no_more_and_one_that_is_not_gives_nothing() -> None:
    rollout = filled()
    assert rollout.full
    with pytest.raises(ValueError, match="full with 4 rows: learn from it and clear it first"):
        rollout.add(**rows(1)[0])
    rollout.clear()
    rollout.add(**rows(1)[0])
    with pytest.raises(ValueError, match="has 1 of its 4 rows"):
        rollout.to("cpu")


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("obs", np.zeros((N, 5, 2), np.uint8), ValueError, r"obs must be \(3, 2, 5\)"),
        ("obs", np.zeros(SHAPE, np.uint8), ValueError, r"obs must be \(3, 2, 5\)"),
        ("obs", np.zeros((N, *SHAPE), np.float32), TypeError, r"obs must be torch\.uint8"),
        ("obs", torch.zeros(N, *SHAPE), TypeError, r"obs must be torch\.uint8"),
        ("obs", np.full((N, *SHAPE), 300), TypeError, r"obs must be torch\.uint8"),
        ("obs", torch.full((N, *SHAPE), 300), TypeError, r"obs must be torch\.uint8"),
        ("first", np.zeros(N), TypeError, "first must be"),
        ("action", np.zeros(N), TypeError, "action must be"),
        ("action", np.zeros((N, 1), np.int64), ValueError, "action must be"),
        ("reward", np.zeros(1), ValueError, "reward must be"),
        ("discount", np.zeros((N, 1)), ValueError, "discount must be"),
        ("valid", np.ones(N, np.int64), TypeError, "valid must be"),
        ("valid", np.array(True), ValueError, "valid must be"),
        ("value", torch.zeros(N, 1), ValueError, "value must be"),
        ("value", torch.zeros(N, dtype=torch.complex64), TypeError, "value must be"),
    ],
)
def test_a_row_of_another_shape_or_type_is_refused_and_not_counted(
    name: str, value: Any, error: type[Exception], message: str
) -> None:
    rollout = Rollout(T, N, SHAPE, "uint8", EXTRAS)
    with pytest.raises(error, match=message):
        rollout.add(**(rows(1)[0] | {name: value}))
    assert rollout.filled_rows == 0


@pytest.mark.parametrize("names", [("value",), ("value", "log_prob", "more"), ("value", "logprob")])
def test_what_is_kept_must_be_what_was_declared(names: tuple[str, ...]) -> None:
    row = rows(1)[0]
    for name in EXTRAS:
        del row[name]
    with pytest.raises(ValueError, match=r"extras must be \['log_prob', 'value'\], not"):
        Rollout(T, N, SHAPE, "uint8", EXTRAS).add(**row, **dict.fromkeys(names, np.zeros(N)))


@pytest.mark.parametrize(("k", "first"), [(1, True), (3, False)])
def test_episodes_begin_right_after_a_row_that_is_not_valid(k: int, first: bool) -> None:
    rollout, wrong = Rollout(T, N, SHAPE, "uint8", EXTRAS), rows()
    wrong[k]["first"][1] = first
    for row in wrong[:k]:
        rollout.add(**row)
    with pytest.raises(ValueError, match=rf"environments \[1\] at row {k}"):
        rollout.add(**wrong[k])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, N, SHAPE, "uint8"), "must be at least 1, not 0, 3"),
        ((T, 0, SHAPE, "uint8"), "must be at least 1, not 4, 0"),
        ((T, N, (2, 0), "uint8"), "must be at least 1"),
        ((T, N, SHAPE, "float64"), "must be 'uint8' or 'float32', not 'float64'"),
    ],
)
def test_a_rollout_that_cannot_be_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rollout(*arguments)


def test_flat_rows_are_numbered_step_by_step_and_taken_by_number() -> None:
    batch = filled().to("cpu")
    flat = batch.flat()
    assert flat.obs.data_ptr() == batch.obs.data_ptr()
    taken = flat.take(torch.tensor([7, 0, 7]))  # 7 is row 2 of environment 1
    for name, field in tensors(taken).items():
        whole = tensors(batch)[name]
        assert torch.equal(field, torch.stack([whole[2, 1], whole[0, 0], whole[2, 1]]))


def test_environments_are_taken_whole() -> None:
    batch = filled().to("cpu")
    some = batch.envs(torch.tensor([2, 0]))
    for name, field in tensors(some).items():
        whole = tensors(batch)[name]
        assert torch.equal(field, torch.stack([whole[:, 2], whole[:, 0]], dim=1))


def test_batches_know_whether_they_are_flat() -> None:
    batch, index = filled().to("cpu"), torch.tensor([0])
    with pytest.raises(ValueError, match=r"must be \(T, N, \.\.\.\): its rows are \(12,\)"):
        batch.flat().flat()
    with pytest.raises(ValueError, match=r"must be \(T, N, \.\.\.\): its rows are \(12,\)"):
        batch.flat().envs(index)
    with pytest.raises(ValueError, match=r"must be flat, \(B, \.\.\.\): its rows are \(4, 3\)"):
        batch.take(index)


@pytest.mark.parametrize(("count", "parts"), [(12, 4), (12, 12), (7, 1), (4096, 32)])
def test_shuffled_parts_hold_everything_once_and_are_of_one_size(count: int, parts: int) -> None:
    made = shuffled(count, parts, np.random.default_rng(0))
    assert made.shape == (parts, count // parts)
    assert made.dtype == torch.int64
    assert made.flatten().sort().values.tolist() == list(range(count))


def test_a_permutation_goes_to_the_device_as_a_whole() -> None:
    parts = shuffled(10, 2, np.random.default_rng(0), "meta")
    assert (parts.device.type, parts.shape) == ("meta", (2, 5))


def test_the_order_is_the_generators() -> None:
    def order(generator: np.random.Generator) -> list[int]:
        return shuffled(50, 5, generator).flatten().tolist()

    generator = np.random.default_rng(0)
    first, second = order(generator), order(generator)
    assert first == order(np.random.default_rng(0))
    assert first != second
    assert first != list(range(50))


@pytest.mark.parametrize("parts", [0, 3, 5])
def test_parts_that_are_empty_or_unequal_are_refused(parts: int) -> None:
    with pytest.raises(ValueError, match=f"parts must divide 4, and {parts} does not"):
        shuffled(4, parts, np.random.default_rng(0))
