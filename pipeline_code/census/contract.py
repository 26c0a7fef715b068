"""What every part of this project agrees on: columns, label, artifact names. Steps import it, so it imports nothing.

The raw file is the training split of UCI Adult. Rows have no key: equal rows are different people, so nothing may
de-duplicate them by value.
"""

# Raw header -> name in the snapshot, where they differ. The raw file calls the label `loan`; it is the person's income.
RENAMED = {
    "education-num": "education_num",
    "marital-status": "marital_status",
    "capital-gain": "capital_gain",
    "capital-loss": "capital_loss",
    "hours-per-week": "hours_per_week",
    "loan": "income",
}
DROPPED = ("",)  # the unnamed row index
MISSING = ("", "?")

FEATURES = (
    "age",
    "workclass",
    "education",
    "education_num",
    "marital_status",
    "occupation",
    "relationship",
    "ethnicity",
    "gender",
    "capital_gain",
    "capital_loss",
    "hours_per_week",
)
NUMERIC = ("age", "education_num", "capital_gain", "capital_loss", "hours_per_week")
CATEGORICAL = tuple(name for name in FEATURES if name not in NUMERIC)

LABEL = "income"
NEGATIVE = "<=50K"
POSITIVE = ">50K"

# Files that one step writes and another reads. Of splits and encoding each host writes a `part-<host>`.
ENCODING_FILE = "encoding.json"
MODEL_FILE = "model.json"
INFERENCE_FILE = "code/inference.py"
MODEL_ARCHIVE = "model.tar.gz"
SCORES_FILE = "scores.parquet"
BASELINE_FILE = "baseline.json"
EVALUATION_FILE = "evaluation.json"
GOLDEN_ROWS_FILE = "golden_rows.json"
GOLDEN_REQUEST_FILE = "golden_rows.csv"
DRIFT_BASELINE_FILE = "drift_baseline.json"
SAMPLE_PAYLOAD_FILE = "sample_payload.tar.gz"
REPORT_FILE = "report.html"
PROFILE_FILE = "profile.json"

# Where evaluation.json holds what the pipeline's condition reads.
GATE_PASSED_PATH = "gate.passed"


class DataError(Exception):
    """The data cannot be learned from; a step ends with this sentence and no traceback."""
