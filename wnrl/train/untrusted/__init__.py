"""Read files that a stranger may have written: within limits, and without running anything."""
