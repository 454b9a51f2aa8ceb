"""Planning: what a load needs, from constants that `python -m streams.planning.measure` measures."""
