"""The acts that scenarios are made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from botocore.exceptions import ClientError

from ..loop_driver import Answer
from .act import Played
from .clients import Clients
from .data_variant import DataVariant
from .project_copy import CodeChange
from .world import World

Decision: TypeAlias = Callable[[World], Answer]
_DAY = timedelta(days=1)


def approve(world: World) -> Answer:
    """People approve."""
    return world.people.approve


def reject(world: World) -> Answer:
    """A person rejects, and says why."""
    return lambda package: world.people.reject(package, because="the segments of older people got worse")


def stay_silent(world: World) -> Answer:
    """Nobody decides: day after day passes."""

    def wait(_package: str) -> str:
        world.pass_time(_DAY)
        return "nobody decides, a day passes"

    return wait


@dataclass(frozen=True, kw_only=True)
class Upload:
    """New data arrives: the file given, or a variant of it."""

    ends: str
    variant: DataVariant | None = None
    decision: Decision = approve

    @property
    def title(self) -> str:
        return f"new data: {self.variant.says}" if self.variant else "new data"

    def play(self, world: World) -> Played:
        """Upload, and follow the run."""
        data = world.request.data
        if self.variant:
            data = self.variant.write(data, world.folder)
        report = world.follow(world.driver.upload(data), answer=self.decision(world))
        return Played(expected=self.ends, got=report.view.outcome, why=report.reason)


@dataclass(frozen=True, kw_only=True)
class Ship:
    """A change to the project's code is deployed; from its approval on clients ask `per_second` times a second."""

    change: CodeChange
    ends: str
    per_second: float = 0

    @property
    def title(self) -> str:
        return f"new code: {self.change.says}"

    def play(self, world: World) -> Played:
        """Deploy, and follow the run that starts by itself."""
        execution = world.ship(self.change)
        if not self.per_second:
            report, told = world.follow(execution), ""
        else:
            clients = Clients(world.aws, world.endpoint, world.records()[:1000], per_second=self.per_second)

            def approve_under_load(package: str) -> str:
                clients.start()
                return world.people.approve(package)

            try:
                report = world.follow(execution, answer=approve_under_load)
            finally:
                tally = clients.stop()
            told = f"; meanwhile {tally}"
        return Played(expected=self.ends, got=report.view.outcome, why=report.reason + told)


@dataclass(frozen=True)
class Wait:
    """Time passes, such as a cool-down between two runs."""

    duration: timedelta

    @property
    def title(self) -> str:
        hours = self.duration / timedelta(hours=1)
        return f"{hours:g} hours pass"

    def play(self, world: World) -> Played:
        """Move the clock."""
        world.pass_time(self.duration)
        return Played(expected="later", got="later")


@dataclass(frozen=True)
class ChampionServes:
    """Somebody asks the endpoint what it was asked after the last release."""

    title: str = "the endpoint is asked as after its release"

    def play(self, world: World) -> Played:
        """Compare the answers, all digits of them."""
        expected = "the champion answers"
        if world.champion is None or world.champion.findings.prediction is None:
            return Played(expected=expected, got="there is no champion")
        before = world.champion.findings.prediction
        try:
            now = json.loads(world.ask_endpoint(before["input"]))
        except (ClientError, ValueError) as error:
            return Played(expected=expected, got="no answer", why=str(error))
        same = now == before["output"]
        return Played(expected=expected, got=expected if same else "other answers", why=json.dumps(now))


@dataclass(frozen=True)
class NothingServes:
    """Somebody looks whether there is an endpoint."""

    title: str = "a look at the endpoint"

    def play(self, world: World) -> Played:
        """List it."""
        found = world.aws.client("sagemaker").list_endpoints(NameContains=world.endpoint)["Endpoints"]
        names = [endpoint["EndpointName"] for endpoint in found]
        return Played(expected="none", got="none" if not names else ", ".join(names))


@dataclass(frozen=True)
class DataIsKept:
    """Somebody looks for the refused file."""

    title: str = "a look into the quarantine"

    def play(self, world: World) -> Played:
        """List it."""
        kept = world.objects("quarantine/")
        return Played(expected="kept", got="kept" if kept else "nothing there", why=", ".join(kept))
