"""List operations: filters, order and pages."""

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from dual_pipeline_local.sagemaker import api
from dual_pipeline_local.sagemaker.api import Record, invalid

_DEFAULT_PAGE = 10


@dataclass(frozen=True, kw_only=True)
class Listing:
    """One List operation over stored records.

    `name` and `status` are the record's members that NameContains and StatusEquals look at, `order` the operation's
    default SortOrder, `equals` further filters by equality: request member -> record member.
    """

    operation: str
    name: str
    status: str = ""
    order: str = "Descending"
    equals: Mapping[str, str] = field(default_factory=dict)

    def page(self, request: Record, records: Iterable[Record]) -> Record:
        """The answer to one request: a page of summaries and the token of the next page, if there is one."""
        key, members = api.listed(self.operation)
        found = [record for record in records if all(keep(record) for keep in self._filters(request))]
        by = str(request.get("SortBy", "CreationTime"))
        by = {"Name": self.name, "Status": self.status}.get(by, by)
        descending = request.get("SortOrder", self.order) == "Descending"
        # records arrive in order of creation, which alone decides between equal times
        ordered = sorted(enumerate(found), key=lambda item: (item[1].get(by, 0), item[0]), reverse=descending)
        return paginate(request, key, [_cut(record, members) for _, record in ordered])

    def _filters(self, request: Record) -> Iterable[Callable[[Record], bool]]:
        equals = {"StatusEquals": self.status, **self.equals}
        for parameter, value in request.items():
            if parameter in _BOUNDS:
                member, keep = _BOUNDS[parameter]
                yield lambda record, v=value, m=member, k=keep: k(record[m], api.epoch(v))  # type: ignore[misc]
            elif parameter == "NameContains":
                yield lambda record, v=value: v.lower() in record[self.name].lower()  # type: ignore[misc]
            elif parameter == "PipelineNamePrefix":
                yield lambda record, v=value: record[self.name].startswith(v)  # type: ignore[misc]
            elif parameter in equals:
                yield lambda record, v=value, m=equals[parameter]: record.get(m) == v  # type: ignore[misc]
            elif parameter not in _PAGING:
                raise api.not_modelled(f"{self.operation} with {parameter}")


def paginate(request: Record, key: str, items: list[Record]) -> Record:
    """Cut one page of `items` for the request's NextToken and MaxResults."""
    start = _offset(request.get("NextToken"))
    end = start + request.get("MaxResults", _DEFAULT_PAGE)
    answer: Record = {key: items[start:end]}
    if end < len(items):
        answer["NextToken"] = base64.urlsafe_b64encode(str(end).encode()).decode()
    return answer


def _offset(token: str | None) -> int:
    if token is None:
        return 0
    try:
        return int(base64.urlsafe_b64decode(token.encode()))
    except (binascii.Error, ValueError):
        raise invalid("Invalid pagination token.") from None


def _cut(record: Record, members: frozenset[str]) -> Record:
    return {name: value for name, value in record.items() if name in members}


_PAGING = frozenset({"SortBy", "SortOrder", "NextToken", "MaxResults"})
_BOUNDS: Mapping[str, tuple[str, Callable[[float, float], bool]]] = {
    "CreationTimeAfter": ("CreationTime", float.__gt__),
    "CreatedAfter": ("CreationTime", float.__gt__),
    "CreationTimeBefore": ("CreationTime", float.__lt__),
    "CreatedBefore": ("CreationTime", float.__lt__),
    "LastModifiedTimeAfter": ("LastModifiedTime", float.__gt__),
    "LastModifiedTimeBefore": ("LastModifiedTime", float.__lt__),
}
