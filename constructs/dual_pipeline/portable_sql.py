"""The SQL that Spark and DuckDB understand alike: one aggregate over the table `primary`, in a small vocabulary."""

import re

_TOKEN = re.compile(r"count\(\*\)|[A-Za-z_]\w*|-?\d+|'[^'\"\\]*'|<=|>=|<>|[(),<>=]|\s+")
_FUNCTIONS = ("avg", "coalesce", "count", "max", "min", "sum")
_WORDS = frozenset(
    (*_FUNCTIONS, "and", "as", "between", "case", "distinct", "else", "end", "from", "in", "is", "not", "null", "or",
     "primary", "select", "then", "when", "where")
)  # fmt: skip
_SHAPE = re.compile(r"select (?P<number>.+) as (?P<alias>[a-z][a-z0-9_]*) from primary( where .+)?", re.DOTALL)


def problem_of(sql: str) -> str | None:
    """Why a statement is not portable, or None.

    Integers that overflow, divisions by zero, averages of decimals and quotes within texts differ between the two.
    """
    at = 0
    while at < len(sql):
        token = _TOKEN.match(sql, at)
        if token is None:
            return f"write whole numbers, plain texts and comparisons, and no {sql[at]!r}"
        at = token.end()
    if _SHAPE.fullmatch(sql) is None:
        return "write it in lower case as select ... as name from primary, with a where if need be"
    words = re.findall(r"[A-Za-z_]\w*(?=\s*\()", re.sub(r"'[^']*'", "''", sql))
    called = sorted({word for word in words if word not in _WORDS})
    return f"call {', '.join(_FUNCTIONS)} alone, and no {', '.join(called)}" if called else None


def columns_of(sql: str) -> tuple[str, ...]:
    """The columns that a portable statement reads, in their order."""
    shape = _SHAPE.fullmatch(sql)
    words = re.findall(r"[A-Za-z_]\w*", re.sub(r"'[^']*'", "''", sql))
    alias = shape["alias"] if shape else ""
    return tuple(dict.fromkeys(word for word in words if word not in _WORDS and word != alias))
