"""Lines of tables in Markdown, with a column for each game."""

from collections.abc import Iterable, Iterator


def short(game: str) -> str:
    """Return `Breakout` for `MinAtar/Breakout-v1`."""
    return game.removeprefix("MinAtar/").removesuffix("-v1")


def lines(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield a table, line by line.

    Args:
        titles: of the columns.
        rows: the cells of each, one for each title.
    """
    titles = list(titles)
    yield f"| {' | '.join(titles)} |"
    yield f"|{'---|' * len(titles)}"
    for cells in rows:
        yield f"| {' | '.join(cells)} |"
