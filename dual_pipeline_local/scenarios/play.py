"""Plays a scenario from nothing to its end and back to nothing."""

from __future__ import annotations

from collections.abc import Iterator

from .. import lifecycle
from ..lifecycle import MemoryMeter
from ..narrator import Narrator
from ..run import ISOLATED, Request, bring_up
from .playbill import Playbill, PlayedAct
from .scenario import Scenario
from .world import World


def play(scenario: Scenario, request: Request, narrator: Narrator) -> int:
    """Deploy, let the acts happen until one does not come to what is stated, and report: 0 when all did, else 1."""
    request.check()
    with request.workplace.held(), MemoryMeter() as meter:
        narrator.say((f"scenario {scenario.name}: ", "bold"), scenario.shows)
        narrator.say(ISOLATED)
        deployed = bring_up(request, narrator, background=False)
        try:
            world = World(request, deployed, narrator=narrator, meter=meter)
            acts = tuple(played_acts(scenario, world))
        finally:
            lifecycle.stop(request.workplace, deployed.emulator)
        playbill = Playbill(
            scenario=scenario,
            environment=request.environment,
            acts=acts,
            reports=tuple(world.reports),
            duration_s=narrator.elapsed_s,
        )
        playbill.write(request.workplace.folder)
        if not playbill.reached and world.reports:
            world.reports[-1].show(narrator.console, request.workplace.folder)
        playbill.show(narrator.console, request.workplace.folder)
    return 0 if playbill.reached else 1


def played_acts(scenario: Scenario, world: World) -> Iterator[PlayedAct]:
    """The acts one after another; one that does not come to what is stated is the last."""
    for act in scenario.acts:
        began = world.narrator.elapsed_s
        world.narrator.say((f"act: {act.title}", "bold"))
        played = act.play(world)
        came = f"{played.got}, as stated" if played.reached else f"{played.got}, and not {played.expected}"
        world.narrator.say(f"act: {act.title}: ", (came, "green" if played.reached else "bold red"))
        yield PlayedAct(title=act.title, played=played, duration_s=world.narrator.elapsed_s - began)
        if not played.reached:
            return
