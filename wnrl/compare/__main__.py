"""`python -m wnrl.compare`."""

import sys

from wnrl import run_command

if __name__ == "__main__":
    sys.exit(run_command("compare", sys.argv[1:]))
