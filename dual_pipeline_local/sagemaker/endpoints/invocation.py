"""A request to an endpoint.

Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

from dataclasses import dataclass

CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
"""Header of the request and of the answer, to the model and back."""


@dataclass(frozen=True)
class Invocation:
    """One request to an endpoint as the runtime's API carries it."""

    body: bytes
    content_type: str = "application/octet-stream"
    accept: str = "*/*"
    inference_id: str | None = None
    custom_attributes: str | None = None
