"""Steps that ask something outside of SageMaker: Callback (through a queue) and Lambda.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/build-and-manage-steps-types.html (messages, limits, what a stop
does: AWS tells the queue and waits for the answer, or for the function, however long that takes).
"""

import json
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from dual_pipeline_local.errors import ApiError
from dual_pipeline_local.sagemaker.api import Record
from dual_pipeline_local.sagemaker.jobs.job import wait_for
from dual_pipeline_local.sagemaker.pipelines.callbacks import Callback
from dual_pipeline_local.sagemaker.pipelines.expressions import text_of
from dual_pipeline_local.sagemaker.pipelines.parameters import read_outputs
from dual_pipeline_local.sagemaker.pipelines.run import Run, StepFailed, StepStopped
from dual_pipeline_local.sagemaker.pipelines.workshop import Workshop, refused

CALLBACK_TIMEOUT_S = 7 * 86_400
LAMBDA_TIMEOUT_S = 600


def run_callback(run: Run, shop: Workshop) -> None:
    """Callback: sends a token to a queue and waits for SendPipelineExecutionStepSuccess or ...Failure."""
    url, arguments = run.step.source["SqsQueueUrl"], shop.scope.resolve(run.step.arguments)
    keyed = {"SqsQueueUrl": url, "Arguments": arguments}
    if shop.reuse(run, keyed):
        return
    callback = shop.callbacks.begin(shop.execution_arn, run.step.source.get("OutputParameters", []))
    try:
        run.record["Metadata"] = {"Callback": {"CallbackToken": callback.token, "SqsQueueUrl": url}}
        _send(callback, url, arguments, "Executing", shop)
        answered = shop.callbacks.wait(callback, shop.stop.is_set, timeout_s=CALLBACK_TIMEOUT_S)
        if not answered and shop.stop.is_set():
            if not shop.abandoned.is_set():
                with suppress(StepFailed):  # the step stops all the same
                    _send(callback, url, arguments, "Stopping", shop)
            shop.callbacks.wait(callback, shop.abandoned.is_set, timeout_s=shop.stop_grace_s)
            raise StepStopped
    finally:
        shop.callbacks.end(callback)
    if not answered:
        raise StepFailed(
            f"ClientError: Callback token {callback.token} was not answered within {CALLBACK_TIMEOUT_S} seconds"
        )
    if callback.outputs is None:
        raise StepFailed(str(callback.failure))
    _finish(run, callback.outputs, "Callback")
    shop.keep(run, keyed)


def run_lambda(run: Run, shop: Workshop) -> None:
    """Lambda: invokes a function and takes its outputs from the JSON object that it returns."""
    arn, arguments = run.step.source["FunctionArn"], shop.scope.resolve(run.step.arguments)
    keyed = {"FunctionArn": arn, "Arguments": arguments}
    if shop.reuse(run, keyed):
        return
    run.record["Metadata"] = {"Lambda": {"Arn": arn}}
    answer: Future[Record] = Future()
    shop.control.start(lambda: _invoke(arn, arguments, answer, shop), name=f"{run.step.name} {arn}")
    wait_for(shop.control, lambda: answer.done() or shop.stop.is_set(), LAMBDA_TIMEOUT_S)
    if not answer.done() and shop.stop.is_set():  # a function cannot be stopped
        wait_for(shop.control, lambda: answer.done() or shop.abandoned.is_set(), shop.stop_grace_s)
        raise StepStopped
    if not answer.done():
        raise StepFailed(f"ClientError: Lambda function {arn} did not answer within {LAMBDA_TIMEOUT_S} seconds")
    declared = run.step.source.get("OutputParameters", [])
    try:
        outputs = read_outputs(declared, _texts(declared, _result(answer.result())))
    except ValueError as error:
        raise StepFailed(f"ClientError: Invalid response of Lambda function {arn}: {error}") from None
    except _FunctionFailed as error:
        raise StepFailed(f"ClientError: Lambda function {arn} failed with {error}") from None
    _finish(run, outputs, "Lambda")
    shop.keep(run, keyed)


class _FunctionFailed(Exception):
    """What a function raised: its type and message."""


def _send(callback: Callback, url: str, arguments: Record, status: str, shop: Workshop) -> None:
    body = {
        "token": callback.token,
        "pipelineExecutionArn": shop.execution_arn,
        "arguments": arguments,
        "status": status,
    }
    try:
        client = shop.control.cloud.client(shop.caller.arn, "sqs")
        client.send_message(QueueUrl=url, MessageBody=json.dumps(body))
    except (ApiError, BotoCoreError, ClientError) as error:
        raise _refused("sqs:SendMessage", error) from error


def _invoke(arn: str, arguments: Record, answer: Future[Record], shop: Workshop) -> None:
    """Invoke the function as the pipeline's role and pass on what it answers or why it could not be invoked."""
    try:
        client = shop.control.cloud.client(shop.caller.arn, "lambda", read_timeout_s=LAMBDA_TIMEOUT_S)
        response = client.invoke(FunctionName=arn, Payload=json.dumps(arguments).encode())
        answer.set_result({"FunctionError": response.get("FunctionError"), "Payload": response["Payload"].read()})
    except (ApiError, BotoCoreError, ClientError) as error:
        answer.set_exception(_refused("lambda:InvokeFunction", error))
    except Exception as error:  # a defect here is the service's own error, and the step must end
        answer.set_exception(error)
    with shop.control.changed:
        shop.control.changed.notify_all()


def _refused(action: str, error: ApiError | BotoCoreError | ClientError) -> StepFailed:
    if isinstance(error, ApiError):
        return refused(action, error)
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
    kind = code if code in ("ThrottlingException", "ServiceUnavailable", "InternalFailure") else "ClientError"
    return StepFailed(f"{kind}: Failed to invoke {action}. Error Details: {error}")


def _result(response: Record) -> Any:
    """What a function returned; raises ValueError for what is no JSON and _FunctionFailed for what it raised."""
    payload: bytes = response["Payload"]
    if not response["FunctionError"]:
        return json.loads(payload or b"null")
    try:
        error = json.loads(payload)
        raise _FunctionFailed(f"{error.get('errorType', response['FunctionError'])}: {error.get('errorMessage', '')}")
    except (AttributeError, ValueError):
        raise _FunctionFailed(f"{response['FunctionError']}: {payload[:200].decode(errors='replace')}") from None


def _texts(declared: list[Record], result: Any) -> dict[str, str]:
    """The declared outputs among what a function returned, as text; its other members, statusCode too, mean nothing."""
    names = [output["OutputName"] for output in declared]
    if names and not isinstance(result, dict):
        raise ValueError(f"it must be a JSON object with {', '.join(names)}, got {type(result).__name__}")
    found = {name: result[name] for name in names if result.get(name) is not None}
    if nested := [name for name, value in found.items() if isinstance(value, dict | list)]:
        raise ValueError(f"output parameters cannot be nested: {', '.join(nested)}")
    return {name: text_of(value) for name, value in found.items()}


def _finish(run: Run, outputs: dict[str, Any], metadata: str) -> None:
    run.properties = {"OutputParameters": outputs}
    shown = [{"Name": name, "Value": text_of(value)} for name, value in outputs.items()]
    if shown:  # a record that is being listed is replaced, never changed within
        told = run.record["Metadata"][metadata] | {"OutputParameters": shown}
        run.record["Metadata"] = {metadata: told}
