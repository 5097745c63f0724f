"""cofio: meeting transcripts become a memory that answers and associates."""

__version__ = "0.1.0"
