"""What every layer alone hands back: vector-Jacobian products in float64, with their rounding.

The backward counterpart of ``parity.oracle.layers``. Given what a run recorded around a layer (its
inputs, its output, the gradient there) it says what the gradients at the layer's inputs and of its
variables are, and how far float64 arithmetic may be from that. Neither framework is imported.
"""
