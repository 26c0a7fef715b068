"""An optional step on Spark: what the snapshot's columns hold, for a person to look at."""
