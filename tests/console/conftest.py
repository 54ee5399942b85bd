"""The console over a real house, and a real Chromium to look at it."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import httpx
import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from psycopg import sql

from loopwright.kit.postgres import EmbeddedPostgres
from tests.console.housing import House


@pytest.fixture(scope="package")
def database(postgres: EmbeddedPostgres, postgres_url: str) -> Iterator[str]:
    """One database for all tests of this room; they only add to it."""
    name = f"console_{uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        make = sql.SQL("CREATE DATABASE {} TEMPLATE loopwright OWNER loopwright STRATEGY wal_log")
        admin.execute(make.format(sql.Identifier(name)))
    yield postgres.url_of(name, "loopwright")
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="package")
def house(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(home=tmp_path_factory.mktemp("house"), database_url=database)
    house.start()
    try:
        yield house
    finally:
        house.stop()


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium: apt-get install chromium")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


@dataclass
class Visitor:
    """A page of a signed-in browser, and everything it complained of."""

    page: Page
    complaints: list[str]


def signed_in(context: BrowserContext, house: House, key: str) -> Visitor:
    complaints: list[str] = []
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{house.url}/sign-in")
    page.fill("#key", house.secrets[key])
    page.click("text=Sign in >> nth=-1")
    page.wait_for_url("**/overview")
    return Visitor(page=page, complaints=complaints)


@pytest.fixture
def visitor(chromium: Browser, house: House) -> Iterator[Visitor]:
    """The administrator's browser."""
    context = chromium.new_context()
    yield signed_in(context, house, "boss")
    context.close()


@pytest.fixture
def boss(house: House) -> Iterator[httpx.Client]:
    with house.client("boss") as client:
        yield client


@pytest.fixture
def clerk(house: House) -> Iterator[httpx.Client]:
    with house.client("clerk") as client:
        yield client
