"""Step one: split a snapshot into train, validation and holdout, and fit the encoding of categories.

* Rows of equal features share a split, whatever their label and wherever they lie; all are kept.
* A missing value (null, NaN) stays missing: the booster learns a direction for it.
* A category that the train split does not hold is missing to the model, in a later split as in a request.
* Columns beyond the contract's are ignored. One that is absent or of another type, a number that float32 cannot hold,
  and a label that the contract does not know are refused.
* Every split needs both labels. One host checks that itself; of several, whoever reads all their parts does.
"""
