"""The encoding of numbers and texts in messages of the helper, for both of its ends."""


def number(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(value):
    return number(len(value)) + value
