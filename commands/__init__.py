"""The command line. Importing it settles how OpenMP's threads wait, before torch starts them."""

import os

# By default torch's threads spin between two parallel loops. With anything else on the cores that
# starves the very thread they wait for: a refine pass took 24 s instead of 9 on two busy cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
