"""How fast cofio is, measured beside what else one could take, alternating inside one run."""
