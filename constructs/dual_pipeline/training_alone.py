"""What training jobs outside an inner loop run: step code, kept for good, and the jobs' role."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from aws_cdk import aws_iam as iam
from constructs import Construct

from dual_pipeline.code_bundle import write_alone_bundle
from dual_pipeline.job_roles import TrainingRole, Workspace
from dual_pipeline.outer_loop.setting import TrainingCode
from dual_pipeline.retained_code import RetainedCode


class TrainingAlone(Construct):
    """Bundles of the folders `steps`, each able to run every other step's code, and one role for the jobs.

    The jobs read whole snapshots themselves; with `checkpoints` they may be interrupted.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        project_folder: Path,
        workspace: Workspace,
        image: str,
        steps: Sequence[str],
        checkpoints: bool = False,
    ) -> None:
        super().__init__(scope, id_)
        self._image = image
        self._code: RetainedCode | None = None
        if steps:
            with TemporaryDirectory() as name:
                files = {step: write_alone_bundle(project_folder, step=step, folder=Path(name)) for step in steps}
                self._code = RetainedCode(self, "Code", workspace=workspace, files=files)
        training = TrainingRole(
            self, "Training", workspace=workspace, image=image, checkpoints=checkpoints, snapshots=["snapshots"]
        )
        self.role: iam.IRole = training.role

    def training_code(self, step: str) -> TrainingCode:
        """What a job that runs `step` is made of."""
        assert self._code is not None
        return TrainingCode(
            image=self._image,
            role_arn=self.role.role_arn,
            uri=self._code.uri(step),
            file=self._code.file(step),
        )

    def code_of(self, step: str) -> Mapping[str, str]:
        """The placeholders of a workflow whose jobs run `step`."""
        code = self.training_code(step)
        return {"CodeUri": code.uri, "CodeFile": code.file}
