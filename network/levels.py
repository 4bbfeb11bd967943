"""The mesh's three levels: counts of a closed triangulated sphere, unpooled twice."""

VERTICES = (156, 618, 2466)
"""Vertices of the three levels; an unpooling adds one for each edge."""

FACES = tuple(2 * vertices - 4 for vertices in VERTICES)
"""Triangles of the three levels, by Euler's formula."""

EDGES = tuple(3 * vertices - 6 for vertices in VERTICES)
"""Edges of the three levels; those of the first two become vertices of the next."""
