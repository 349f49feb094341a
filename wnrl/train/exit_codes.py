"""The exit codes of `wnrl.train`, which `wnrl.compare` reads to decide about a retry."""

import enum


class ExitCode(enum.IntEnum):
    """How a training run ended. A run stopped by a signal ends with 128 + its number."""

    DONE = 0
    FAILED = 1  # a retry, or room on the disk, may mend it
    UNUSABLE = 2  # the input cannot be used; a retry would change nothing
    HUNG = 3  # the environment stopped answering; a retry continues from the last checkpoint
    NOT_FINITE = 4  # NaN or infinity: a retry would meet it again
    IN_USE = 5  # another process owns the run folder; a retry may find it free
