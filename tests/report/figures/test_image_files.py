from pathlib import Path

import matplotlib
import pytest
from made_comparisons import made

from wnrl.report.figures import write_figures

SWEPT = {"swept": ("lr",), "values": [("0.1",), ("0.2",)]}


@pytest.mark.slow
def test_files_by_game_setting_and_together(tmp_path: Path) -> None:
    comparison = made(envs=["Pong", "toy/Catch"], norms=["none"], together=True, seeds=2, **SWEPT)
    written = write_figures(tmp_path, comparison)
    stems = ["differences", "curves", "curves-Pong", "curves-toy-Catch", "range-lr", "aggregates"]
    expected = [f"{stem}.{suffix}" for stem in stems for suffix in ("png", "svg")]
    assert [path.name for path in written] == expected
    assert {path.name for path in tmp_path.iterdir()} == set(expected)  # nothing half written
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_pictures_of_an_earlier_report_are_removed_and_nothing_else(tmp_path: Path) -> None:
    stale = ["curves-Pong.png", "range-lr.svg", "aggregates.png"]
    others = ["curves.csv", "my-curves.png", "scores.csv"]
    for name in [*stale, *others, "curves.png"]:
        (tmp_path / name).write_text("old")
    write_figures(tmp_path, made(seeds=2))
    drawn = {f"{stem}.{suffix}" for stem in ("differences", "curves") for suffix in ("png", "svg")}
    assert {path.name for path in tmp_path.iterdir()} == {*drawn, *others}
    assert (tmp_path / "curves.png").read_bytes() != b"old"


def test_the_same_comparison_gives_the_same_bytes_whatever_the_users_settings(
    tmp_path: Path,
) -> None:
    def drawn() -> list[bytes]:
        return [path.read_bytes() for path in write_figures(tmp_path, made(seeds=2))]

    first = drawn()
    with matplotlib.rc_context({"lines.linewidth": 7.0, "font.size": 20.0, "savefig.dpi": 30}):
        assert drawn() == first


def test_a_picture_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_figures(tmp_path, made(seeds=2))
    before = (tmp_path / "curves.png").read_bytes()

    def fails(figure: object, path: Path, **kwargs: object) -> None:
        path.write_text("half of it")
        raise OSError("no space left")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fails)
    with pytest.raises(OSError, match="no space left"):
        write_figures(tmp_path, made(seeds=3))
    assert (tmp_path / "curves.png").read_bytes() == before
    assert list(tmp_path.glob("*.tmp")) == []
