"""Claims on the law of parsimony: invariant subspaces, exact compression, collapse, completion."""
