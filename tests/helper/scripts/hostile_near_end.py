"""A near end that asks for everything and reads nothing. Prints the peak memory of the far end, KiB.

usage: hostile_near_end.py KIND FOLDER PROGRAM serve --read-only
FOLDER has the files "large" and "small" and the folder "many".
"""

import os
import select
import subprocess
import sys
import time

# Nothing is written into the checkout.
sys.dont_write_bytecode = True
from wire import number, text

kind, folder, command = sys.argv[1], os.fsencode(sys.argv[2]), sys.argv[3:]
far = subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def signed(value):
    return number(2 * value)


def frame(request, message):
    data = request.to_bytes(4, "big") + message
    return len(data).to_bytes(4, "big") + data


def file(name, offset=0):
    found = os.stat(os.path.join(folder, name))
    times = [signed(it // 10**9) + number(it % 10**9) for it in (found.st_mtime_ns, found.st_ctime_ns)]
    ident = b"\1" + number(found.st_dev) + number(found.st_ino)
    return text(name) + ident + number(found.st_size) + b"".join(times) + number(offset) + b"\0"


def child(folder_number, parent, name):
    return frame(0, bytes([2]) + number(folder_number) + number(parent) + text(name) + b"\0")


MOST = 16_000
DIGEST = bytes(16)
CREDIT = frame(0, bytes([10]) + number(1 << 62) + number(1 << 62))


def flood():
    yield b"BMSERVE\n"
    yield frame(0, bytes([0]) + number(0) + number(9) + number(0) + b"\1\1" + b"\0\0\0" + number(0))
    yield frame(1, bytes([1]) + number(1) + text(folder) + b"\0")
    yield child(2, 1, b"many")
    if kind.startswith("credit-"):
        yield CREDIT
    what = kind.removeprefix("credit-")
    requests = range(2, 2 + MOST)
    if what == "lists":
        yield b"".join(frame(it, bytes([7]) + number(2)) for it in requests)
    elif what == "looks":
        yield b"".join(frame(it, bytes([4]) + number(1) + text(b"n" * 255)) for it in requests)
    elif what == "small":
        yield b"".join(frame(it, bytes([8]) + number(1) + file(b"small")) for it in requests)
    elif what == "large":
        yield b"".join(frame(it, bytes([8]) + number(1) + file(b"large")) for it in requests)
    elif what == "ranges":
        asked = file(b"large") + number(1 << 40)
        yield b"".join(frame(it, bytes([16]) + number(1) + asked) for it in requests)
    elif what == "confirms":
        yield frame(0, bytes([13]) + bytes(32) + b"\0\1")
        for below in (b"\0", b"\1"):
            some = requests[: MOST // 2] if below == b"\0" else requests[MOST // 2 :]
            asked = number(2) + DIGEST + below + number(65_536) + number(0)
            yield b"".join(frame(it, bytes([14]) + asked) for it in some)
    elif what == "deltas":
        # The longest chunks, 1 MiB on average, and as many parts as are allowed, with all sums.
        for it in requests[:8]:
            yield frame(it, bytes([11]) + number(1) + file(b"large") + bytes([20]) + bytes(32) + b"\0")
    elif what == "folders":
        for it in range(10, 59_000):
            yield child(it, 1 if it % 3 else it - 1, b"%05d" % it + b"n" * 250)
    else:
        sys.exit(f"no kind {kind}")


def peak():
    with open(f"/proc/{far.pid}/status") as status:
        return int(next(line for line in status if line.startswith("VmHWM:")).split()[1])


def is_stuck():
    """The far end takes nothing more, and waits in all its threads."""
    for _ in range(50):
        if select.select([], [far.stdin], [], 0.02)[1]:
            return False
    return True


os.set_blocking(far.stdin.fileno(), False)
for data in flood():
    while data:
        try:
            data = data[os.write(far.stdin.fileno(), data) :]
        except BlockingIOError:
            if is_stuck():
                break
        except BrokenPipeError:
            sys.exit(f"the far end ended: {far.wait()}")
before, still = 0, 0
while still < 10:
    time.sleep(0.1)
    ticks = open(f"/proc/{far.pid}/stat").read().split()[13:15]
    still = still + 1 if ticks == before else 0
    before = ticks
if far.poll() is not None:
    sys.exit(f"the far end ended: {far.returncode}")
print(peak())
far.kill()
