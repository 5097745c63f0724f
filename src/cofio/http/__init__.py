"""The HTTP face of cofio."""
