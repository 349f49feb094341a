"""`python -m wnrl.train`."""

import sys

from wnrl.train.command import main

if __name__ == "__main__":
    sys.exit(main())
