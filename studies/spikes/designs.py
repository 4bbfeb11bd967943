"""The study's designs by name: ``studies.spikes.design`` says which runs each has."""

PUBLISHED = "published"
"""All that docs/spikes.md tells of, of several designs."""
DESIGNS = (
    "interventions",
    "confirmation",
    "directions",
    "remedies",
    "two_blocks",
    "layers",
    "losses",
    "small",
    "factorial",
)
