"""Images of bytes become scaled floats in channels_last, to the same bits by every way."""

import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from wnrl.kernels import pixels
from wnrl.kernels.pixels import scaled


@pytest.fixture
def one_passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """List the shapes that go through the compiled pass."""
    shapes: list[tuple[int, ...]] = []
    one_pass = pixels._scaled_in_one_pass

    def noting(images: Tensor) -> Tensor:
        shapes.append(tuple(images.shape))
        return one_pass(images)

    monkeypatch.setattr(pixels, "_scaled_in_one_pass", noting)
    return shapes


def images(*shape: int) -> Tensor:
    return torch.randint(
        0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


@pytest.mark.parametrize("shape", [(32, 4, 84, 84), (3, 4, 37, 41), (1, 4, 36, 36), (0, 4, 84, 84)])
def test_the_compiled_pass_has_the_bits_of_torch(
    shape: tuple[int, ...], choose_backend: Callable[[str], None], one_passes: list[tuple[int, ...]]
) -> None:
    stacks = images(*shape)
    choose_backend("numba")
    compiled = scaled(stacks)
    assert one_passes == [shape]
    choose_backend("aten")
    plain = scaled(stacks)
    assert one_passes == [shape]
    for result in (compiled, plain):
        assert torch.equal(result, stacks.float() / 255)
        assert result.dtype == torch.float32
        assert result.is_contiguous(memory_format=torch.channels_last)


def test_every_byte_is_divided_as_torch_divides_it(choose_backend: Callable[[str], None]) -> None:
    choose_backend("numba")
    every_byte = torch.arange(256, dtype=torch.uint8).expand(1, 4, 256).reshape(1, 4, 16, 16)
    assert torch.equal(scaled(every_byte), every_byte.float() / 255)


def test_threads_share_the_images(
    choose_backend: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    choose_backend("numba")
    stacks, sizes = images(7, 4, 36, 36), []
    monkeypatch.setattr(pixels, "LEAST_BYTES", 1)
    in_threads = pixels.in_threads

    def noting(calls: list[Callable[[], None]]) -> None:
        sizes.append(len(calls))
        in_threads(calls)

    monkeypatch.setattr(pixels, "in_threads", noting)
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        assert torch.equal(scaled(stacks), stacks.float() / 255)
    assert sizes == [1, 2, 3]


@pytest.mark.parametrize(
    "stacks",
    [
        images(2, 3, 40, 40),
        images(2, 1, 40, 40),
        images(2, 4, 40, 80)[..., ::2],
        images(2, 40, 40, 4).permute(0, 3, 1, 2),
    ],
    ids=["three channels", "one channel", "every other column", "channels last"],
)
def test_other_images_take_torch(
    stacks: Tensor, choose_backend: Callable[[str], None], one_passes: list[tuple[int, ...]]
) -> None:
    choose_backend("numba")
    result = scaled(stacks)
    assert torch.equal(result, stacks.float() / 255)
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert one_passes == []


@pytest.mark.filterwarnings("ignore:.torch.jit.trace. is deprecated:DeprecationWarning")
def test_traced_fake_and_mapped_images_take_torch(
    choose_backend: Callable[[str], None], one_passes: list[tuple[int, ...]]
) -> None:
    choose_backend("numba")
    stacks, others = images(2, 4, 36, 36), images(2, 4, 36, 36).flip(0)
    traced = torch.jit.trace(scaled, stacks, check_trace=False)  # type: ignore[no-untyped-call]  # torch
    assert torch.equal(traced(others), others.float() / 255)
    mapped = torch.func.vmap(lambda x: scaled(x[None])[0])(stacks)
    assert torch.equal(mapped, stacks.float() / 255)
    with FakeTensorMode() as mode:
        assert scaled(mode.from_tensor(stacks)).shape == stacks.shape
    assert one_passes == []


def test_a_forked_process_has_its_own_threads(
    choose_backend: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    choose_backend("numba")
    monkeypatch.setattr(pixels, "LEAST_BYTES", 1)
    torch.set_num_threads(2)
    stacks = images(4, 4, 36, 36)
    scaled(stacks)  # starts threads, which do not survive a fork
    if (child := os.fork()) == 0:
        os._exit(0 if torch.equal(scaled(stacks), stacks.float() / 255) else 1)
    assert os.waitpid(child, 0)[1] == 0
