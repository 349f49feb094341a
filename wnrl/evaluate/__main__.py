"""`python -m wnrl.evaluate`."""

import sys

from wnrl import run_command

if __name__ == "__main__":
    sys.exit(run_command("evaluate", sys.argv[1:]))
