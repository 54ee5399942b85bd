"""Becomes a PostgreSQL program: drops root, ties its life to the parent's, then execs. Runs as a script.

    python -I -S postgres_exec.py PARENT_PID UID GID REACH PROGRAM [ARGUMENT …]

It stands between fork and exec because nothing else may: a `preexec_fn` can deadlock in a process with threads, and the
parent-death signal is lost when the user changes after it was set. It imports only the standard library, and nothing of
ours, so that it starts in some 15 ms.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_READ = 23
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522
_DAC_OVERRIDE = 1
_DAC_READ_SEARCH = 2


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def become(uid: int, gid: int, *, reach: bool) -> None:
    """Become an ordinary user; with `reach`, one that may still enter and read folders closed to it.

    PostgreSQL refuses to run as root, and a checkout under `/root` is closed to everyone else. Opening those folders
    to the world would be worse than one capability on one process.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if reach:
        libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if not reach:
        return
    # Containers often grant DAC_OVERRIDE but not the weaker DAC_READ_SEARCH.
    weaker = libc.prctl(_PR_CAPBSET_READ, _DAC_READ_SEARCH, 0, 0, 0) == 1
    capability = _DAC_READ_SEARCH if weaker else _DAC_OVERRIDE
    bit = 1 << capability
    sets = (_Sets * 2)(_Sets(bit, bit, bit), _Sets(0, 0, 0))
    if libc.capset(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), ctypes.byref(sets)) == 0:
        libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0)


def die_with(parent: int) -> None:
    """Have the kernel ask for a fast shutdown (SIGINT; SIGTERM would wait for the clients) when `parent` dies."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the parent died before the server started")


def main() -> None:
    """Read the arguments, change, exec."""
    parent, uid, gid, reach = (int(word) for word in sys.argv[1:5])
    program = sys.argv[5:]
    if os.geteuid() == 0:
        try:
            become(uid, gid, reach=bool(reach))
        except OSError as error:
            sys.exit(
                f"PostgreSQL refuses to run as root, and root may not become user {uid} here: {error.strerror}; "
                f"start as an ordinary user, or set database.url (LOOPWRIGHT_DATABASE_URL) to a server of yours",
            )
    die_with(parent)
    os.execv(program[0], program)  # noqa: S606  (the program is the server our own parent names)


if __name__ == "__main__":
    main()
