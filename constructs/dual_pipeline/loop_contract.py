"""The small contract between the outer and the inner loop: names that both sides must spell alike."""

PARAMETER_SNAPSHOT_URI = "SnapshotUri"
PARAMETER_RUN_ID = "RunId"
PARAMETER_TRIGGER_REASON = "TriggerReason"
PARAMETER_APPROVAL_STATUS = "ModelApprovalStatus"

EVALUATION_FOLDER = "evaluate"
EVALUATION_FILE = "evaluation.json"
GOLDEN_ROWS_FILE = "golden_rows.json"

VARIANT_NAME = "AllTraffic"
METRIC_NAMESPACE = "DualPipeline"
OUTCOME_METRIC = "Outcome"
OUTCOMES = ("released", "suppressed", "blocked", "below-gate", "rejected", "expired", "rolled-back", "failed")

TAG_ENVIRONMENT = "dual-pipeline:environment"
TAG_PROJECT = "dual-pipeline:project"
TAG_RUN = "dual-pipeline:run"
TAG_COST_CENTER = "dual-pipeline:cost-center"
