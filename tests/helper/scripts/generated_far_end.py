"""A far end whose only folder, the source root, is generated and may be as large as wanted.

usage: generated_far_end.py KIND COUNT serve
It keeps the protocol, also the credit. KIND says what the root holds COUNT of; the names have 255 bytes. Those of the
kind "names" belong to one inode, whose content is sent after all names. The content of the kind "withheld" never comes.
"""

import os
import sys
import threading

# Nothing is written into the checkout.
sys.dont_write_bytecode = True
from wire import number, text

kind, count = sys.argv[1], int(sys.argv[2])
credit = {"listings": 0, "contents": 0}
changed = threading.Condition()
FILE, FOLDER = 0, 1
LOOK, CLOCK, BATCH, UNREADABLE, LISTED, DATA, HOLE, READ = 2, 4, 5, 6, 7, 8, 9, 10

TIMES = 2 * (number(2 * 1_600_000_000) + number(5))
SIZE = {"withheld": 1, "tiny": count, "holes": 2 * count}.get(kind, 0)
LINKS = {"links": 2, "names": count + 1}.get(kind, 1)
HEAD = {
    FILE: bytes([FILE]) + number(0o644) + number(0) + number(0) + number(SIZE) + TIMES + b"\1" + number(7),
    FOLDER: bytes([FOLDER]) + number(0o755) + number(0) + number(0) + number(0) + TIMES + b"\1" + number(7),
}
TAIL = number(LINKS) + number(0) + number(SIZE)
VALUE = os.urandom(60_000)
NO_ATTRIBUTES = b"\0"
ATTRIBUTES = b"\1\0" + number(3) + b"".join(text(b"user.%d" % it) + text(VALUE) for it in range(3)) + b"\0"
EXTRA = ATTRIBUTES if kind == "attributes" else NO_ATTRIBUTES
REST = b"n" * 247


def meta(what, inode):
    return HEAD[what] + number(inode) + TAIL


def name(index):
    return b"%08d" % index + REST


def read(size):
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            os._exit(0)
        data += part
    return data


def send(request, message, cost=None):
    frame = request.to_bytes(4, "big") + message
    if cost:
        with changed:
            changed.wait_for(lambda: credit[cost] > 0)
            credit[cost] -= len(message) - 1 if cost == "contents" else len(frame) + 4
    frame = len(frame).to_bytes(4, "big") + frame
    with writing:
        while frame:
            frame = frame[os.write(1, frame) :]


writing = threading.Lock()


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self):
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def text(self):
        size = self.number()
        self.at += size
        return self.data[self.at - size : self.at]


WHAT = FOLDER if kind == "folders" else FILE
# An error: "list", and EIO.
ERROR = bytes([2, 2, 1]) + number(2 * 5) + text(b"")


def entry(index):
    return text(name(index)) + meta(WHAT, inode(index)) + EXTRA


def inode(index):
    return 10 if kind == "names" else index + 10


def list_root(request):
    total = 1 if kind in ("tiny", "holes") else count
    if kind == "unreadable":
        for index in range(total):
            send(request, bytes([UNREADABLE]) + text(name(index)) + ERROR, "listings")
        total = 0
    together = 1 if kind == "attributes" else 400
    for first in range(0, total, together):
        last = min(first + together, total)
        entries = b"".join(entry(it) for it in range(first, last))
        send(request, bytes([BATCH]) + number(last - first) + entries, "listings")
    send(request, bytes([LISTED, 0]))
    listed.set()


def fetch(request, of, waits=False):
    if waits:
        listed.wait()
    if kind == "tiny":
        for _ in range(count):
            send(request, bytes([DATA]) + b"x", "contents")
    if kind == "holes":
        for _ in range(count):
            send(request, bytes([DATA]) + b"x", "contents")
            send(request, bytes([HOLE, 1]))
    send(request, bytes([READ, 0]) + meta(FILE, inode(int(of[:8]))))


def answer(request, message):
    at = Reader(message)
    what = at.number()
    if what == 1:
        root = b"\0" + meta(FOLDER, 2) + NO_ATTRIBUTES
        send(request, bytes([1, 0]) + root + b"\0\0")
        roots.add(at.number())
    elif what == 4:
        at.number()
        found = b"\1" + ERROR if kind == "unreadable" else b"\0" + entry(int(at.text()[:8]))
        send(request, bytes([LOOK]) + found)
    elif what == 5:
        send(request, bytes([3, 0, 0]))
    elif what == 6:
        send(request, bytes([CLOCK, 1]) + number(2 * 1_700_000_000) + number(0))
    elif what in (7, 14):
        if at.number() in roots:
            threading.Thread(target=list_root, args=(request,), daemon=True).start()
        else:
            send(request, bytes([LISTED, 0]))
    elif what in (8, 16):
        at.number()
        of = at.text()
        if kind == "withheld":
            return
        if kind == "names" and not fetched:
            fetched.append(of)
            threading.Thread(target=fetch, args=(request, of, True), daemon=True).start()
        elif SIZE:
            threading.Thread(target=fetch, args=(request, of), daemon=True).start()
        else:
            fetch(request, of)
    elif what == 10:
        with changed:
            credit["listings"] += at.number()
            credit["contents"] += at.number()
            changed.notify_all()


roots = set()
listed = threading.Event()
fetched = []
read(8)
read(int.from_bytes(read(4), "big"))
send(0, bytes([0]) + number(1) + number(0) + text(b"0.1.0"))
buffer = b""
while True:
    part = os.read(0, 1 << 16)
    if not part:
        break
    buffer += part
    at = 0
    while len(buffer) - at >= 4:
        size = int.from_bytes(buffer[at : at + 4], "big")
        if len(buffer) - at - 4 < size:
            break
        frame = buffer[at + 4 : at + 4 + size]
        at += 4 + size
        answer(int.from_bytes(frame[:4], "big"), frame[4:])
    buffer = buffer[at:]
