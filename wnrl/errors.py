"""The error a person can mend: bad input, told in one line.

Every command turns a `UsageError` into that one line on stderr and exit code 2. Mistakes of our
own stay ordinary exceptions with a traceback.
"""

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
    """Input that cannot be used. The message says what came, what is allowed and what to do."""


def nearest(name: str, allowed: Iterable[str], count: int = 3) -> str:
    """A hint that ends an error line: `; did you mean a, b?`, or nothing when none is near.

    Compares in lower case and without `_`, `-` and spaces, so `space_invaders` finds SpaceInvaders.
    """

    def plain(text: str) -> str:
        return text.lower().replace("_", "").replace("-", "").replace(" ", "")

    by_plain = {plain(candidate): candidate for candidate in allowed}
    close = difflib.get_close_matches(plain(name), by_plain, n=count, cutoff=0.6)
    return f"; did you mean {', '.join(by_plain[c] for c in close)}?" if close else ""
