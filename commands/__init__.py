"""The command line. Importing it settles how threads wait, before torch and NumPy start them."""

import os

# By default torch's threads spin for long between two parallel loops. With anything else on the
# cores that starves the very thread they wait for: a refine pass took 24 s instead of 9 on two busy
# cores. Not to spin at all costs a third of a pass on quiet ones. A tenth of a millisecond bridges
# the gap from one loop to the next, and no pass on busy cores was slower for it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# OpenBLAS's threads, NumPy's, know no other way to wait than to spin: a product of 0.05 s took 16 s
# on two busy cores. One thread does 75 GFLOP a second in float64, all that is needed of NumPy.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from commands.allocator import keep_freed_memory

keep_freed_memory()
