"""The parameters of a project's pipeline follow from its configuration."""

from dataclasses import replace

from dual_pipeline.hyperparameters import Choices, FloatRange, Hyperparameter
from dual_pipeline.model_project import BatchScoring, Gates, Instances, OptionalSteps, Training
from dual_pipeline.pipeline_parameters import (
    PipelineParameter,
    hyperparameter_name,
    parameter_defaults,
    pipeline_parameters,
)
from environments import DEV, PROD
from everything import EVERYTHING
from pipeline_code.census.project import CENSUS


def by_name(project: object = CENSUS) -> dict[str, PipelineParameter]:
    """A project's parameters by name."""
    assert isinstance(project, type(CENSUS))
    return {each.name: each for each in pipeline_parameters(project)}


def test_instance_types_are_the_sizes_of_one_class() -> None:
    """The class is the project's, the size the execution's, smallest first."""
    parameter = by_name()["TrainingInstanceType"]
    assert ("ml.m5.xlarge", "ml.m5.large", "ml.m5.24xlarge") == (
        parameter.default,
        parameter.choices[0],
        parameter.choices[-1],
    )


def test_numbers_have_ranges_and_may_refer_to_each_other() -> None:
    """Counts, sizes, times and thresholds cannot leave what the configuration itself allows."""
    parameters = by_name(EVERYTHING)
    assert "from 0.5 to 1" == parameters["MinAuc"].range
    assert "from 1 to TuningMaxJobs" == parameters["TuningMaxParallelJobs"].range
    assert "from MaxRuntimeInSeconds to 432000" == parameters["MaxWaitTimeInSeconds"].range


def test_optional_parts_bring_their_parameters() -> None:
    """Spot, tuning and batch scoring declare theirs, and only then."""
    optional = {"MaxWaitTimeInSeconds", "ScoringUri", "ScoringInstanceType", "ScoringInstanceCount"}
    assert optional == by_name(EVERYTHING).keys() - by_name().keys()
    tuning = {"TuningMaxJobs", "TuningMaxParallelJobs"}
    assert tuning == by_name().keys() - by_name(replace(CENSUS, tuning=None)).keys()


def test_hyperparameters_are_typed_parameters() -> None:
    """Each can be set per execution, within its limits."""
    project = replace(
        CENSUS,
        hyperparameters={
            **CENSUS.hyperparameters,
            "use_bins": True,
            "booster": Hyperparameter(default="gbtree", limits=Choices(values=("gbtree", "dart"))),
            "gamma": Hyperparameter(default=0, limits=FloatRange(low=0.0, high=5.0)),
        },
    )
    parameters = by_name(project)
    assert ("Boolean", True) == (parameters["HyperUseBins"].type, parameters["HyperUseBins"].default)
    assert ("gbtree", "dart") == parameters["HyperBooster"].choices
    gamma = parameters["HyperGamma"]
    assert ("Float", 0.0, 0.0, 5.0) == (gamma.type, gamma.default, gamma.low, gamma.high)
    assert "HyperMaxDepth" == hyperparameter_name("max_depth")


def test_defaults_follow_the_configuration() -> None:
    """What an environment sets of gates, instances, Spot, tuning and scoring becomes a default."""
    project = replace(
        CENSUS,
        gates=Gates(min_auc=0.9, max_auc_drop=0.01, segments=CENSUS.gates.segments),
        instances=Instances(processing_count=3, volume_gib=50),
        training=Training(spot=True),
        optional_steps=OptionalSteps(batch_scoring=BatchScoring(instance_count=2)),
    )
    assert {
        "MinAuc": 0.9,
        "MaxAucDrop": 0.01,
        "ProcessingInstanceCount": 3,
        "VolumeSizeInGB": 50,
        "MaxWaitTimeInSeconds": 14_400,
        "ScoringInstanceCount": 2,
        "HyperEta": 0.1,
    }.items() <= parameter_defaults(project).items()
    assert "RunId" not in parameter_defaults(project)


def test_environments_spend_differently() -> None:
    """The cheap environment searches less than production."""
    assert parameter_defaults(DEV.projects[0])["TuningMaxJobs"] == 2
    assert parameter_defaults(PROD.projects[0])["TuningMaxJobs"] == 20
