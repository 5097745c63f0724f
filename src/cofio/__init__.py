"""cofio: meeting transcripts become a memory that answers and associates."""

__version__ = "1.0.0"
