"""What JAX primitives mean over a ring, by kind."""
