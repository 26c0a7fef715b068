"""The smoke training: image, code and permissions proved on a sample before the expensive part begins."""

from dual_pipeline.asl import Fragment, jsonata, task
from dual_pipeline.model_project import Training
from dual_pipeline.outer_loop.setting import Setting, seconds
from dual_pipeline.outer_loop.training_job import JOB_RETRY, completed, job_failed, job_statements, training_job

KIND = "smoke"
# Below the executions' folder, which the inner loop's jobs write too: the same permission is proved.
OUTPUT = "executions/smoke"


def smoke_train(setting: Setting) -> Fragment:
    """One job on the sample that ingest left beside the snapshot; if it fails, the run does.

    No page of AWS says that a task's time-out stops the job, so that its own limit is the shorter one.
    """
    project, smoke = setting.project, setting.project.smoke_training
    assert smoke is not None
    state = task(
        "sagemaker:createTrainingJob.sync",
        arguments=training_job(
            setting,
            kind=KIND,
            data=jsonata("$snapshotUri & 'sample/'"),
            output=OUTPUT,
            instance=smoke.instance,
            volume_gib=smoke.volume_gib,
            max_s=seconds(smoke.max_time),
            hyperparameters={**project.default_hyperparameters, **smoke.hyperparameters},
            # A few minutes of a cheap instance are not worth a wait for Spot capacity.
            training=Training(device=project.training.device),
        ),
        timeout_s=setting.smoke_limit_s,
        retries=JOB_RETRY,
        catches=[job_failed("smoke_training.max_time", seconds(smoke.max_time))],
        assign={"smokeStatus": completed("$states.result.TrainingJobStatus")},
        next_=setting.training_state,
    )
    return Fragment(states={"SmokeTrain": state}, statements=job_statements(setting, KIND))
