"""The process that reads files: `python -m loopwright.documents.reading_child PARENT MEMORY`, asked through its pipes.

Once it is ready it can open no file and no connection, write nothing, and take only so much memory and time: parsers are
large programs in C, and files come from anybody.
"""

from __future__ import annotations

import codecs
import math
import os
import resource
import signal
import sys
from contextlib import suppress
from encodings.aliases import aliases
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from loopwright.documents import reading, records
from loopwright.documents.exchange import HEAD, Answer, Question, asked
from loopwright.documents.limits import Limits
from loopwright.documents.samples import samples
from loopwright.documents.unreadable import Unreadable
from loopwright.kit.leash import die_with_parent

_encode: Final = msgspec.msgpack.Encoder().encode


def load() -> None:
    """Load all that reading will ever load: from `confine` on, no module can be opened."""
    for name in sorted(set(aliases.values())):
        with suppress(LookupError, ImportError):
            codecs.lookup(name)
    for name, data in samples():
        reading.read(data, name, limits=Limits())


def confine(memory: int) -> None:
    """From now on: no new file, no connection, no core dump, nothing written, `memory` bytes more than now."""
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(limit, (0, 0))
    mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + memory, mapped + memory))
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


def main(arguments: list[str]) -> None:
    """Answer until the pipe is closed."""
    parent, memory = int(arguments[0]), int(arguments[1])
    die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("whoever asked is gone")
    load()
    # What a library prints is no answer, and names what is in the file: it goes nowhere.
    asking, answering = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    confine(memory)
    _say(answering, Answer())
    while not _answer(asking, answering).last:
        pass


def _answer(asking: BinaryIO, answering: BinaryIO) -> Answer:
    head = asking.read(HEAD.size)
    if len(head) < HEAD.size:
        return Answer(last=True)
    length, size = HEAD.unpack(head)
    question = asked.decode(asking.read(length))
    try:
        answer = _read(question, asking.read(size))
        _say(answering, answer)
    except MemoryError:  # what is left of the memory is in pieces
        answer = Answer(unreadable="needs more memory to read than it may take", last=True)
        _say(answering, answer)
    return answer


def _read(question: Question, data: bytes) -> Answer:
    used = sum(os.times()[:2])
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used + question.limits.seconds), hard))
    try:
        if question.fields is None:
            return Answer(parsed=reading.read(data, question.name, limits=question.limits))
        found = records.records(data, question.name, fields=question.fields, limits=question.limits)
        return Answer(records=list(found))
    except Unreadable as error:
        return Answer(unreadable=error.reason)


def _say(answering: BinaryIO, answer: Answer) -> None:
    message = _encode(answer)
    answering.write(HEAD.pack(len(message), 0) + message)
    answering.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
