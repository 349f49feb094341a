"""Memory that runs out, in a real process whose memory is limited."""

import errno
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from command_processes import CommandProcess, limit_memory

from wnrl.config import make_config
from wnrl.train.faults.out_of_memory import is_out_of_memory, what_to_lower
from wnrl.train.storage.checkpoint import Checkpoints
from wnrl.train.storage.run_status import RunState, read_status


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on memory")
def test_a_run_without_memory_says_what_to_lower_and_keeps_its_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["--env=toy/Catch", "--no-calibrate", "--eval-every-steps=0", "--steps=1000"]
    arguments += ["--warmup-steps=200", "--checkpoint-every-steps=100", "--hidden=4096"]
    arguments += ["--update-period-steps=20", "--histogram-every-steps=0", f"--run-dir={run}"]
    process = CommandProcess(
        "train", *arguments, folder=tmp_path, before=limit_memory, MORE_BYTES="750_000_000"
    )
    assert process.wait() == 1
    line = process.err.splitlines()[-1]
    assert line.startswith("wnrl.train: out of memory")
    assert "; lower --buffer-size, --batch-size or --num-envs; " in line
    saved = Checkpoints(run).latest()
    assert saved is not None
    assert line.endswith(f"continues from the checkpoint of agent step {saved.step:,}")
    assert "Traceback" not in process.err
    assert read_status(run).state is RunState.FAILED


def test_every_way_to_say_it_is_known_and_nothing_else() -> None:
    def fails(too_much: int) -> list[BaseException]:
        errors: list[BaseException] = []
        for make in (np.empty, torch.empty, lambda size: bytearray(8 * size)):
            try:
                make(too_much)
            except (MemoryError, RuntimeError) as error:
                errors.append(error)
        return errors

    errors = fails(2**50)
    assert len(errors) == 3
    assert all(is_out_of_memory(error) for error in errors)
    assert is_out_of_memory(OSError(errno.ENOMEM, "Cannot allocate memory"))
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(OSError(errno.ENOSPC, "No space left on device"))


def test_what_to_lower_depends_on_the_agent() -> None:
    assert what_to_lower(make_config(agent="dqn")) == "--buffer-size, --batch-size or --num-envs"
    ppo = what_to_lower(make_config(agent="ppo"))
    assert "--rollout-steps" in ppo
    assert "--buffer-size" not in ppo
