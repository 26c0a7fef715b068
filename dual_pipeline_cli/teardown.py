"""`dual-pipeline teardown` and `adopt`: an environment goes without its data, and the next one takes the data over."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from dual_pipeline_local.assembly import Assembly, StackArtifact, read_assembly
from dual_pipeline_local.deployment import Clients, Toolbox
from dual_pipeline_local.lifecycle import Workplace
from dual_pipeline_local.narrator import Narrator
from dual_pipeline_local.safety import LocalAws, isolate

from .absence import is_absent
from .environment import LOCAL_FOLDER, EnvironmentTrouble, LocalOption, answer, reach
from .kept_data import KeptResource, empty, holds_data, is_there, job_logs, lone_endpoint, measure
from .policy_attachments import attachments
from .price_table import PriceTable
from .run_triggers import run_triggers
from .runtime_resources import JOB_KINDS, RuntimeResource, RuntimeResources
from .stacks import IDENTIFIERS, DeletedStack, DeployedStack, Resource, Stacks
from .way_back import way_back

EnvironmentArgument = Annotated[str, typer.Argument(help="Name of the environment.", metavar="ENV")]
AppOption = Annotated[Path, typer.Option("--app", help="Cloud assembly that holds the environment's stacks.")]

_LOG_FOLDER = Path("build/cdk")
_SWITCHES = "delete_data_on_destroy and confirm_delete_data"


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where an environment is taken down or taken over: an AWS, the assembly, and the CDK CLI of this checkout.

    `project` None means all of the environment.
    """

    assembly: Assembly
    project: str | None
    aws: Clients
    region: str
    where: str
    local: bool
    toolbox: Toolbox
    shell: Mapping[str, str]
    poll_s: float = 5.0

    @property
    def environment(self) -> str:
        return self.assembly.environment

    @property
    def artifacts(self) -> list[StackArtifact]:
        """The stacks that are meant, as the assembly has them."""
        return [stack for stack in self.assembly.stacks if self.project in (None, stack.project)]

    @property
    def options(self) -> str:
        """The options that reach the same again."""
        project = f" --project {self.project}" if self.project else ""
        return f"{self.environment}{project}{' --local' * self.local}"


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What a teardown would take and leave: things made at run time, stacks, and data that lies in these."""

    runtime: Sequence[RuntimeResource]
    stacks: Sequence[DeployedStack]
    kept: Sequence[Resource]
    deleted: Sequence[Resource]


def find_site(environment: str, *, project: str | None, local: bool, app: Path, root: Path) -> Site:
    """Read the assembly and reach its AWS.

    Raises EnvironmentTrouble, UnknownEnvironment or DeploymentFailed.
    """
    assembly = read_assembly(app, environment=environment)
    projects = sorted({stack.project for stack in assembly.stacks if stack.project})
    if project not in (None, *projects):
        raise EnvironmentTrouble(f"{environment} has no project {project!r} in {app}: it has {', '.join(projects)}")
    workplace = Workplace(folder=(LOCAL_FOLDER if local else _LOG_FOLDER).absolute())
    toolbox = Toolbox(root=root, workplace=workplace)
    toolbox.check()
    aws, where, region = reach(local)
    shell: Mapping[str, str] = {}
    if isinstance(aws, LocalAws):
        isolate()
        shell = aws.settings.client_environment()
    else:
        _check_account(aws, assembly, region, where)
    return Site(
        assembly=assembly,
        project=project,
        aws=aws,
        region=region,
        where=where,
        local=local,
        toolbox=toolbox,
        shell=shell,
        poll_s=0.2 if local else 5.0,
    )


def take_inventory(site: Site) -> Inventory:
    """Look, and change nothing."""
    stacks = Stacks(site.aws)
    deployed = _deployed(site, stacks)
    resources = {stack: stacks.resources(stack.name) for stack in deployed}
    everything = [each for found in resources.values() for each in found]
    runtime = [found for each in _runtime(site, resources) for found in each.find()]
    return Inventory(
        runtime=[
            *run_triggers(site.aws, everything),
            *runtime,
            *attachments(site.aws, everything, shared=_shared(site, stacks)),
        ],
        stacks=deployed,
        kept=[each for stack in deployed for each in stacks.retained(stack.name)],
        deleted=_lost(site, stacks),
    )


def tear_down(site: Site, narrator: Narrator, *, agreed: Collection[Resource] = ()) -> None:
    """Switch off what starts runs, stop and remove what the loops made, delete the stacks, and look once more.

    Raises EnvironmentTrouble for what is left or has come back meanwhile, and before data goes that is not `agreed`.
    """
    await_deletions(site, narrator)
    stacks = Stacks(site.aws)
    resources = {stack: stacks.resources(stack.name) for stack in _deployed(site, stacks)}
    everything = [each for found in resources.values() for each in found]
    for trigger in list(run_triggers(site.aws, everything)):
        narrator.say(f"switching off {trigger.kind} {trigger.name}")
        _take(trigger)
    # The second time goes what the reaper started in place of a stopped run, for data that had come meanwhile.
    for _ in range(2):
        _remove_runtime(site, resources, narrator)
        _let_settle(site, stacks, narrator)
    for resource in _agreed(site, stacks, agreed):
        narrator.say(f"emptying {resource.id}")
        empty(site.aws, resource)
    # As late as can be: what the budget's action denies must not begin anew meanwhile.
    for held in list(attachments(site.aws, everything, shared=_shared(site, stacks))):
        narrator.say(f"detaching {held.name}")
        _take(held)
    # A pipeline that executes would make the deletion of its stack fail.
    _remove_runtime(site, resources, narrator)
    names = {stack.name for stack in resources}
    _agreed(site, stacks, agreed)
    if artifacts := [stack for stack in site.artifacts if stack.name in names]:
        with narrator.phase(f"cdk destroy {' '.join(stack.path for stack in artifacts)}"):
            site.toolbox.destroy(site.assembly, artifacts, env=site.shell)
    # Somebody may have started a run by hand, and it may have made something still.
    _remove_runtime(site, {}, narrator)
    if back := [found for each in _runtime(site, {}) for found in each.find()]:
        raise EnvironmentTrouble(
            f"come back meanwhile: {', '.join(f'{each.kind} {each.name}' for each in back)}; run the same command again"
        )
    if left := _deployed(site, stacks):
        raise EnvironmentTrouble(
            f"stacks of {site.environment} are left that {site.assembly.folder} does not hold:"
            f" {', '.join(stack.name for stack in left)}; delete them with aws cloudformation delete-stack"
        )


def await_deletions(site: Site, narrator: Narrator, *, timeout_s: float = 3600.0) -> None:
    """Wait while CloudFormation deletes stacks that are meant, as after a command that was stopped.

    Raises EnvironmentTrouble when it does not end.
    """
    deadline = time.monotonic() + timeout_s
    told: list[str] = []
    while names := [each.name for each in _deployed(site, Stacks(site.aws)) if each.status == "DELETE_IN_PROGRESS"]:
        if time.monotonic() > deadline:
            raise EnvironmentTrouble(
                f"CloudFormation still deletes {', '.join(names)} after {timeout_s / 60:.0f} minutes: see why in the"
                " console, then run the same command again"
            )
        if names != told:
            narrator.say(f"waiting for the deletion of {', '.join(names)}")
            told = names
        time.sleep(site.poll_s)


def what_is_left(site: Site, *, prices: PriceTable) -> list[KeptResource]:
    """What stays in the account of the environment's, with its price."""
    stacks = Stacks(site.aws)
    kept = [each for artifact in site.artifacts for each in stacks.left_by(artifact.name)]
    found = list(measure(site.aws, kept, prices=prices, region=site.region))
    for project in _projects(site, []):
        known = {each.resource.id for each in found}
        more = job_logs(
            site.aws,
            f"{site.environment}-{project}",
            secured_by=_security_configurations(site),
            prices=prices,
            region=site.region,
        )
        found += [each for each in more if each.resource.id not in known]
    return [*_lone_endpoints(site), *found]


def adopt(site: Site, narrator: Narrator, *, stack_ids: Sequence[str] = ()) -> int:
    """Make stacks anew around what deleted ones of the same names left, and return how many resources they took over.

    `stack_ids` name the deleted stacks to take where those of one name left different things.

    Raises EnvironmentTrouble when it is not clear what to take, or when a deployment has begun already without it.
    """
    stacks = Stacks(site.aws)
    plans = [(artifact, _mapping(site, stacks, artifact, stack_ids)) for artifact in site.artifacts]
    for artifact, mapping in plans:
        if mapping and stacks.exists(artifact.name):
            missing = sorted(set(mapping) - {each.logical_id for each in stacks.resources(artifact.name)})
            taken = {each.logical_id: each.id for each in stacks.resources(artifact.name)}
            others = [name for name, ids in mapping.items() if taken.get(name, *ids.values()) not in ids.values()]
            if missing or others:
                raise EnvironmentTrouble(
                    f"{artifact.name} is deployed already, with new {', '.join(others or missing)} beside the old:"
                    f" dual-pipeline teardown {site.options} first, then adopt, then deploy"
                )
    count = 0
    for artifact, mapping in plans:
        if not mapping or stacks.exists(artifact.name):
            continue
        for logical_id, identifier in mapping.items():
            narrator.say(f"{artifact.path} takes over {logical_id}: {next(iter(identifier.values()))}")
        with narrator.phase(f"cdk import {artifact.path}"):
            site.toolbox.take_over(site.assembly, artifact, mapping=mapping, env=site.shell)
        count += len(mapping)
    return count


def teardown(
    environment: EnvironmentArgument,
    project: Annotated[
        str | None, typer.Option("--project", "-p", help="Only this model project; what all share stays.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go and what would stay.")] = False,
    delete_data: Annotated[
        bool,
        typer.Option("--delete-data", help=f"Empty what the deployed {_SWITCHES} let go; needed where they are set."),
    ] = False,
    app: AppOption = Path("cdk.out"),
    local: LocalOption = False,
) -> None:
    """Take an environment down: stop its runs, remove what they made, then cdk destroy; its data stays.

    Safe to run again at any point. What stays is listed, with its price and how to remove it; dual-pipeline adopt hands
    it to the next deployment.
    """
    narrator = Narrator(Console(highlight=False, soft_wrap=True))

    def action() -> int:
        site = find_site(environment, project=project, local=local, app=app, root=Path.cwd())
        inventory = take_inventory(site)
        _show_inventory(narrator.console, site, inventory)
        if inventory.deleted and not delete_data and not dry_run:
            raise EnvironmentTrouble(
                f"{environment} is deployed with {_SWITCHES}, so its data would be deleted: say --delete-data too, or"
                " deploy without the switches first"
            )
        if dry_run:
            narrator.console.print("nothing was changed")
            return 0
        if inventory.runtime or inventory.stacks:
            if not yes:
                typed = typer.prompt(f"type {environment} to go on", default="", show_default=False)
                check_confirmation(environment, typed)
            with site.toolbox.workplace.held():
                tear_down(site, narrator, agreed=inventory.deleted)
        left = what_is_left(site, prices=PriceTable.load())
        _show_left(narrator.console, site, left)
        _show_way_back(narrator.console, site)
        return 0

    raise typer.Exit(answer(action))


def adopt_data(
    environment: EnvironmentArgument,
    project: Annotated[str | None, typer.Option("--project", "-p", help="Only this model project.")] = None,
    stack_id: Annotated[
        list[str] | None,
        typer.Option("--stack-id", help="ARN of the deleted stack to take over from, where there is a choice."),
    ] = None,
    app: AppOption = Path("cdk.out"),
    local: LocalOption = False,
) -> None:
    """Before a deployment: hand it the data, ledger, models and key that a teardown left; then deploy as ever."""
    narrator = Narrator(Console(highlight=False, soft_wrap=True))

    def action() -> int:
        site = find_site(environment, project=project, local=local, app=app, root=Path.cwd())
        with site.toolbox.workplace.held():
            count = adopt(site, narrator, stack_ids=stack_id or ())
        if count:
            narrator.console.print(f"took over {count} resources; now deploy: {_deploy_command(site)}", markup=False)
            _show_way_back(narrator.console, site)
        else:
            narrator.console.print(f"nothing of {environment} waits to be taken over: deploy as ever", markup=False)
        return 0

    raise typer.Exit(answer(action))


def _check_account(aws: Clients, assembly: Assembly, region: str, where: str) -> None:
    account = aws.client("sts").get_caller_identity()["Account"]
    if assembly.account not in (None, account) or assembly.region != region:
        raise EnvironmentTrouble(
            f"{assembly.environment} belongs to account {assembly.account or account} in {assembly.region}, but you are"
            f" in {where}: sign in there, and set AWS_REGION"
        )


def _deployed(site: Site, stacks: Stacks) -> list[DeployedStack]:
    return [each for each in stacks.deployed(site.environment) if site.project in (None, each.project)]


def _lost(site: Site, stacks: Stacks) -> list[Resource]:
    """What holds data and would go with its stack, by the templates that are deployed now."""
    names = [stack.name for stack in _deployed(site, stacks)]
    kept = [each for name in names for each in stacks.retained(name)]
    return [each for name in names for each in stacks.resources(name) if holds_data(each) and each not in kept]


def _agreed(site: Site, stacks: Stacks, agreed: Collection[Resource]) -> list[Resource]:
    """What is lost, which somebody may have deployed otherwise since it was agreed to."""
    lost = _lost(site, stacks)
    if more := [each.id for each in lost if each not in agreed]:
        raise EnvironmentTrouble(
            f"{site.environment} was deployed with {_SWITCHES} meanwhile, and nobody agreed to delete"
            f" {', '.join(more)}: run the same command again to see what would go"
        )
    return lost


def _shared(site: Site, stacks: Stacks) -> list[Resource]:
    """What all projects of the environment share."""
    deployed = stacks.deployed(site.environment)
    return [each for stack in deployed if stack.project is None for each in stacks.resources(stack.name)]


def _projects(site: Site, deployed: Iterable[DeployedStack]) -> list[str]:
    """The projects that are meant: those of the assembly, and those that are deployed still."""
    named = {stack.project for stack in site.artifacts} | {stack.project for stack in deployed}
    return sorted(project for project in named if project is not None)


def _runtime(site: Site, resources: Mapping[DeployedStack, Sequence[Resource]]) -> list[RuntimeResources]:
    """What each project made; the stacks' own resources are looked into only where they are the project's."""
    deployed = [] if site.project else Stacks(site.aws).deployed(site.environment)
    return [
        RuntimeResources(
            site.aws,
            environment=site.environment,
            project=project,
            resources=[each for stack, found in resources.items() if stack.project == project for each in found],
        )
        for project in _projects(site, deployed)
    ]


def _remove_runtime(site: Site, resources: Mapping[DeployedStack, Sequence[Resource]], narrator: Narrator) -> None:
    for each in _runtime(site, resources):
        each.remove(narrator, poll_s=site.poll_s)


def _take(found: RuntimeResource) -> None:
    """Remove one thing, which may have gone meanwhile."""
    try:
        if found.remove is not None:
            found.remove()
    except ClientError as error:
        if not is_absent(error):
            raise


def _let_settle(site: Site, stacks: Stacks, narrator: Narrator) -> None:
    """The reaper sets the locks of stopped runs free: it is one of the machines that all projects share."""
    machines = RuntimeResources(site.aws, environment=site.environment, project="", resources=_shared(site, stacks))
    machines.await_runs(narrator, poll_s=site.poll_s)


def _security_configurations(site: Site) -> list[str]:
    """Names of Glue's security configurations in the stacks that are meant."""
    resources = (each for artifact in site.artifacts for each in _declared(artifact).values())
    return [each["Properties"]["Name"] for each in resources if each["Type"] == "AWS::Glue::SecurityConfiguration"]


def _declared(artifact: StackArtifact) -> dict[str, Any]:
    declared: dict[str, Any] = json.loads(artifact.template.read_text())["Resources"]
    return declared


def _mapping(
    site: Site, stacks: Stacks, artifact: StackArtifact, stack_ids: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Identifiers by logical id of what a deleted stack left, is there and the assembly's stack of that name wants."""
    declared = _declared(artifact)
    candidates: list[tuple[DeletedStack, dict[str, dict[str, str]]]] = []
    for deleted in stacks.deleted(artifact.name):
        found = {
            each.logical_id: {IDENTIFIERS[each.type]: each.id}
            for each in deleted.kept
            if each.type in IDENTIFIERS
            and declared.get(each.logical_id, {}).get("Type") == each.type
            and is_there(site.aws, each)
        }
        if found and (not stack_ids or deleted.id in stack_ids):
            candidates.append((deleted, found))
    if not candidates:
        return {}
    latest = candidates[0][1]
    if any(not found.items() <= latest.items() for _, found in candidates[1:]):
        choice = "; ".join(f"{deleted.id} of {deleted.deleted:%Y-%m-%d %H:%M}" for deleted, _ in candidates)
        raise EnvironmentTrouble(
            f"{artifact.name} was deleted more than once and left different data each time: name the one to take with"
            f" --stack-id, of {choice}"
        )
    return latest


def check_confirmation(environment: str, typed: str) -> None:
    """Go on only when somebody typed the environment's name.

    Raises EnvironmentTrouble.
    """
    if typed.strip() != environment:
        raise EnvironmentTrouble(f"that was not {environment}, got {typed.strip()!r}: nothing was changed")


def _deploy_command(site: Site) -> str:
    if site.local:
        return "dual-pipeline local deploy"
    # of the shared stacks nothing changes but names of the project's roles, which the CLI does not look at
    force = " --force" if site.project else ""
    return f"node_modules/.bin/cdk deploy --app {site.assembly.folder} '{site.assembly.stage}/*'{force}"


def _show_inventory(console: Console, site: Site, inventory: Inventory) -> None:
    console.print(f"{site.environment} in {site.where}", markup=False)
    table = Table("goes", "what", Column("name", overflow="fold"))
    for each in inventory.runtime:
        table.add_row(_FATES.get(each.kind, "is removed"), each.kind, Text(each.name))
    for stack in inventory.stacks:
        table.add_row("is destroyed", "stack", Text(stack.name))
    for resource in inventory.deleted:
        table.add_row(Text("is DELETED", style="bold red"), resource.type, Text(resource.id))
    console.print(table if table.row_count else "no stack is deployed, and nothing is left that its runs made")
    if inventory.kept:
        kept = Table("stays", Column("name", overflow="fold"))
        for resource in inventory.kept:
            kept.add_row(resource.type, Text(resource.id))
        console.print(kept)


_FATES = {
    "attached policy": "is detached",
    **dict.fromkeys(("rule", "schedule"), "is switched off"),
    **dict.fromkeys(("run", "pipeline execution", "Glue job run", *JOB_KINDS), "is stopped"),
}


def _lone_endpoints(site: Site) -> Iterator[KeptResource]:
    """What is called dev-census-2-x is left by census-2, if there is one, and not by census."""
    projects = {stack.project for stack in site.assembly.stacks if stack.project}
    for made in _runtime(site, {}):
        for each in made.nobodys_endpoints():
            named = [name for name in projects if each["EndpointName"].startswith(f"{site.environment}-{name}-")]
            if made.project == max(named, key=len, default=made.project):
                yield lone_endpoint(each)


def _show_left(console: Console, site: Site, left: Sequence[KeptResource]) -> None:
    what = f"project {site.project} of {site.environment}" if site.project else site.environment
    lone = any(each.resource.type == "AWS::SageMaker::Endpoint" for each in left)
    but = "but for the endpoints below no" if lone else "no endpoint,"
    console.print(f"{what} is down: {but} job, alarm or stack of it is left", markup=False)
    if not left:
        console.print("nothing stays")
        return
    table = Table("stays", Column("name", overflow="fold"), "size", "a month", Column("to remove it", overflow="fold"))
    for each in left:
        cost = str(each.cost) if each.cost is not None else "not priced"
        kind = each.resource.type.removeprefix("AWS::").replace("::", " ")
        table.add_row(kind, Text(each.resource.id), each.size, cost, Text(each.how))
    console.print(table)
    console.print(
        f"the next deployment takes it over: dual-pipeline adopt {site.options}, within 90 days, then"
        f" {_deploy_command(site)}",
        markup=False,
    )
    for arn in (each.arn for each in left if each.arn):
        console.print(f'or, without adopting, keep the key in environments.py: existing_key_arn="{arn}"')
    if not site.local:
        console.print("the CDK's bootstrap stack and its assets serve every app of the account and stay as well")


def _show_way_back(console: Console, site: Site) -> None:
    commands = way_back(site.aws, site.assembly, project=site.project, local=site.local)
    if commands:
        console.print(
            "once that is deployed, a run on new data makes an endpoint; until then the last model is brought back with"
        )
    for command in commands:
        console.print(f"  {command}", markup=False)
