"""DistributedDataParallel with two processes on this machine: every layer type, both storages.

Each process is this file as a script: it asserts what it sees.
"""

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from wnrl.nn.weight_norm.layers import WNConv2d, WNLinear, weight_norm_groups
from wnrl.nn.weight_norm.lstm import WNLSTM
from wnrl.optim.weight_norm import WNAdam

WORLD = 2
UPDATES = 3
ROUNDING_32 = 1e-4  # three steps of Adam on gradients summed in two orders

LAYERS: dict[str, tuple[Callable[[str], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda storage: WNLinear(4, 3, storage=storage), (4,)),
    "conv": (lambda storage: WNConv2d(2, 3, 3, storage=storage), (2, 4, 4)),
    "lstm": (lambda storage: WNLSTM(4, 3, batch_first=True, storage=storage), (5, 4)),
}


@pytest.mark.slow  # starts processes
def test_two_processes_average_gradients_and_stay_identical(tmp_path: Path) -> None:
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    arguments = [sys.executable, __file__, str(tmp_path / "store")]
    processes = [
        subprocess.Popen([*arguments, str(rank)], env=environment, stderr=subprocess.PIPE)
        for rank in range(WORLD)
    ]
    errors = [process.communicate(timeout=120)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * WORLD, errors


def optimizer_of(layer: nn.Module, storage: str) -> torch.optim.Optimizer:
    if storage == "w":
        return WNAdam(weight_norm_groups(layer), 0.05)
    return torch.optim.Adam(layer.parameters(), 0.05)


def loss(layer: nn.Module, x: Tensor) -> Tensor:
    y = layer(x)
    y = y[0] if isinstance(y, tuple) else y
    return y.square().mean() - y.mean()


def same_on_every_rank(tensor: Tensor) -> bool:
    gathered = [torch.empty_like(tensor) for _ in range(WORLD)]
    torch.distributed.all_gather(gathered, tensor.contiguous())
    return all(torch.equal(gathered[0], other) for other in gathered)


def train(rank: int, kind: str, storage: str) -> None:
    make, shape = LAYERS[kind]
    torch.manual_seed(rank)  # each starts elsewhere: DDP gives all of them the weights of rank 0
    layer = make(storage)
    parallel = nn.parallel.DistributedDataParallel(layer)
    alone = copy.deepcopy(layer)
    optimizer, expected = optimizer_of(layer, storage), optimizer_of(alone, storage)
    for update in range(UPDATES):
        shares = torch.randn(WORLD, 6, *shape, generator=torch.Generator().manual_seed(update))
        local = torch.autograd.grad(loss(layer, shares[rank]), list(layer.parameters()))
        optimizer.zero_grad()
        loss(parallel, shares[rank]).backward()
        for parameter, own in zip(layer.parameters(), local, strict=True):
            torch.distributed.all_reduce(own)
            assert parameter.grad is not None
            assert torch.allclose(parameter.grad, own / WORLD, rtol=1e-5, atol=1e-7)
        optimizer.step()
        expected.zero_grad()
        loss(alone, shares.flatten(0, 1)).backward()  # the whole batch in one process
        expected.step()
    for mine, theirs in zip(layer.parameters(), alone.parameters(), strict=True):
        assert same_on_every_rank(mine.detach())
        assert torch.allclose(mine, theirs, rtol=ROUNDING_32, atol=ROUNDING_32)
        assert all(same_on_every_rank(value) for value in optimizer.state[mine].values())


if __name__ == "__main__":
    store, own_rank = torch.distributed.FileStore(sys.argv[1], WORLD), int(sys.argv[2])
    torch.distributed.init_process_group("gloo", store=store, rank=own_rank, world_size=WORLD)
    for layer_kind in LAYERS:
        for layer_storage in ("gv", "w"):
            train(own_rank, layer_kind, layer_storage)
    torch.distributed.barrier()  # one that leaves early ends the other's threads with an abort
    torch.distributed.destroy_process_group()
