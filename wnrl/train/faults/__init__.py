"""What can go wrong while a run trains: how it is noticed, and how the run ends."""
