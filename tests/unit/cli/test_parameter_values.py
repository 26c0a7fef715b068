"""Values of pipeline parameters as people give them, checked before anything is started."""

import io
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dual_pipeline_cli.environment import EnvironmentClient, EnvironmentTrouble
from dual_pipeline_cli.parameter_values import check_values, parse_values

DECLARED: dict[str, dict[str, Any]] = {
    "SnapshotUri": {"Type": "String"},
    "HyperEta": {"Type": "Float", "DefaultValue": 0.1},
    "HyperMaxDepth": {"Type": "Integer", "DefaultValue": 6},
    "CompareWithChampion": {"Type": "Boolean", "DefaultValue": True},
    "TrainingInstanceType": {"Type": "String", "EnumValues": ["ml.m5.large", "ml.m5.xlarge"]},
}


class Bucket:
    """S3 with one snapshot."""

    def client(self, service: str, /) -> Any:
        """Itself."""
        assert "s3" == service
        return self

    def get_object(self, **request: str) -> dict[str, Any]:
        """The snapshot's manifest."""
        if request != {"Bucket": "data", "Key": "snapshots/aaa/manifest.json"}:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        return {"Body": io.BytesIO(b"{}")}


def _check(values: dict[str, str]) -> None:
    environment = EnvironmentClient(
        environment="dev", project="census", outputs={}, region="eu-west-1", local=True, aws=Bucket(), where="a test"
    )
    check_values(environment, DECLARED, values)


@pytest.mark.parametrize(
    "values",
    [
        {"HyperEta": "0.3", "HyperMaxDepth": "4", "CompareWithChampion": "false"},
        {"HyperEta": "1e-3", "TrainingInstanceType": "ml.m5.xlarge"},
        {"SnapshotUri": "s3://data/snapshots/aaa"},
        {"SnapshotUri": "s3://data/snapshots/aaa/"},
    ],
)
def test_good_values(values: dict[str, str]) -> None:
    """Values of the declared types and enums pass, and a snapshot that is there."""
    _check(values)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"Eta": "0.3"}, "has no parameter 'Eta': it has CompareWithChampion, HyperEta"),
        ({"HyperEta": "fast"}, "HyperEta must be a number, got 'fast'"),
        ({"HyperEta": "nan"}, "HyperEta must be a number, got 'nan'"),
        ({"HyperMaxDepth": "4.5"}, "HyperMaxDepth must be a whole number, got '4.5'"),
        ({"CompareWithChampion": "yes"}, "CompareWithChampion must be true or false, got 'yes'"),
        ({"TrainingInstanceType": "ml.p4d.24xlarge"}, "must be one of ml.m5.large, ml.m5.xlarge"),
        ({"SnapshotUri": "yesterday"}, "no snapshot lies at 'yesterday': give the s3:// folder of one"),
        ({"SnapshotUri": "s3://data/snapshots/bbb/"}, "no snapshot lies at 's3://data/snapshots/bbb/'"),
    ],
)
def test_bad_values_are_refused(values: dict[str, str], complaint: str) -> None:
    """A value is checked against the definition, and a snapshot looked for, before anything starts."""
    with pytest.raises(EnvironmentTrouble, match=complaint):
        _check(values)


def test_values_are_given_by_name() -> None:
    """A value may hold whatever it likes, the name is a word; the snapshot may be given apart."""
    assert {"A": "b=c", "B": ""} == parse_values(["A=b=c", "B="], snapshot=None)
    assert {"SnapshotUri": "s3://a/b", "A": "1"} == parse_values(["A=1"], snapshot="s3://a/b")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (["A"], "must be Name=Value, got 'A'"),
        (["=1"], "must be Name=Value, got '=1'"),
        (["A=1", "A=2"], "parameter A is given as '1' and as '2': give it once"),
        (["SnapshotUri=s3://c/d"], "parameter SnapshotUri is given as 's3://a/b' and as 's3://c/d'"),
    ],
)
def test_what_is_no_value_is_refused(given: list[str], complaint: str) -> None:
    """Anything else than a name with one value is a mistake."""
    with pytest.raises(EnvironmentTrouble, match=complaint):
        parse_values(given, snapshot="s3://a/b")
