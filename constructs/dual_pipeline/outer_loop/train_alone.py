"""A project without an inner loop: one training job on the whole snapshot, whose model is saved and not deployed."""

import hashlib
import json

from dual_pipeline.asl import Fragment, State, Statement, jsonata, task
from dual_pipeline.loop_contract import SERVING
from dual_pipeline.outer_loop.setting import FAILED, Setting, last_segment, seconds
from dual_pipeline.outer_loop.training_job import (
    JOB_RETRY,
    code_of,
    completed,
    job_failed,
    job_statements,
    training_job,
    unique_name,
)

KIND = "train"


def own_code(setting: Setting) -> str:
    """What a model comes from beside its data, known when the machine is deployed: code, image, settings and rules."""
    made_of = [setting.project.default_hyperparameters, setting.project.training.device, code_of(setting).image]
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode())
    return f"{code_of(setting).file}/{digest.hexdigest()}/{setting.rules_hash}"


def train_alone(setting: Setting) -> Fragment:
    """Train, save the model, and end as `released`: the one good outcome of such a project."""
    project = setting.project
    model = setting.model(
        name=unique_name(setting, "model"),
        PrimaryContainer={
            "Image": code_of(setting).image,
            "ModelDataUrl": jsonata("$approval.model"),
            "Environment": dict(SERVING),
        },
    )
    states: dict[str, State] = {
        "TrainModel": task(
            "sagemaker:createTrainingJob.sync",
            arguments=training_job(
                setting,
                kind=KIND,
                data=jsonata("$snapshotUri & 'data/'"),
                output="executions",
                instance=project.instances.training,
                volume_gib=project.instances.volume_gib,
                max_s=seconds(project.limits.job),
                hyperparameters=project.default_hyperparameters,
                training=project.training,
            ),
            timeout_s=seconds(project.limits.training),
            retries=JOB_RETRY,
            catches=[job_failed("limits.job", seconds(project.limits.job))],
            # Where a release has what was approved, for the ledger.
            assign={"approval": {"model": completed("$states.result.ModelArtifacts.S3ModelArtifacts")}},
            next_="SaveModel",
        ),
        "SaveModel": task(
            "sagemaker:createModel",
            arguments=model,
            timeout_s=60,
            retries=JOB_RETRY,
            catches=[FAILED],
            assign={
                "judged": True,
                "outcome": "released",
                "reason": jsonata(
                    f"'the model ' & {last_segment('$states.result.ModelArn')} & ' was trained and saved; none is"
                    " deployed, for this project has no inner loop'"
                ),
            },
            next_="FreeLocks",
        ),
    }
    page = "https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html"
    return Fragment(
        states=states,
        statements=(
            *job_statements(setting, KIND),
            Statement(
                actions=("sagemaker:AddTags", "sagemaker:CreateModel"),
                resources=(setting.arn("sagemaker", f"model/{setting.prefix}-model-*"),),
                source=page,
            ),
            setting.passes_model_role(),
        ),
    )
