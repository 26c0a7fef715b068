"""The `dual-pipeline` command."""

from __future__ import annotations

import typer

from . import cost, decide, explain, lineage, local, plan, replay, rollback, sandbox, start, step, teardown

app = typer.Typer(
    name="dual-pipeline",
    help="Operate dual-pipeline environments.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(local.app, name="local")
app.command("start")(start.start_run)
app.command("explain")(explain.show_explanation)
app.command("approve")(decide.approve)
app.command("reject")(decide.reject)
app.command("rollback")(rollback.rollback)
app.command("step")(step.run_again)
app.command("plan")(plan.show_plan)
app.command("lineage")(lineage.show_lineage)
app.command("replay")(replay.replay)
app.command("cost")(cost.show_cost)
app.command("teardown")(teardown.teardown)
app.command("adopt")(teardown.adopt_data)
app.add_typer(sandbox.app, name="sandbox")


@app.callback()
def root() -> None:
    """Operate dual-pipeline environments."""
