"""Load on the whole service: `scripts/load NAME` brings it, and `docs/load.md` tells what was found."""
