"""Who may ask, and who may change: keys, tokens and the callers that they stand for."""
