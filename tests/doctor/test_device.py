"""A device name resolves to one device, or to an error that lists the devices."""

import pytest
import torch

from wnrl._settings import UsageError
from wnrl.doctor.device import resolve_device


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
