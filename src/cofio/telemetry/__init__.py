"""What the service tells of itself: metrics, logs and traces. No text of a transcript or a query goes into any of them."""
