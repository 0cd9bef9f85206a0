"""The search for conservation laws: readable forms first, then every polynomial of a degree, then quotients."""
