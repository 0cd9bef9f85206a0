"""What JAX primitives mean over a ring, by kind. A file that is put here is found: it registers rules with `rule`."""
