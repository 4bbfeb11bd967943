"""Every layer of the official network alone, in float64 NumPy, with the rounding it may make.

This is a third implementation, of single layers rather than of a network: given what a run recorded
as a layer's inputs it says what the layer's exact output is, and how far the arithmetic of a given
precision may be from that. Neither framework is imported.
"""
