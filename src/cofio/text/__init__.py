"""Transcript text: formats, episodes, types, segments, concepts, features, dates."""
