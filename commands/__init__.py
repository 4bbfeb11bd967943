"""The command line. Importing it settles how OpenMP's threads wait, before torch starts them."""

import os

# By default torch's threads spin for long between two parallel loops. With anything else on the
# cores that starves the very thread they wait for: a refine pass took 24 s instead of 9 on two busy
# cores. Not to spin at all costs a third of a pass on quiet ones; a few microseconds bridge the gap
# from one loop to the next.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
