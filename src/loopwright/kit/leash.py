"""Starts a program that dies with the one who asked: `python -I -S leash.py PARENT_PID SIGNAL COMMAND…`.

The kernel keeps a parent-death signal over exec, but it must be set between fork and exec. Python code there is unsafe
in a process with threads, so this little program stands between: it sets the signal and becomes COMMAND.
Imports only the stdlib, because it runs without site-packages to start within milliseconds.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(signal_number: int) -> None:
    """Ask the kernel to send this process `signal_number` once its parent is gone; elsewhere than on Linux a no-op.

    Raises:
        OSError: the kernel refused.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")


def main(arguments: list[str]) -> None:
    """Become the command, unless the parent died before the signal was set."""
    parent, signal_number, command = int(arguments[0]), int(arguments[1]), arguments[2:]
    die_with_parent(signal_number)
    if os.getppid() != parent:
        sys.exit(f"the supervisor (process {parent}) is gone")
    try:
        os.execvp(command[0], command)  # noqa: S606 - becoming the command without a shell is the purpose
    except OSError as error:
        sys.exit(f"cannot start {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
