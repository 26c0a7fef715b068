"""Step three: judge the packed model on the holdout, against floors and a baseline of the same run."""
