"""A snapshot and a ruleset -> a verdict."""
