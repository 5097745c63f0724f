"""The encoder: text in, unit vectors out."""
