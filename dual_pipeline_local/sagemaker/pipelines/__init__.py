"""The interpreter of pipeline definitions."""
