"""Compares what an endpoint was asked, what it answered and what became true with what its model learned."""
