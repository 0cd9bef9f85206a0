"""Timings of dlntheory against what one would write without it. Run `python -m benchmarks`; never part of the tests."""
