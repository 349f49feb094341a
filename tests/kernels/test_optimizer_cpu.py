"""The compiled step on CPUs: threads, layouts, types, forks and rows that need care.

That it walks torch's trajectory is in tests/optim.
"""

import copy
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numba
import pytest
import torch
from torch import nn
from trajectories import RULES

from wnrl.kernels import optimizer_aten, optimizer_cpu, optimizer_numba
from wnrl.kernels.compiled import in_threads
from wnrl.optim.weight_norm import WNAdam, WNRAdam

SHAPES = [(16, 3, 8, 8), (300, 700), (7, 5), (1, 2_049), (40_000,), (3,)]
SAME_32 = 1e-5


@pytest.fixture(autouse=True)
def numba_step(choose_backend: Callable[[str], None]) -> None:
    choose_backend("numba")


@pytest.fixture
def threads() -> Iterator[None]:
    """Put torch's number of threads back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def walked(
    rule: str, steps: int = 3, max_norm: float | None = None, dtype: torch.dtype = torch.float32
) -> tuple[list[nn.Parameter], Any]:
    """Return parameters and their optimizer after some steps with random gradients."""
    generator = torch.Generator().manual_seed(1)
    weights = [nn.Parameter(torch.randn(s, generator=generator).to(dtype)) for s in SHAPES]
    optimizer = RULES[rule][0](weights, max_norm=max_norm)
    for _ in range(steps):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator).to(dtype)
        optimizer.step()
    return weights, optimizer


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("max_norm", [None, 0.5])
@pytest.mark.parametrize("rule", ["adam", "radam"])
def test_results_do_not_depend_on_the_number_of_threads(
    rule: str, max_norm: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimizer_cpu, "LEAST_ELEMENTS", 1_000)
    torch.set_num_threads(1)
    weights, optimizer = walked(rule, max_norm=max_norm)
    for count in (2, 3, 7):
        torch.set_num_threads(count)
        others, other = walked(rule, max_norm=max_norm)
        assert all(map(torch.equal, weights, others))
        assert max_norm is None or torch.equal(optimizer.grad_norm, other.grad_norm)
        states = zip(optimizer.state.values(), other.state.values(), strict=True)
        assert all(torch.equal(a[name], b[name]) for a, b in states for name in a)


def test_each_thread_has_its_share_and_every_row_is_stepped_once() -> None:
    sizes = ((9 * 30_000, 9), (40_000, 3), (2 * 9, 2))  # elements, and rows or blocks
    for threads in (1, 2, 3, 4):
        work = optimizer_cpu._divided(sizes, threads)
        assert len(work) == threads
        for target, rows in enumerate((9, 3, 2)):
            parts = [part for parts in work for part in parts if part.target == target]
            assert [row for x in parts for row in range(x.start, x.stop)] == list(range(rows))
        elements = (30_000, 40_000 / 3, 9)
        loads = [sum((x.stop - x.start) * elements[x.target] for x in parts) for parts in work]
        assert max(loads) - min(loads) <= 2 * 30_000
    assert len(optimizer_cpu._divided(sizes[2:], 4)) == 1  # too little for a second thread


@pytest.mark.parametrize("max_norm", [None, float("inf"), 0.5])
@pytest.mark.parametrize("rule", RULES)
def test_it_steps_as_aten_does(
    rule: str, max_norm: float | None, choose_backend: Callable[[str], None]
) -> None:
    weights, optimizer = walked(rule, 8, max_norm)
    choose_backend("aten")
    others, expected = walked(rule, 8, max_norm)
    assert torch.allclose(optimizer.grad_norm, expected.grad_norm, equal_nan=True)
    for mine, theirs in zip(weights, others, strict=True):
        assert torch.allclose(mine, theirs, rtol=SAME_32, atol=SAME_32)
        assert optimizer.state[mine].keys() == expected.state[theirs].keys()
        for name, value in optimizer.state[mine].items():
            assert torch.allclose(value, expected.state[theirs][name], rtol=1e-3, atol=1e-4), name


@pytest.mark.parametrize("rule", RULES)
def test_a_row_keeps_its_bits_where_nothing_is_learned(rule: str) -> None:
    weights, optimizer = walked(rule, 0)
    before = copy.deepcopy(weights)
    for _ in range(3):
        for weight in weights:
            weight.grad = torch.zeros_like(weight)
        optimizer.step()
    assert all(map(torch.equal, weights, before))
    optimizer.param_groups[0]["lr"] = 0.0
    norms = [optimizer.state[weight].get("norm") for weight in weights]
    norms = [None if norm is None else norm.clone() for norm in norms]
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    optimizer.step()
    assert all(map(torch.equal, weights, before))
    for weight, norm in zip(weights, norms, strict=True):
        assert norm is None or torch.equal(optimizer.state[weight]["norm"], norm)


def test_weights_in_channels_last_step_like_contiguous_ones() -> None:
    generator = torch.Generator().manual_seed(3)
    plain = nn.Parameter(torch.randn(6, 4, 3, 3, generator=generator))
    other = nn.Parameter(plain.detach().clone().contiguous(memory_format=torch.channels_last))
    optimizers = [WNAdam([weight], 0.1, max_norm=1.0) for weight in (plain, other)]
    for _ in range(4):
        plain.grad = torch.randn(plain.shape, generator=generator)
        other.grad = plain.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert other.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(plain, other, rtol=SAME_32, atol=SAME_32)


def test_bfloat16_weights_follow_a_float32_master(choose_backend: Callable[[str], None]) -> None:
    weights, optimizer = walked("adam", 5, 0.5, torch.bfloat16)
    choose_backend("aten")
    others, expected = walked("adam", 5, 0.5, torch.bfloat16)
    for mine, theirs in zip(weights, others, strict=True):
        master = optimizer.state[mine]["master"]
        assert torch.equal(mine, master.bfloat16())
        assert torch.allclose(master, expected.state[theirs]["master"], rtol=1e-4, atol=1e-4)


def test_weights_and_state_that_move_in_memory_are_found_again() -> None:
    weight = nn.Parameter(torch.randn(4, 6, generator=torch.Generator().manual_seed(5)))
    moved = nn.Parameter(weight.detach().clone())
    optimizer, other = WNAdam([weight], 0.1), WNAdam([moved], 0.1)
    for _ in range(3):
        weight.grad, moved.grad = torch.ones_like(weight), torch.ones_like(moved)
        optimizer.step()
        other.step()
        moved.data = moved.data.clone()
        other.load_state_dict(copy.deepcopy(other.state_dict()))
    assert torch.equal(weight, moved)


def test_nan_gradients_are_not_hidden_by_clipping() -> None:
    weight, other = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(3))
    weight.grad, other.grad = torch.full((2, 3), float("nan")), torch.ones(3)
    optimizer = WNAdam([weight, other], 0.1, max_norm=1.0)
    optimizer.step()
    assert optimizer.grad_norm.isnan()
    assert weight.isnan().all()
    assert other.isnan().all()  # as with clip_grad_norm_


def test_what_the_compiled_step_does_not_take_goes_to_aten(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    step = optimizer_aten.step
    monkeypatch.setattr(optimizer_aten, "step", lambda *args: called.append(1) or step(*args))
    weight = nn.Parameter(torch.ones(2, 3))
    weight.grad = torch.ones(2, 3)
    optimizer = WNAdam([weight])
    optimizer.step()
    assert not called
    empty = nn.Parameter(torch.ones(0))
    empty.grad = torch.ones(0)
    WNAdam([empty]).step()
    assert called == [1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # a fork next to threads
@pytest.mark.usefixtures("threads")
def test_a_fork_of_a_process_that_has_stepped_steps_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizer_cpu, "LEAST_ELEMENTS", 1_000)
    torch.set_num_threads(1)  # torch's own threads do not survive a fork
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    weights, _ = walked("radam")
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # a hang ends it
        try:
            mine = [weight.detach().clone().requires_grad_() for weight in weights]
            optimizer = WNRAdam([nn.Parameter(weight) for weight in mine])
            for parameter in optimizer.param_groups[0]["params"]:
                parameter.grad = torch.ones_like(parameter)
            optimizer.step()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_an_error_in_a_thread_is_raised() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_threads([lambda: None, fail])


def test_after_preparing_the_first_step_compiles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    called: set[tuple[object, ...]] = set()  # functions with the types of their arguments

    def noting(name: str, function: Callable[..., None]) -> Callable[..., None]:
        def noted(*arguments: Any) -> None:
            called.add((name, *map(numba.typeof, arguments)))
            function(*arguments)

        return noted

    for name in ("step_rows", "step_blocks", "measure_rows", "measure_blocks"):
        function = getattr(optimizer_numba, name)
        monkeypatch.setattr(optimizer_numba, name, noting(name, function))
    WNAdam([nn.Parameter(torch.ones(2, 3))]).prepare()
    prepared = set(called)
    assert len(prepared) == 4
    for rule in RULES:
        walked(rule, 1, 0.5)
        walked(rule, 1)
    assert called == prepared
