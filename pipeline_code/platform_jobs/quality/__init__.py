"""A snapshot and a ruleset -> a verdict, and the snapshot to train on."""
