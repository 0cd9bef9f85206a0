"""Training rules, one a file: velocity or step, state, and how each changes a conservation law."""
