"""The small contract between the outer and the inner loop: names that both sides must spell alike."""

PARAMETER_SNAPSHOT_URI = "SnapshotUri"
PARAMETER_RUN_ID = "RunId"
PARAMETER_TRIGGER_REASON = "TriggerReason"
PARAMETER_TRIGGER_DETAIL = "TriggerDetail"  # free text, as the inside of a JSON string
PARAMETER_APPROVAL_STATUS = "ModelApprovalStatus"
PARAMETER_CHAMPION_URI = "ChampionUri"
PARAMETER_COMPARE_WITH_CHAMPION = "CompareWithChampion"
PARAMETER_QUALITY_VERDICT_URI = "QualityVerdictUri"
PARAMETER_SCORING_URI = "ScoringUri"

# Steps whose outcome the outer loop reads.
STEP_EVALUATE = "Evaluate"
STEP_REGISTER = "Register"
STEP_REFUSED = "Refused"
STEP_BAD_PARAMETERS = "BadParameters"

# Below an execution's folder.
EVALUATION_FOLDER = "evaluate/evaluation"
EVALUATION_FILE = "evaluation.json"
REPORT_FILE = "report.html"
GOLDEN_ROWS_FILE = "golden_rows.json"
GOLDEN_REQUEST_FILE = "golden_rows.csv"  # its body alone, for a transform job
DRIFT_BASELINE_FILE = "drift_baseline.json"
SAMPLE_PAYLOAD_FILE = "sample_payload.tar.gz"

# The XGBoost image installs a project's code by pip, to train and to serve, and pip from 25.3 on fetches its build
# tools from an index for that. Under network isolation there is none, but the image has its own: 0 says, for this
# variable alone, that builds are not isolated.
# https://pypi.org/project/sagemaker-containers/2.8.6.post2/ (modules.run_module, modules.import_module)
# https://pip.pypa.io/en/stable/reference/build-system/#disabling-build-isolation
OFFLINE = {"PIP_NO_BUILD_ISOLATION": "0"}
# CreateModel has no entry point: the serving code travels inside the model.
SERVING = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code", **OFFLINE}

# Below a project's folder: what a model released to batch reads in the data bucket, and writes in the artifact bucket.
RECORDS = "batch"
SCORES = "scores"

VARIANT_NAME = "AllTraffic"
# Begins the id of every request that the loop itself makes, so that what is captured of them counts for nothing.
GOLDEN_INFERENCE_ID = "golden-"
METRIC_NAMESPACE = "DualPipeline"
OUTCOME_METRIC = "Outcome"
# 1 for a run after which nothing newer waits to be trained on: it released a model, or saw that nothing is new.
UP_TO_DATE_METRIC = "UpToDate"
# The evaluation's numbers, by environment, project and metric: of a model that was released, and of one below its gate.
MODEL_METRIC = "ModelMetric"
REFUSED_MODEL_METRIC = "RefusedModelMetric"
REASON_PERSON = "person"
REASON_TRAILING = "trailing"
REASON_ROLLBACK = "rollback"
REASONS = ("data", REASON_PERSON, REASON_TRAILING, "schedule", "drift", "code", REASON_ROLLBACK)
# What the data's quality is counted as, by environment and project; the last also by verdict.
RULES_FAILED = "DataRulesFailed"
QUALITY_METRICS = ("DataRows", RULES_FAILED, "DataRowsQuarantined")
VERDICT_METRIC = "DataVerdict"
VERDICTS = ("pass", "warn", "block", "invalid")
OUTCOME_SUPPRESSED = "suppressed"
OUTCOMES = ("released", OUTCOME_SUPPRESSED, "blocked", "below-gate", "rejected", "expired", "rolled-back", "failed")

# After `<environment>-<project>`: the alarm that a release sets on its model.
MODEL_ALARM_SUFFIX = "-model-auc"
# After `<environment>-<project>`: the alarm that calls for a new model while it rings.
DRIFT_ALARM_SUFFIX = "-drift"
# What drift is published as, by environment and project: features that moved; these, predictions, labels and quality
# together; the largest population stability index of a feature; rows that were looked at.
DRIFTED_FEATURES, DRIFT_FINDINGS, DRIFT_MAX_PSI, DRIFT_ROWS = DRIFT_METRICS = (
    "DriftedFeatures",
    "DriftFindings",
    "DriftMaxPsi",
    "DriftRows",
)
# The same once enough labels came, and a second time by the run that released the model: a new model is not judged by
# what its predecessor answered.
RUN_DIMENSION = "Run"
LIVE_QUALITY_METRICS = LIVE_AUC_METRIC, LIVE_ACCURACY_METRIC = "LiveAuc", "LiveAccuracy"
# In the artifact bucket, below the project's folder: what an endpoint was asked and answered, what was made of it.
CAPTURE_FOLDER = "capture"
DRIFT_FOLDER = "drift"
# In the data bucket, below the project's folder: labels that come late.
GROUND_TRUTH_FOLDER = "ground-truth"

TAG_ENVIRONMENT = "dual-pipeline:environment"
TAG_PROJECT = "dual-pipeline:project"
TAG_RUN = "dual-pipeline:run"
TAG_COST_CENTER = "dual-pipeline:cost-center"
TAG_CODE = "dual-pipeline:code"  # of a pipeline: the hash of all that decides what it makes of a snapshot


def outer_loop_name(environment: str, project: str) -> str:
    """The name of a project's outer loop."""
    return f"{environment}-{project}-outer-loop"
