"""A recorded episode as a file: an animated GIF (Pillow) or an MP4 (imageio-ffmpeg)."""

import contextlib
import importlib.util
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from wnrl._settings import UsageError
from wnrl.envs.vector import Picture, Recording
from wnrl.train.foreign_text import visible
from wnrl.train.storage.atomic_files import replacing

MAX_PICTURES = 2_000  # about two minutes of Atari; a longer GIF takes hundreds of megabytes
HEIGHT = 400  # pixels; smaller pictures are enlarged by a whole factor until they have as many


def check_video(path: Path) -> None:
    """Raise a UsageError unless a video of that name can be written here."""
    if path.suffix not in _WRITERS:
        raise UsageError(
            f"--video {visible(path)}: the name must end in {' or '.join(_WRITERS)}, which says "
            "what kind of file it is"
        )
    if path.suffix == ".mp4" and importlib.util.find_spec("imageio_ffmpeg") is None:
        raise UsageError(
            f"--video {visible(path)} needs the package imageio-ffmpeg: pip install "
            "'wnrl[video]', or name a .gif"
        )


def write_video(path: Path, recording: Recording) -> int:
    """Write an episode, at most `MAX_PICTURES` of it; the file appears whole or not at all.

    Args:
        path: the file; `check_video` accepts its name.
        recording: the episode.

    Returns:
        The pictures written.

    Raises:
        UsageError: the file cannot be written.
    """
    pictures = [_enlarged(each) for each in islice(recording.pictures, MAX_PICTURES)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            _WRITERS[path.suffix](temporary, pictures, recording.steps_per_s)
    except OSError as error:
        reason = error.strerror or str(error).splitlines()[0]
        raise UsageError(
            f"cannot write {visible(path)}: {visible(reason)}; name another file"
        ) from None
    return len(pictures)


def _enlarged(picture: Picture) -> Picture:
    """Return a picture of a readable size, of even height and width as MP4 wants it."""
    factor = -(-HEIGHT // len(picture))
    larger = picture.repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = larger.shape[:2]
    return np.pad(larger, ((0, height % 2), (0, width % 2), (0, 0)))


def _write_gif(path: Path, pictures: list[Picture], steps_per_s: float) -> None:
    images = [Image.fromarray(each).quantize(colors=64) for each in pictures]
    images[0].save(
        path,
        format="GIF",
        save_all=True,
        append_images=images[1:],
        duration=step_ms(steps_per_s),
        loop=0,
    )


def step_ms(steps_per_s: float) -> int:
    """Return how long a GIF shows a step: whole hundredths of a second, which it is made of."""
    return max(20, 10 * round(100 / steps_per_s))  # browsers show 10 ms as 100


def _write_mp4(path: Path, pictures: list[Picture], steps_per_s: float) -> None:
    import imageio_ffmpeg

    height, width = pictures[0].shape[:2]
    file = imageio_ffmpeg.write_frames(
        str(path), (width, height), fps=steps_per_s, macro_block_size=2, output_params=["-f", "mp4"]
    )
    with contextlib.closing(file):
        file.send(None)
        for picture in pictures:
            file.send(np.ascontiguousarray(picture))


_WRITERS: dict[str, Callable[[Path, list[Picture], float], None]] = {
    ".gif": _write_gif,
    ".mp4": _write_mp4,
}
