"""`python -m wnrl.compare`."""

import sys

from wnrl.compare.command import main

if __name__ == "__main__":
    sys.exit(main())
