"""Figures of a comparison: learning curves, ranges of swept settings, aggregates over games.

What draws a `wnrl.report.comparison.Comparison` belongs here; computing what it shows does not.
"""

# matplotlib takes most of a second to import, so it is imported only when a figure is drawn.

from pathlib import Path

from wnrl.report.comparison import Comparison
from wnrl.report.figures.page_figure import PageFigure

__all__ = ["PageFigure", "page_figures", "write_figures"]


def write_figures(out: Path, comparison: Comparison) -> list[Path]:
    """Draw a comparison's figures, each as PNG and SVG.

    `differences`: forest plot of the verdicts; `curves`: all games, and the IQM over training if
    games are aggregated; `curves-<Env>`: each
    game separately if there are several; `range-<setting>`: each swept setting with numbers as
    values; `conditioning`: if a run measured its curvature; `aggregates`: all games together.
    Figures of an earlier report that are not drawn now are removed.

    Args:
        out: the folder; each file is replaced atomically.
        comparison: what is drawn.

    Returns:
        The files.
    """
    from wnrl.report.figures.image_files import write_images

    return write_images(out, comparison)


def page_figures(comparison: Comparison, *, narrow: bool) -> list[PageFigure]:
    """Draw a comparison's figures for an HTML page.

    Args:
        comparison: what is drawn.
        narrow: stack panels to fit the width of a phone; otherwise draw for about 920 pixels.
    """
    from wnrl.report.figures.inline_svg import inline_figures

    return inline_figures(comparison, narrow=narrow)
