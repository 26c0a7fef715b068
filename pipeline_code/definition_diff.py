"""How two JSON documents differ, a line for each value, by its path: what an upgrade of the SDK changed."""

import json
from collections.abc import Iterator
from typing import Any

# Members of lists that have one of these are told apart by it, not by where they stand.
_NAMES = ("Name", "InputName", "OutputName", "ChannelName", "Key")


def difference(old: str, new: str) -> list[str]:
    """Lines such as `Steps[Train].Type: "Training" -> "Tuning"`; texts that are no JSON are only said to differ."""
    try:
        before, after = dict(_values(json.loads(old or "null"))), dict(_values(json.loads(new)))
    except ValueError:
        return ["the committed file is no JSON"]
    lines = [
        *(f"{path}: {before[path]} is gone" for path in before.keys() - after.keys()),
        *(f"{path}: {after[path]} is new" for path in after.keys() - before.keys()),
        *(
            f"{path}: {before[path]} -> {after[path]}"
            for path in before.keys() & after.keys()
            if before[path] != after[path]
        ),
    ]
    return sorted(lines) or ["only its spelling differs"]


def _values(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _values(value, f"{path}.{key}" if path else key)
    elif isinstance(node, list) and node:
        for at, item in enumerate(node):
            yield from _values(item, f"{path}[{_name(item, at)}]")
    else:
        yield path, json.dumps(node, ensure_ascii=False)


def _name(item: Any, at: int) -> str:
    names = [str(item[name]) for name in _NAMES if isinstance(item.get(name), str)] if isinstance(item, dict) else []
    return names[0] if names else str(at)
