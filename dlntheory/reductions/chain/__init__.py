"""Reductions of deep linear networks: closed forms in the end-to-end matrix and its Gram matrices, one a file."""
