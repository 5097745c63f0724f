"""The memory graph: compiled kernels and what is made of them."""
