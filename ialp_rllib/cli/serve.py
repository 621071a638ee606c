"""``ialp serve``, ``ialp promote``, ``ialp rollback``: a policy before users."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from typer.core import TyperGroup

from ialp_rllib.cli import console, crash

if TYPE_CHECKING:
    from ialp_rllib.serving.folder import ServiceFolder
    from ialp_rllib.serving.versions import Current, Versions

PAGE_SECONDS = 2.0


class _WithDefault(TyperGroup):
    """``ialp serve POLICY`` is ``ialp serve start POLICY``."""

    default = "start"

    def parse_args(self, context: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = [self.default, *args]
        return super().parse_args(context, args)


app = typer.Typer(
    cls=_WithDefault,
    help="Serve an exported policy that learns from its users: ialp serve POLICY.",
    no_args_is_help=True,
)

Service = Annotated[Path, typer.Argument(help="Folder of the service.")]


@app.command()
def start(
    policy: Annotated[Path, typer.Argument(help="Folder that `ialp export` wrote.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the service: logs, versions, page. Default: POLICY-service.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting of the service, e.g. guard.canary=0.2."),
    ] = None,
    simulate: Annotated[
        Path | None, typer.Option("--simulate", metavar="RUN", help="Let simulated users of this run ask the service.")
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0, help="End after so many seconds; 0: when it is interrupted.")
    ] = 0.0,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Make the folder and end: for a cluster, see cluster/rayservice.yaml.")
    ] = False,
    verbose: console.Verbose = False,
) -> None:
    """Serve a policy over HTTP, log what it decides, and learn from the feedback."""
    console.configure_logging(verbose)
    crash.remember(shown=verbose)
    from ialp_rllib.serving.artifact import read_artifact
    from ialp_rllib.serving.folder import create_service
    from ialp_rllib.storage import locked

    artifact = read_artifact(policy)
    root = (out or Path(f"{artifact.folder}-service")).expanduser().resolve()
    with locked(root):
        folder = create_service(root, artifact, set_ or ())
        folder.token()  # refused before anything is started
        if prepare:
            console.print_path("Service", root)
            return
        _serve(folder, simulate.expanduser().resolve() if simulate else None, seconds)


def _serve(folder: ServiceFolder, simulate: Path | None, seconds: float) -> None:
    from ialp_rllib import runtime
    from ialp_rllib.runtime.starting import start_here
    from ialp_rllib.serving import deployment

    http = folder.settings.http
    url = f"http://{http.host}:{http.port}"
    world = _read_traffic(simulate, folder) if simulate else None
    with console.messages.status("Starting the service"):
        start_here(log_to_driver=False)
    learner = door = None
    stop = threading.Event()
    try:
        learner, door = deployment.start(folder)
        console.messages.print(f"Serving on {url}; its page: {url}/", highlight=False)
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: stop.set())
        with _users(world, folder, url, stop):
            _write_pages(folder, stop, seconds)
    finally:
        console.messages.print("Ending the service", highlight=False)
        deployment.stop(learner, door)
        runtime.stop()
    if not _write_page(folder):
        console.print_path("Page", folder.root / "index.html")


def application(arguments: dict[str, Any]) -> Any:
    """A prepared service with its page, as a configuration of Ray Serve names it: ``cluster/rayservice.yaml``.

    Args:
        arguments: ``service``: the folder that ``ialp serve --prepare`` made.

    Raises:
        InputError: see :func:`ialp_rllib.serving.deployment.application`.
    """
    from ialp_rllib.report.serving.page import write_service_page
    from ialp_rllib.serving import deployment

    return deployment.application(arguments, write_service_page)


def _read_traffic(run: Path, folder: ServiceFolder) -> Any:
    """Simulated users, with the items of the policy."""
    from ialp_rllib.errors import InputError
    from ialp_rllib.serving.simulate import Traffic, read_world, require_range

    artifact, settings = folder.artifact, folder.settings
    world, _, catalogue = read_world(run, settings.traffic)
    if tuple(catalogue.item_ids.tolist()) != artifact.item_ids:
        raise InputError(str(run), "has other items than the policy", "the run that the policy was exported from")
    require_range(world, artifact, settings.feedback)
    return Traffic(world, artifact.item_ids, catalogue.user_ids.tolist(), settings.traffic, artifact.network.feedback)


@contextlib.contextmanager
def _users(traffic: Any, folder: ServiceFolder, url: str, stop: threading.Event) -> Iterator[None]:
    """Simulated users ask the service meanwhile, if there are any."""
    if traffic is None:
        yield
        return
    from ialp_rllib.serving.client import Client
    from ialp_rllib.serving.simulate import HttpTraffic

    settings = folder.settings.traffic
    asks = HttpTraffic(Client(url, folder.token(), retries=8), settings.users)

    def play() -> None:
        while not stop.is_set():
            try:
                traffic.round(asks.recommend, asks.store)
            except OSError as error:
                if not stop.is_set():
                    console.messages.print(f"the simulated users stop: {error}", highlight=False)
                return
            stop.wait(settings.pause)

    thread = threading.Thread(target=play, name="users", daemon=True)
    thread.start()
    yield
    thread.join(30)


def _write_pages(folder: ServiceFolder, stop: threading.Event, seconds: float) -> None:
    """Keep the page of the service up to date until it ends."""
    ends = time.monotonic() + seconds if seconds else float("inf")
    problem = ""
    while not stop.is_set() and time.monotonic() < ends:
        problem = _write_page(folder, problem)
        stop.wait(min(PAGE_SECONDS, max(ends - time.monotonic(), 0.0)))
    stop.set()


def _write_page(folder: ServiceFolder, known: str = "") -> str:
    """Write the page; a service goes on without it. Returns why it could not be written; ``known``: said already."""
    from ialp_rllib.errors import IalpError
    from ialp_rllib.report.serving.page import write_service_page

    try:
        write_service_page(folder)
    except (IalpError, OSError) as error:
        if str(error) != known:
            console.messages.print(f"the page is not written, the service goes on: {error}", highlight=False)
        return str(error)
    return ""


@app.command()
def status(service: Service, verbose: console.Verbose = False) -> None:
    """Show what a service serves, how its arms do, and what happened."""
    console.configure_logging(verbose)
    from ialp_rllib.report.kit.formatting import format_count, format_number
    from ialp_rllib.report.serving.numbers import arm_rows, read_status
    from ialp_rllib.serving.folder import open_service

    folder = open_service(service)
    state = read_status(folder)
    out = console.results()
    current = state["current"]
    canary = f", version {current['canary']} is tried" if current["canary"] is not None else ""
    out.print(f"version {current['promoted']} is promoted{canary}", highlight=False)
    table = Table("arm", "sessions", "return", "95% interval")
    for row in arm_rows(state, folder.settings.guard):
        bounds = f"{format_number(row.low)} to {format_number(row.high)}"
        table.add_row(row.arm, format_count(row.sessions), format_number(row.mean), bounds)
    out.print(table)
    for arm, found in state.get("fallbacks", {}).items():
        reasons = {key: count for key, count in found.items() if key not in ("version", "decisions")}
        if reasons:
            text = ", ".join(f"{reason} {format_count(count)}" for reason, count in reasons.items())
            out.print(
                f"{arm}: pi_theta stood in for version {found['version']} in {text} of "
                f"{format_count(found['decisions'])} decisions",
                highlight=False,
            )
    for event in state["events"][-5:]:
        out.print(event["text"], highlight=False)


def promote(
    service: Service,
    version: Annotated[int | None, typer.Option("--version", help="Version. Default: the one that is tried.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Promote it where the gate says hold or refuse, too.")] = False,
    fqe: Annotated[
        bool, typer.Option("--fqe/--no-fqe", help="Let the gate fit critics; without: faster, and less certain.")
    ] = True,
    verbose: console.Verbose = False,
) -> None:
    """Give all users but those of the control arm a version, if the off-policy gate lets it pass.

    Exit status: 0 promoted, 3 the gate says hold, 4 refuse; 2: there is no such version.
    """
    console.configure_logging(verbose)
    from ialp_rllib.cli.evaluate import show_verdict
    from ialp_rllib.errors import InputError
    from ialp_rllib.ope.gate import EXIT_CODES, PASS
    from ialp_rllib.serving.evaluated import version_verdict
    from ialp_rllib.serving.folder import open_service
    from ialp_rllib.serving.versions import Current, Versions
    from ialp_rllib.settings import OPESettings

    folder = open_service(service)
    versions = Versions(folder.root)
    current = versions.current()
    number = current.canary if version is None else version
    if number is None:
        raise InputError("--version", "is not given, and no version is being tried", "the number of a version")
    versions.load(number, folder.artifact.network)
    with console.messages.status("Asking the gate"):
        verdict = version_verdict(folder, number, current.promoted, OPESettings(), fqe)
    show_verdict(verdict)
    if verdict.decision != PASS and not force:
        console.messages.print(f"version {number} is not promoted; --force promotes it", highlight=False)
        raise typer.Exit(EXIT_CODES[verdict.decision])
    reason = f"version {number}, by hand (gate: {verdict.decision})"
    _serve_by_hand(versions, current, Current(number, None, current.promoted, reason, time.time()))
    console.messages.print(f"version {number} is promoted", highlight=False)


def rollback(
    service: Service,
    to: Annotated[
        int | None, typer.Option("--to", help="Version; 0: pi_theta alone. Default: the one that was promoted before.")
    ] = None,
    verbose: console.Verbose = False,
) -> None:
    """Take back the version that is tried, and the promoted one."""
    console.configure_logging(verbose)
    from ialp_rllib.serving.folder import open_service
    from ialp_rllib.serving.versions import Current, Versions

    versions = Versions(open_service(service).root)
    current = versions.current()
    number = current.before if to is None else to
    wanted = Current(number, None, 0, f"rolled back to version {number}, by hand", time.time())
    _serve_by_hand(versions, current if to is None else None, wanted)
    console.messages.print(f"version {number} is promoted", highlight=False)


def _serve_by_hand(versions: Versions, seen: Current | None, wanted: Current) -> None:
    """Serve what was decided on by ``seen``; None: whatever is served."""
    from ialp_rllib.errors import InputError

    if not versions.serve(wanted, instead_of=seen):
        now = versions.current()
        problem = f"changed meanwhile: version {now.promoted} is promoted ({now.reason})"
        raise InputError(str(versions.root), problem, "the same command again, if that is still what you want")
