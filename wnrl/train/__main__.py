"""`python -m wnrl.train`."""

import sys

from wnrl import run_command

if __name__ == "__main__":
    sys.exit(run_command("train", sys.argv[1:], own_program=True))
