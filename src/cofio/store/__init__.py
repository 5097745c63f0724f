"""SQLite, the truth, and the vector index beside it."""
