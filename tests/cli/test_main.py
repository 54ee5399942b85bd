"""The frame: help, version, exit codes, errors without tracebacks, completion, start-up."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.main import get_command

from loopwright import __version__
from loopwright.cli.main import ENTRIES, app, main
from tests.cli.stand_in import SECRET, House

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_help_names_every_command(run: Run) -> None:
    done = run("--help")
    assert done.returncode == 0
    for entry in ENTRIES:
        assert f" {entry.name} " in done.stdout
    assert "\x1b" not in done.stdout


def test_help_imports_no_command() -> None:
    program = (
        "import sys\nfrom loopwright.cli.main import main\nmain(['--help'])\nprint(list(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(eval(done.stderr))
    assert {name for name in loaded if name.startswith("loopwright.cli.")} == {
        "loopwright.cli.main",
        "loopwright.cli.screen",
    }
    # Beside them only what `import loopwright` itself offers, which stands on the standard library alone: no room with
    # tables, engines or a server.
    assert not loaded & {"psycopg", "fastapi", "starlette", "uvicorn", "jinja2", "yaml", "msgspec", "numpy"}
    assert not {name for name in loaded if name.startswith("loopwright.") and name.endswith((".store", ".held"))}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_command_has_help(run: Run, entry: object) -> None:
    name = entry.name  # type: ignore[attr-defined]
    done = run(name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"loopwright {name}" in done.stdout


def test_version(run: Run) -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"loopwright {__version__}\n")


def test_wrong_usage_is_2(run: Run) -> None:
    assert run("call").returncode == 2
    assert "Did you mean 'calls'" in run("call").stderr
    assert run("calls", "list", "--no-such-option").returncode == 2


def test_without_a_command_it_says_what_there_is(run: Run) -> None:
    done = run()
    assert "models" in done.stdout + done.stderr


def test_no_server_says_so_and_what_to_do(run: Run) -> None:
    done = run("calls", "list")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "error: Loopwright does not answer at http://127.0.0.1:1 (Connection refused)",
        "  → Start it with `loopwright up`, or say where it is with LOOPWRIGHT_URL",
    ]


def test_debug_shows_where(run: Run) -> None:
    assert "Traceback" in run("--debug", "calls", "list").stderr
    assert "Traceback" in run("calls", "list", env={"LOOPWRIGHT_DEBUG": "1"}).stderr


def test_a_wrong_key_says_where_the_right_one_is(run: Run, house: House) -> None:
    done = run("keys", "list", house=house, env={"LOOPWRIGHT_API_KEY": "lw-wrong"})
    assert done.returncode == 1
    assert done.stderr.startswith("error: nobody knows this key\n")
    assert "LOOPWRIGHT_API_KEY" in done.stderr


def test_a_url_that_is_none_is_wrong_usage(run: Run) -> None:
    done = run("keys", "list", env={"LOOPWRIGHT_URL": "localhost:4100"})
    assert done.returncode == 2
    assert "'localhost:4100' is not a URL" in done.stderr


def test_a_wrong_configuration_is_2(run: Run) -> None:
    done = run("keys", "list", env={"LOOPWRIGHT_URL": "", "LOOPWRIGHT_SERVER_PORT": "many"})
    assert done.returncode == 2
    assert "LOOPWRIGHT_SERVER_PORT" in done.stderr


def test_secrets_of_the_server_are_not_asked_of_a_shell_beside_it(run: Run, tmp_path: Path, house: House) -> None:
    port = house.url.rpartition(":")[2]
    text = f"server: {{port: {port}}}\nproviders: {{acme: {{base_url: 'http://127.0.0.1:9/v1', api_key: '${{NOT_HERE}}'}}}}\n"
    (tmp_path / "loopwright.yaml").write_text(text, encoding="utf-8")
    done = run("keys", "list", env={"LOOPWRIGHT_URL": "", "LOOPWRIGHT_API_KEY": SECRET})
    assert done.returncode == 0, done.stderr
    (tmp_path / "loopwright.yaml").write_text("server: {port: many}\n", encoding="utf-8")
    done = run("keys", "list", env={"LOOPWRIGHT_URL": "", "LOOPWRIGHT_API_KEY": SECRET})
    assert done.returncode == 2
    assert "server.port" in done.stderr


def test_main_returns_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert main(["nonsense"]) == 2
    assert capsys.readouterr().out == f"loopwright {__version__}\n"


def test_completion_of_commands_and_of_their_options(run: Run) -> None:
    def complete(words: str) -> str:
        count = str(len(words.split(" ")) - 1)
        told = {"_LOOPWRIGHT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": count}
        return run(env=told).stdout

    assert {"calls", "chat", "check"} <= set(complete("loopwright c").split())
    assert "revoke" in complete("loopwright keys r")
    assert "--project" in complete("loopwright keys list --p")


def test_the_root_is_one_group() -> None:
    assert get_command(app).name is not None
