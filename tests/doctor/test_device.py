"""A device name resolves to one device, or to an error that lists the devices."""

import pytest
import torch

from wnrl._settings import UsageError
from wnrl.doctor.device import resolve_device, shared_gpus


def with_cuda_devices(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("name", "count", "device"),
    [
        ("auto", 0, "cpu"),
        ("auto", 2, "cuda:0"),
        ("cpu", 2, "cpu"),
        ("cuda", 2, "cuda:0"),
        ("cuda:1", 2, "cuda:1"),
    ],
)
def test_a_name_means_a_device(
    monkeypatch: pytest.MonkeyPatch, name: str, count: int, device: str
) -> None:
    with_cuda_devices(monkeypatch, count)
    assert str(resolve_device(name)) == device


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("cuda", 0, "device 'cuda' is not available: torch sees no CUDA device; use auto or cpu"),
        ("cuda:2", 2, "torch sees cuda:0 to cuda:1"),
        ("gpu", 1, "'gpu' is unknown; use auto, cpu, cuda or cuda:<number>"),
        ("cuda:", 1, "'cuda:' is unknown"),
        ("CPU", 1, "'CPU' is unknown"),
    ],
)
def test_a_device_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, count: int, message: str
) -> None:
    with_cuda_devices(monkeypatch, count)
    with pytest.raises(UsageError, match=message):
        resolve_device(name)


@pytest.mark.parametrize(
    ("name", "visible", "gpus"),
    [
        ("auto", "", ["0", "1"]),
        ("cuda", "3, 5", ["3", "5"]),
        ("cuda", "3,5,9", ["3", "5"]),  # torch sees only two: the third does not work
        ("cuda:1", "", []),
        ("cpu", "", []),
    ],
)
def test_runs_are_spread_over_the_gpus_that_torch_sees(
    name: str, visible: str, gpus: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cuda_devices(monkeypatch, 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert shared_gpus(name) == gpus


def test_without_a_gpu_nothing_is_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    with_cuda_devices(monkeypatch, 0)
    assert shared_gpus("auto") == []
