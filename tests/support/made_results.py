"""Results of runs that were never run, for tests of the report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wnrl.config import make_config
from wnrl.report.run_result import Result

STEPS = 1_000


def made_result(
    returns: Sequence[float],
    *,
    done_steps: int = STEPS,
    evaluations: Sequence[float] = (),
    act_ms: float | None = None,
    update_ms: float | None = None,
    wall_s: float | None = None,
    machine: str = "cpu x86_64, 1 thread",
    **given: Any,
) -> Result:
    """Return a run whose episodes end at equal distances, the last at its last step."""
    config = make_config({"env": "Breakout", "norm": "none", "steps": STEPS, "threads": 1, **given})
    run = config.run
    return Result(
        folder=Path(f"{run.env}-{config.name}-{run.seed}"),
        config=config,
        agent_steps=done_steps,
        episode_steps=np.floor(np.linspace(0.0, done_steps, len(returns) + 1)[1:]),
        returns=np.array(returns, dtype=np.float64),
        evaluation_steps=np.arange(1.0, 1 + len(evaluations)),
        evaluations=np.array(evaluations, dtype=np.float64),
        act_ms=act_ms,
        update_ms=update_ms,
        wall_s=wall_s,
        machine=machine,
        commits=("abc",),
        versions={"torch": "2.13"},
    )
