"""The objective for Optuna in docs/comparing.md runs, prunes and continues."""

import re
from pathlib import Path
from typing import Any

import pytest

optuna = pytest.importorskip("optuna")
PAGE = Path(__file__).parents[2] / "docs" / "comparing.md"


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The example's names, with short runs in an empty folder."""
    (source,) = re.findall(r"```python\n(# search\.py\n.*?)```", PAGE.read_text(), re.DOTALL)
    short, count = re.subn("steps=20_000", "steps=3_000, calibrate=False", source)
    assert count == 1
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "search"}
    exec(compile(short, "search.py", "exec"), names)
    return names


def study(pruner: Any = None) -> Any:
    return optuna.create_study(
        study_name="search",
        storage="sqlite:///search.db",
        direction="maximize",
        load_if_exists=True,
        pruner=pruner,
    )


def test_trials_train_runs_and_a_repeated_search_adds_to_them(
    search: dict[str, Any], tmp_path: Path
) -> None:
    study().optimize(search["objective"], n_trials=1)
    study().optimize(search["objective"], n_trials=1)
    trials = study().trials
    assert [trial.number for trial in trials] == [0, 1]
    assert all(trial.value > 5 for trial in trials)
    assert all(list(trial.intermediate_values) for trial in trials)
    for trial in trials:
        config = (tmp_path / "runs" / "search" / str(trial.number) / "config.json").read_text()
        assert f'"seed": {1_000 + trial.number}' in config
        assert f'"norm": "{trial.params["norm"]}"' in config


def test_a_pruned_trial_ends_its_run(search: dict[str, Any], tmp_path: Path) -> None:
    never = optuna.pruners.ThresholdPruner(lower=1_000)
    study(never).optimize(search["objective"], n_trials=1)
    (trial,) = study().trials
    assert trial.state == optuna.trial.TrialState.PRUNED
    assert max(trial.intermediate_values) < 3_000
