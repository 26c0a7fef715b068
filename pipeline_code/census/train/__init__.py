"""Step two: train XGBoost on the train split and stop when the validation split gains no more."""
