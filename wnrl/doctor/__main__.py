"""`python -m wnrl.doctor`."""

import sys

from wnrl.doctor.command import main

if __name__ == "__main__":
    sys.exit(main())
