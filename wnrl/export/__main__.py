"""`python -m wnrl.export`."""

import sys

from wnrl import run_command

if __name__ == "__main__":
    sys.exit(run_command("export", sys.argv[1:]))
