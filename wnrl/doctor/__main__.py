"""`python -m wnrl.doctor`."""

import sys

from wnrl import run_command

if __name__ == "__main__":
    sys.exit(run_command("doctor", sys.argv[1:]))
