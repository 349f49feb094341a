"""The demo: train without and with weight normalization, play, draw, and say what to try next."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from wnrl._settings import UsageError
from wnrl.compare.demo.cart_pole import BEST_STEPS, Play, pictures
from wnrl.config import Config, make_config
from wnrl.envs.vector import Flags, Observations, Recording
from wnrl.evaluate.evaluation import evaluate_run
from wnrl.evaluate.video import write_video
from wnrl.report.figures.image_files import save
from wnrl.report.figures.style import drawing
from wnrl.report.plot.figure import by_environment, read_runs, sheet_of
from wnrl.train.exit_codes import ExitCode
from wnrl.train.foreign_text import quoted, visible
from wnrl.train.process import training
from wnrl.train.process.stop_signals import StopSignals
from wnrl.train.storage.atomic_files import storage_errors
from wnrl.train.storage.run_folder import CURVE, RunDirectory

ENV, STEPS = "CartPole-v1", 50_000
NORMS = {"none": "no normalization", "weight": "weight normalization"}  # and what to call them
GAMES, RANDOM_GAMES = 16, 160  # of each agent; 8 are played at a time, and random ones are short
SHOWN_STEPS, EVERY, STEPS_PER_S = 300, 2, 50  # in the video; 50 steps per second is real time
ONE_RUN = "One run each: this shows that both learn, not which normalization is better."

NEXT = {  # what to try: the command
    "play Atari": "python -m wnrl.train --env Breakout --preset fast --steps 150_000",
    "compare": "python -m wnrl.compare --env CartPole-v1 --agent ppo --norm none weight layer "
    "--seeds 3 --steps 30_000 --out runs/first",
    "read": "runs/first/report.html, which that comparison writes; open it in a browser",
    "in SB3": 'python -c "from stable_baselines3 import PPO; from wnrl.sb3 import '
    "WNActorCriticMlpPolicy; PPO(WNActorCriticMlpPolicy, 'CartPole-v1', verbose=1).learn(20_000)\"",
}


def show(folder: Path, signals: StopSignals, *, overwrite: bool, steps: int = STEPS) -> int:
    """Run the demo; return the exit code.

    Args:
        folder: for a folder of each run, `curve.png` and `play.gif`.
        signals: installed; the first one ends the training with a checkpoint.
        overwrite: replace a demo that is in the folder.
        steps: agent steps of each run.

    Raises:
        UsageError: the folder holds a demo, or cannot be used.
        StorageError: a picture cannot be written.
    """
    _claim(folder, overwrite)
    again = f"`wnrl demo {quoted(folder)} --overwrite` starts again"
    print(
        f"Two agents learn to balance a pole on a cart ({ENV}), one after the other. A game ends\n"
        f"when the pole falls or after {BEST_STEPS} steps. The return is the number of steps."
    )
    for place, (norm, name) in enumerate(NORMS.items(), start=1):
        print(f"\n{place} of {len(NORMS)}: PPO with {name}, {steps:,} steps", flush=True)
        config = _config(folder, norm, steps)
        exit_code = training.start(config, signals, overwrite, say=lambda line: None)
        if exit_code != ExitCode.DONE:
            print(f"the demo is not complete; {again}", flush=True)
            return exit_code
        signals.last_line = f"wnrl.demo: stopped; {again}"
    print(f"\nNow each plays {GAMES} games. How long the pole stays up, on average:", flush=True)
    plays = [_play("before: random pushes", folder / "none", RANDOM_GAMES, epsilon=1.0)]
    for norm, name in NORMS.items():
        plays.append(_play(f"after: {name}", folder / norm, GAMES, epsilon=0.0))
    shown = Recording(pictures(plays, SHOWN_STEPS, EVERY), STEPS_PER_S / EVERY)
    write_video(folder / "play.gif", shown)
    _draw_curves(folder)
    print(_ending(folder))
    return ExitCode.DONE


def _claim(folder: Path, overwrite: bool) -> None:
    """Make the folder; UsageError if it cannot be made, or holds a demo that is to stay."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{visible(folder)}: {error.strerror}; name another folder") from None
    if not overwrite and any(RunDirectory(folder / norm).holds_run for norm in NORMS):
        raise UsageError(
            f"{visible(folder)} already holds a demo; replace it with --overwrite, or name another "
            "folder"
        )


def _config(folder: Path, norm: str, steps: int) -> Config:
    settings: dict[str, Any] = {
        "env": ENV,
        "agent": "ppo",
        "norm": norm,
        "steps": steps,
        "threads": 1,
        "calibrate": False,
        "eval_every_steps": 0,
        "progress_every_s": 2,
        "run_dir": str(folder / norm),
    }
    return make_config(settings)


def _play(title: str, run: Path, games: int, epsilon: float) -> Play:
    """Play games, say how they went, and return those of the first environment."""
    seen: list[tuple[Observations, bool]] = []

    def see(obs: Observations, first: Flags) -> None:
        seen.append((obs[0].copy(), bool(first[0])))

    evaluation = evaluate_run(run, games, epsilon=epsilon, see=see)
    mean = np.mean([episode.raw_return for episode in evaluation.episodes])
    print(f"  {title:<29}{mean:5.0f} of {BEST_STEPS} steps", flush=True)
    observations, first = zip(*seen, strict=True)
    return Play(title, np.stack(observations).astype(np.float32), np.array(first))


def _draw_curves(folder: Path) -> None:
    """Write the learning curves; StorageError if they cannot be written."""
    panels = by_environment(read_runs([folder / norm for norm in NORMS]))
    with drawing(), storage_errors(folder, "name another folder"):
        sheet = dataclasses.replace(
            sheet_of(panels), title="Steps that the pole stays up", warning=ONE_RUN
        )
        save(sheet, folder / CURVE)


def _ending(folder: Path) -> str:
    """Return the last lines: the files, and what to try next."""
    files = (
        f"\n  {visible(folder / 'play.gif')}   random pushes and both agents, next to each other\n"
        f"  {visible(folder / CURVE)}  how they learnt\n{ONE_RUN}\n\nWhat to try next:\n"
    )
    return files + "\n".join(f"  {what:<11} {command}" for what, command in NEXT.items())
