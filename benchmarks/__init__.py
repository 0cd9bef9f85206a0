"""Timings of dlntheory against what one would write without it. Run `python -m benchmarks`; never part of the tests.

Everything runs on one thread unless the environment says otherwise: on a machine that is shared, a second thread
that waits for a core changes a time tenfold.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
