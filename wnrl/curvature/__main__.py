"""`python -m wnrl.curvature`."""

import sys

from wnrl import run_command

if __name__ == "__main__":
    sys.exit(run_command("curvature", sys.argv[1:]))
