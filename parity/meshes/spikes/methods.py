"""What can take a spike's place, by name: ``parity.meshes.spikes.repair`` says how."""

METHODS = ("neighbours", "degree")
