"""The console's routes, for the server to mount after the API's."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from loopwright.app import App
from loopwright.console.alert_pages import AlertPages
from loopwright.console.assets import Assets
from loopwright.console.batch_list import BatchList
from loopwright.console.budgets import Budgets
from loopwright.console.collection_pages import CollectionPages
from loopwright.console.cost_pages import CostPages
from loopwright.console.dashboard_pages import DashboardPages
from loopwright.console.dataset_pages import DatasetPages
from loopwright.console.detail import Detail
from loopwright.console.document_pages import DocumentPages
from loopwright.console.drift_pages import DriftPages
from loopwright.console.echoes import Echoes
from loopwright.console.evaluation_pages import EvaluationPages
from loopwright.console.experiments import ExperimentPages
from loopwright.console.help_pages import HelpPages
from loopwright.console.instrument_pages import InstrumentPages
from loopwright.console.judge_pages import JudgePages
from loopwright.console.key_ring import KeyRing
from loopwright.console.listing import Listing
from loopwright.console.measured_pages import MeasuredPages
from loopwright.console.memory_pages import MemoryPages
from loopwright.console.next_steps import NextSteps
from loopwright.console.overview import Overview
from loopwright.console.playground import Playground
from loopwright.console.prompt_editing import PromptEditing
from loopwright.console.prompt_pages import PromptPages
from loopwright.console.prompt_trial import PromptTrial
from loopwright.console.review_pages import ReviewPages
from loopwright.console.roads import Roads
from loopwright.console.said import Said
from loopwright.console.score_pages import ScorePages
from loopwright.console.search_pages import SearchPages
from loopwright.console.session_pages import SessionPages
from loopwright.console.sessions import Sessions, secret_of
from loopwright.console.shelf import Shelf
from loopwright.console.shell import Shell
from loopwright.console.signing import Signing
from loopwright.console.slo_pages import SloPages
from loopwright.console.task_pages import TaskPages
from loopwright.console.trace_pages import TracePages
from loopwright.core.errors import NotFound

_MACHINES = ("/v1/", "/api/", "/otlp/")


def console(app: App) -> list[Route]:
    """Every route of the console; the last one answers all other addresses with a page that says so.

    Raises:
        StartError: the data folder cannot hold the console's secret.
    """
    assets = Assets()
    shell = Shell(app, Sessions(secret_of(app.settings.home)), assets)
    playground = Playground(shell)

    async def home(_request: Request) -> Response:
        return RedirectResponse("/overview", 303)

    async def unknown(request: Request) -> Response:
        error = NotFound(f"there is nothing at {request.url.path}")
        return shell.failed(request, error, page=not request.url.path.startswith(_MACHINES))

    return [
        shell.route("/", home),
        shell.route("/static/{release}/{name}", assets.serve, page=False),
        *Signing(shell).routes(),
        *shell.page("/overview", "overview.html", Overview(app)),
        *shell.page("/calls", "calls.html", Listing(app)),
        *shell.page("/calls/{call_id}", "call.html", Detail(app)),
        *Said(shell).routes(),
        *playground.routes(),
        *HelpPages(shell, playground).routes(),
        *shell.page("/models", "models.html", Shelf(app)),
        *shell.page("/routes", "routes.html", Roads(app)),
        *Echoes(shell).routes(),
        *BatchList(shell).routes(),
        *TracePages(shell).routes(),
        *InstrumentPages(shell).routes(),
        *SessionPages(shell).routes(),
        *NextSteps(shell).routes(),
        *TaskPages(shell).routes(),
        *PromptEditing(shell).routes(),
        *PromptTrial(shell).routes(),
        *PromptPages(shell).routes(),
        *MemoryPages(shell).routes(),
        *SearchPages(shell).routes(),
        *MeasuredPages(shell).routes(),
        *DocumentPages(shell).routes(),
        *CollectionPages(shell).routes(),
        *ReviewPages(shell).routes(),
        *DashboardPages(shell).routes(),
        *CostPages(shell).routes(),
        *ScorePages(shell).routes(),
        *Budgets(shell).routes(),
        *DriftPages(shell).routes(),
        *AlertPages(shell).routes(),
        *SloPages(shell).routes(),
        *DatasetPages(shell).routes(),
        *EvaluationPages(shell).routes(),
        *JudgePages(shell).routes(),
        *ExperimentPages(shell).routes(),
        *KeyRing(shell).routes(),
        shell.route("/{path:path}", unknown, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
    ]
