"""The Glue jobs of one project: ingestion and data quality."""

from pathlib import Path
from tempfile import TemporaryDirectory

import aws_cdk as cdk
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from dual_pipeline.code_bundle import write_glue_library
from dual_pipeline.glue_job import GlueJob, GlueSecurity
from dual_pipeline.job_roles import IngestRole, QualityRole, Workspace
from dual_pipeline.model_project import ModelProject


class DataJobs(Construct):
    """`<environment>-<project>-ingest` and `-quality`, each under its own role, with the code in `package_folder`.

    What a run reads, writes and holds the data to are arguments of the run.
    """

    def __init__(
        self, scope: Construct, id_: str, *, project: ModelProject, package_folder: Path, workspace: Workspace
    ) -> None:
        super().__init__(scope, id_)
        with TemporaryDirectory() as name:
            library = s3_assets.Asset(self, "Library", path=str(write_glue_library(package_folder, folder=Path(name))))
        scripts = {
            job: s3_assets.Asset(
                self, f"{job.capitalize()}Script", path=str(package_folder / "platform_jobs" / job / "__main__.py")
            )
            for job in ("ingest", "quality")
        }
        roles = {
            "ingest": IngestRole(self, "IngestRole", workspace=workspace, code=[scripts["ingest"], library]),
            "quality": QualityRole(self, "QualityRole", workspace=workspace, code=[scripts["quality"], library]),
        }
        timeouts = {"ingest": project.limits.ingest, "quality": project.limits.quality}
        security = GlueSecurity(self, "Security", key=workspace.key)
        self.jobs = tuple(
            GlueJob(
                self,
                job.capitalize(),
                name=f"{workspace.name}-{job}",
                description=f"{job} of {project.name}",
                role=roles[job].role,
                script=scripts[job],
                library=library,
                security=security,
                worker_type=project.ingest.worker_type,
                workers=project.ingest.workers,
                timeout=cdk.Duration.seconds(int(timeouts[job].total_seconds())),
            )
            for job in ("ingest", "quality")
        )
        self.job_names = tuple(job.job_name for job in self.jobs)
