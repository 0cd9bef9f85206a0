"""Claims on intrinsic dynamics: the verdict, closed forms, limits, mirror structure."""
