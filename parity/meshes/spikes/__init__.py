"""Spikes: finding them, saying what they have in common, tracing them, removing them."""
