"""A far end that breaks the protocol: the real one behind a pipe that changes its answers.

usage: hostile_far_end.py LIE TIMES COUNTER PROGRAM serve
LIE is applied in the first TIMES processes, which COUNTER counts.
"""

import os
import select
import subprocess
import sys
import threading

lie, times, counter, command = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]
with open(counter, "a") as file:
    file.write("x")
lies = os.path.getsize(counter) <= times
far = subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def requests():
    while True:
        data = os.read(0, 65536)
        if not data:
            break
        far.stdin.write(data)
        far.stdin.flush()
    far.stdin.close()


def read(count):
    data = b""
    while len(data) < count:
        part = far.stdout.read(count - len(data))
        if not part:
            os._exit(0)
        data += part
    return data


def send(number, message):
    frame = number.to_bytes(4, "big") + message
    write(len(frame).to_bytes(4, "big") + frame)


def write(data):
    try:
        while data:
            data = data[os.write(1, data):]
    except BrokenPipeError:
        os._exit(0)


requesting = threading.Thread(target=requests, daemon=True)
requesting.start()
# Answer::Write is variant 17; the second byte is the variant of WriteAnswer. A folder, a result, a list of names.
WRITE, TARGET, FOLDER, NAMES, FOUND, STORED, CREDIT = 17, 0, 1, 3, 4, 7, 11
seen = 0
while True:
    length = int.from_bytes(read(4), "big")
    frame = read(length)
    number, message = int.from_bytes(frame[:4], "big"), frame[4:]
    changed = lies and number != 0 and message[0] == WRITE and message[1] != TARGET
    seen += changed
    # The first answers are honest, so the connection is known to work.
    if not changed or seen < 3:
        send(number, message)
    elif lie == "unknown":
        send(number + 1_000_000, message)
    elif lie == "twice":
        send(number, message)
        send(number, message)
    elif lie == "other":
        send(number, bytes([WRITE, NAMES, 0]))
    elif lie == "results":
        send(number, bytes([WRITE, STORED]) + b"\x80\x80\x80\x80\x08")
    elif lie == "behind":
        send(number, message + b"more")
    elif lie == "variant":
        send(number, bytes([WRITE, 99]))
    elif lie == "source":
        # An answer to a source: a clock.
        send(number, bytes([4, 0]))
    elif lie == "huge":
        write(b"\xff\xff\xff\xff")
    elif lie == "short":
        write(b"\x00\x00\x00\x01")
    elif lie == "long":
        send(number, bytes([WRITE, 12]) + bytes(299_000))
    elif lie == "cut":
        write(length.to_bytes(4, "big") + frame[: length // 2])
        os._exit(0)
    elif lie == "silent":
        # Until the connection has ended.
        requesting.join()
        os._exit(0)
    elif lie == "endless":
        name = bytes([200]) + b"\x01" + b"n" * 200
        while True:
            send(number, bytes([WRITE, NAMES, 100]) + 100 * name)
    elif lie == "credit":
        for _ in range(1000):
            send(0, bytes([WRITE, CREDIT]) + b"\xff" * 9 + b"\x01")
        send(number, message)
    elif lie == "reordered":
        # Not a lie: answers to different requests arrive in any order.
        if select.select([far.stdout], [], [], 0.05)[0]:
            other = read(int.from_bytes(read(4), "big"))
            other = int.from_bytes(other[:4], "big"), other[4:]
            if other[0] == number:
                send(number, message)
                number, message = other
            else:
                send(*other)
        send(number, message)
    else:
        sys.exit(f"no lie {lie}")
