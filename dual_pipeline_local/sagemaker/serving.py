"""Serves one model over HTTP by the contract of the SageMaker inference toolkit.

The user's module is `code/<SAGEMAKER_PROGRAM>` in the model folder. `model_fn(model_dir)` runs once at start; a request
goes through `input_fn(body, content_type)`, `predict_fn(data, model)`, `output_fn(prediction, accept)`, or through
`transform_fn(model, body, content_type, accept)`. Each may take the context as one more argument. Any exception is
answered with 500 but the toolkit's own, which carry their status: a user's module that imports
`sagemaker_inference.errors` or `content_types` finds those here. Needs nothing but the standard library and what the
user's module imports.

Source: https://github.com/aws/sagemaker-inference-toolkit (transformer.py, errors.py, content_types.py).
"""

import argparse
import importlib
import inspect
import os
import sys
import threading
import traceback
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

# Bodies of exactly these types are decoded before a handler sees them; a module may empty the list.
_UTF8_TYPES = ["application/json", "text/csv"]
_DEFAULT_ACCEPT = "application/json"


class BaseInferenceToolkitError(Exception):
    """What a user's module raises to answer with a status of its own."""

    def __init__(self, status_code: int, message: str, phrase: str) -> None:
        super().__init__(status_code, message, phrase)
        self.status_code, self.message, self.phrase = status_code, message, phrase


class GenericInferenceToolkitError(BaseInferenceToolkitError):
    """The same, with the message as phrase if there is no other."""

    def __init__(self, status_code: int, message: str | None = None, phrase: str | None = None) -> None:
        message = message or "Invalid Request"
        super().__init__(status_code, message, phrase or message)


class RequestError(Exception):
    """A request that the model does not answer: HTTP status and reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def install_toolkit() -> None:
    """Let the user's module import what the image's toolkit offers of errors and content types."""
    package, content_types, errors = (
        ModuleType(name)
        for name in ("sagemaker_inference", "sagemaker_inference.content_types", "sagemaker_inference.errors")
    )
    vars(content_types).update(JSON="application/json", CSV="text/csv", ANY="*/*", UTF8_TYPES=_UTF8_TYPES)
    vars(errors).update({each.__name__: each for each in (BaseInferenceToolkitError, GenericInferenceToolkitError)})
    vars(package).update(__path__=[], content_types=content_types, errors=errors)
    sys.modules.update({module.__name__: module for module in (package, content_types, errors)})


class Transformer:
    """A loaded model with the user's handlers."""

    def __init__(self, module: ModuleType, model_dir: Path) -> None:
        self._module = module
        # a model's server handles one request at a time, as one worker of the toolkit's model server does
        self._turn = threading.Lock()
        own = [name for name in ("input_fn", "predict_fn", "output_fn") if hasattr(module, name)]
        if hasattr(module, "transform_fn") and own:
            raise ValueError(f"Cannot use transform_fn implementation in conjunction with {', '.join(own)}")
        self._model = _call(self._handler("model_fn"), str(model_dir))

    def transform(self, body: bytes, content_type: str, accept: str) -> tuple[bytes, str]:
        """The answer's body and content type; raises RequestError."""
        data: bytes | str = body
        with self._turn:
            try:
                if content_type in _UTF8_TYPES:
                    data = body.decode("utf-8")
                if hasattr(self._module, "transform_fn"):
                    result = _call(self._module.transform_fn, self._model, data, content_type, accept)
                else:
                    result = self._steps(data, content_type, accept)
            except Exception as error:
                traceback.print_exc()
                raise _request_error(error) from error
        answer, answered_type = result if isinstance(result, tuple) else (result, accept)
        return answer.encode() if isinstance(answer, str) else bytes(answer), answered_type

    def _steps(self, data: bytes | str, content_type: str, accept: str) -> Any:
        parsed = _call(self._handler("input_fn"), data, content_type)
        prediction = _call(self._handler("predict_fn"), parsed, self._model)
        return _call(self._handler("output_fn"), prediction, accept)

    def _handler(self, name: str) -> Callable[..., Any]:
        handler: Callable[..., Any] = getattr(self._module, name)
        return handler


def _call(handler: Callable[..., Any], *arguments: object) -> Any:
    takes_context = len(inspect.signature(handler).parameters) == len(arguments) + 1
    return handler(*arguments, None) if takes_context else handler(*arguments)


def _request_error(error: Exception) -> RequestError:
    if isinstance(error, BaseInferenceToolkitError):
        return RequestError(int(error.status_code), error.message)
    return RequestError(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}")


def _handler_class(transformer: Transformer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(HTTPStatus.OK if self.path == "/ping" else HTTPStatus.NOT_FOUND, b"", "text/plain")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            content_type = self.headers.get("Content-Type") or "application/octet-stream"
            accept = self.headers.get("Accept") or "*/*"
            if self.path != "/invocations":
                self._answer(HTTPStatus.NOT_FOUND, b"", "text/plain")
                return
            try:
                accept = _DEFAULT_ACCEPT if accept == "*/*" else accept
                self._answer(HTTPStatus.OK, *transformer.transform(body, content_type, accept))
            except RequestError as error:
                self._answer(error.status, str(error).encode(), "text/plain")

        def _answer(self, status: int, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            if self.path != "/ping":
                super().log_message(format, *args)

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    """Load the model and serve it; the port is written to a file once requests can be answered."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--port-file", type=Path, required=True)
    options = parser.parse_args()
    code = options.model_dir / "code"
    program = os.environ.get("SAGEMAKER_PROGRAM", "inference.py")
    if not (code / program).is_file():
        sys.exit(f"model.tar.gz holds no code/{program} (SAGEMAKER_PROGRAM)")
    sys.path.insert(0, str(code))
    install_toolkit()
    transformer = Transformer(importlib.import_module(program.removesuffix(".py")), options.model_dir)
    with _Server(("127.0.0.1", 0), _handler_class(transformer)) as server:
        ready = options.port_file.with_suffix(".new")
        ready.write_text(str(server.server_address[1]))
        ready.rename(options.port_file)
        server.serve_forever()


if __name__ == "__main__":
    main()
