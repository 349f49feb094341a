"""The committed policies of study A play as their page says."""

import contextlib
import re
from pathlib import Path

import numpy as np
import pytest

from wnrl.config import make_config
from wnrl.envs.vector import EpisodeStatistics
from wnrl.train.build import build_env, resolve

POLICIES = Path(__file__).parents[3] / "scripts" / "results" / "study_a" / "policies"
MEANS = {
    game: float(mean)
    for game, mean in re.findall(
        r"^\| \[(\w+)\]\(.*?\) \| .*? \| \d+ \| ([\d.]+) \[",
        (POLICIES / "README.md").read_text(),
        re.M,
    )
}


def test_every_policy_is_in_the_table() -> None:
    assert MEANS.keys() == {folder.name for folder in POLICIES.iterdir() if folder.is_dir()}


@pytest.mark.slow
@pytest.mark.parametrize("game", MEANS)
def test_a_policy_plays_as_its_page_says(game: str) -> None:
    pytest.importorskip("minatar")
    onnxruntime = pytest.importorskip("onnxruntime")
    policy = onnxruntime.InferenceSession(POLICIES / game / "policy.onnx")
    parts = resolve(make_config({"env": f"MinAtar/{game}-v1", "agent": "pqn", "threads": 1}))
    first_returns: dict[int, float] = {}
    with contextlib.closing(build_env(parts, num_envs=40, seed=7)) as env:
        env.reset()
        statistics = EpisodeStatistics(40)
        while len(first_returns) < 40:  # one episode of each, so that short ones do not count more
            action, *_ = policy.run(None, {"observation": env.obs})
            env.send(np.asarray(action))
            for episode in statistics.update(env.recv()):
                first_returns.setdefault(episode.env, episode.raw_return)
    returns = list(first_returns.values())
    error = np.std(returns, ddof=1) / np.sqrt(len(returns))
    assert abs(np.mean(returns) - MEANS[game]) < 4 * error
    assert np.mean(returns) > 0.5 * MEANS[game]
