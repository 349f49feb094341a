"""Weights & Biases: a run's scalars over agent steps, offline unless its user set it up otherwise.

This module imports the extra `wandb`, so import it only where it is used.
"""

import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests
import wandb

from wnrl.train.tracking.record import Point, TrackedRun
from wnrl.train.video.clip import TAG

_STEP = "agent_steps"
_PROJECT = "wnrl"  # unless WANDB_PROJECT names another
_SERVER = "https://api.wandb.ai"
_OPEN_S = 20.0  # a server has this time to answer; the run waits for it


def open_run(run: TrackedRun) -> "WandbRun":
    """Open a run. Without an account on this machine, and without WANDB_MODE, it stays here."""
    return WandbRun(
        wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=run.name,
            group=run.group or None,
            config=dict(run.config),
            id=run.id or uuid.uuid4().hex[:8],
            resume="allow",
            mode=None if "WANDB_MODE" in os.environ or _has_account() else "offline",
            # The run's output and signals stay its own.
            settings=wandb.Settings(console="off", silent=True, init_timeout=_OPEN_S),
        )
    )


def _has_account() -> bool:
    """Return whether the user gave a key: in the environment, or with `wandb login`."""
    server = os.environ.get("WANDB_BASE_URL", _SERVER)
    return "WANDB_API_KEY" in os.environ or requests.utils.get_netrc_auth(server) is not None


class WandbRun:
    """An open run; a `Tracker`."""

    def __init__(self, run: Any) -> None:
        self._run = run
        # wandb's own step cannot go back and holds one value of a tag, so it is not the x axis.
        run.define_metric(_STEP, hidden=True)
        run.define_metric("*", step_metric=_STEP)

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self._run.id)

    @property
    def place(self) -> str:
        """Its address, or the folder that `wandb sync` sends."""
        return str(Path(self._run.dir).parent if self._run.offline else self._run.url)

    def log(self, points: Sequence[Point]) -> None:
        """Write a row for each point."""
        for point in points:
            self._run.log({_STEP: point.agent_step, **point.values})

    def attach(self, path: Path) -> None:
        """Show an HTML file in the run."""
        self._run.log({path.stem: wandb.Html(path, inject=False)})

    def clip(self, agent_step: int, path: Path) -> None:
        """Show a GIF."""
        self._run.log({_STEP: agent_step, TAG: wandb.Video(path, format="gif")})

    def close(self, *, failed: bool) -> None:
        """End the run."""
        self._run.finish(exit_code=int(failed))
