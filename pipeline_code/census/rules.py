"""What census data must satisfy before a model may learn from it.

A failed rule stops the run, sets the rows apart that break it, or is reported. In DQDL `between` excludes both ends,
and a missing value satisfies no ColumnValues rule.
"""

from dual_pipeline.ruleset import Anomaly, Rule, Ruleset

from .contract import CATEGORICAL, LABEL, NEGATIVE, NUMERIC, POSITIVE

_POSITIVE_SHARE = f"select avg(case when {LABEL} = '{POSITIVE}' then 1 else 0 end) as positive_share from primary"

RULESET = Ruleset(
    rules=(
        Rule(kind="RowCount", operator=">=", operand=1000),
        Rule(kind="IsComplete", column=LABEL),
        Rule(kind="ColumnValues", column=LABEL, operator="in", operand=(NEGATIVE, POSITIVE)),
        Rule(kind="CustomSql", sql=_POSITIVE_SHARE, operator="between", operand=(0.02, 0.98)),
        # A few impossible people are set apart; more than a hundredth of all is another data set.
        Rule(kind="ColumnValues", column="age", operator="between", operand=(0, 130), severity="quarantine"),
        Rule(kind="ColumnValues", column="education_num", operator="between", operand=(0, 17), severity="quarantine"),
        Rule(kind="ColumnValues", column="hours_per_week", operator="between", operand=(0, 169), severity="quarantine"),
        Rule(kind="ColumnValues", column="capital_gain", operator=">=", operand=0, severity="quarantine"),
        Rule(kind="ColumnValues", column="capital_loss", operator=">=", operand=0, severity="quarantine"),
        *(Rule(kind="Completeness", column=name, operator=">=", operand=0.99) for name in NUMERIC),
        *(Rule(kind="Completeness", column=name, operator=">=", operand=0.9, severity="warn") for name in CATEGORICAL),
    ),
    anomalies=(
        Anomaly(kind="RowCount"),
        *(Anomaly(kind="NullRate", column=name) for name in ("workclass", "occupation")),
        *(Anomaly(kind="Mean", column=name) for name in NUMERIC),
    ),
    max_quarantined=0.01,
)
