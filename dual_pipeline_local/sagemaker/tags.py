"""AddTags, ListTags, DeleteTags."""

from dual_pipeline_local.iam import Caller
from dual_pipeline_local.sagemaker.api import Record, invalid
from dual_pipeline_local.sagemaker.control import Control, Operations
from dual_pipeline_local.sagemaker.listing import paginate

_MOST = 50


class Tags:
    """Tags of every resource, by ARN."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self.operations: Operations = {"AddTags": self._add, "ListTags": self._list, "DeleteTags": self._delete}

    def _add(self, request: Record, _caller: Caller) -> Record:
        tags = self._of(request)
        merged = tags | {tag["Key"]: tag["Value"] for tag in request["Tags"]}
        if len(merged) > _MOST:
            raise invalid(f"The number of tags has reached the limit of {_MOST}")
        tags.update(merged)
        return {"Tags": _pairs(tags)}

    def _list(self, request: Record, _caller: Caller) -> Record:
        return paginate({"MaxResults": _MOST} | request, "Tags", _pairs(self._of(request)))

    def _delete(self, request: Record, _caller: Caller) -> Record:
        tags = self._of(request)
        for key in request["TagKeys"]:
            tags.pop(key, None)
        return {}

    def _of(self, request: Record) -> dict[str, str]:
        try:
            return self._control.tags[request["ResourceArn"]]
        except KeyError:
            raise invalid(f"Could not find resource '{request['ResourceArn']}'") from None


def _pairs(tags: dict[str, str]) -> list[Record]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
