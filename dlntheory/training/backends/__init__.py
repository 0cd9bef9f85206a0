"""What integrates a flow: diffrax, SciPy, and continuation by rebasing. The only package that imports diffrax."""
