"""Step one: split a snapshot into train, validation and holdout, and fit the encoding of categories."""
