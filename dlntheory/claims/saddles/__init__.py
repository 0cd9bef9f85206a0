"""Claims on saddle-to-saddle dynamics: distances at the start, escape, plateaus, greedy paths."""
