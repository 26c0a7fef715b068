"""The outer loop's whole definition, put together from the modules of its phases."""

from collections.abc import Callable
from typing import TypeAlias

from dual_pipeline.asl import Fragment, State, Statement
from dual_pipeline.await_status import wait_statement
from dual_pipeline.outer_loop.admission import admission
from dual_pipeline.outer_loop.approval import approval
from dual_pipeline.outer_loop.batch_release import batch_release
from dual_pipeline.outer_loop.finish import finish, key_statement
from dual_pipeline.outer_loop.ingest import ingest
from dual_pipeline.outer_loop.release import release
from dual_pipeline.outer_loop.release_turn import release_turn
from dual_pipeline.outer_loop.rollback import rollback
from dual_pipeline.outer_loop.rollout import rollout
from dual_pipeline.outer_loop.run_input import run_input
from dual_pipeline.outer_loop.setting import Setting, seconds
from dual_pipeline.outer_loop.smoke_train import smoke_train
from dual_pipeline.outer_loop.train_alone import train_alone
from dual_pipeline.outer_loop.training import training

Phase: TypeAlias = Callable[[Setting], Fragment]


def phases(setting: Setting) -> tuple[Phase, ...]:
    """From the input to the tail; without an inner loop a model is trained in one job and saved, not released."""
    released: tuple[Phase, ...] = (
        (batch_release,) if setting.project.scores_in_batch else (rollback, release_turn, rollout, release)
    )
    rest: tuple[Phase, ...] = (training, approval, *released) if setting.project.inner_loop else (train_alone,)
    return (run_input, admission, ingest, *((smoke_train,) if setting.project.smoke_training else ()), *rest, finish)


def execution_deadline_s(setting: Setting) -> int:
    """Longer than every phase at its own deadline one after the other: what outlives it is the reaper's."""
    if not setting.project.inner_loop:
        return setting.training_lease_s + 24 * 3600
    return (
        setting.training_lease_s
        + seconds(setting.project.approval.deadline)
        # standing in line for the release lock, at its longest, and holding it
        + 3 * setting.release_lease_s
        + 24 * 3600
    )


def outer_loop_definition(setting: Setting) -> State:
    """The machine in Amazon States Language."""
    states: dict[str, State] = {}
    for phase in phases(setting):
        for name, state in phase(setting).states.items():
            assert name not in states, f"two states are named {name}"
            states[name] = state
    return {
        "Comment": f"Continuous training of {setting.project.name} in {setting.environment.name}",
        "QueryLanguage": "JSONata",
        "StartAt": "CheckInput",
        "TimeoutSeconds": execution_deadline_s(setting),
        "States": states,
    }


def outer_loop_statements(setting: Setting) -> tuple[Statement, ...]:
    """All that the machine's role may do."""
    return (
        *(statement for phase in phases(setting) for statement in phase(setting).statements),
        *((wait_statement(setting.table_arn),) if setting.project.inner_loop else ()),
        key_statement(setting.key_arn),
    )
