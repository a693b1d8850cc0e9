"""Many clients at once, and many that stall: errors, times, memory. `python -m tests.load [--seconds 60]`."""
