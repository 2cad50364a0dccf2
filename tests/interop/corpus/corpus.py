"""The records every client writes and every client checks, computed from their index alone (see ../README.md), and what the Python
programs share: the environment, and one line per job."""
import functools
import hashlib
import os
import time

RECORDS = 240
PARTITIONS = 3
PER_PARTITION = RECORDS // PARTITIONS
STEP_MS = 10
LIMIT_S = 20
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
KINDS = CODECS + ["idempotent", "jobs"]
BOOTSTRAP = os.environ["BOOTSTRAP"]
RUN = os.environ["RUN"]
T0_MS = int(os.environ["T0"])
SIZES = [1, 2, 7, 50, 100, 333, 1000, 1024, 2500, 5000, 10000, 33000]
NULL_HEADERS = {"java", "franz-go", "sarama"}  # the other clients cannot write a header without a value

failures = 0


def topic(writer, kind):
    return f"{RUN}.{writer}.{kind}"


def timestamp_ms(i):
    return T0_MS + i * STEP_MS


def size(i):
    return 900_000 if i % 60 == 59 else 300_000 if i % 60 == 29 else SIZES[i % len(SIZES)]


def key(i):
    return None if i % 5 == 4 else b"key-%d" % i


def random(i, length):
    """Bytes that do not compress: SHA-256 of "ringlog:INDEX:BLOCK", block after block."""
    blocks = (hashlib.sha256(b"ringlog:%d:%d" % (i, block)).digest() for block in range((length + 31) // 32))
    return b"".join(blocks)[:length]


@functools.cache
def filling(i):
    if (i // 60 + i) % 2 == 0:
        return random(i, size(i))
    line = b"record %d of the ringlog corpus\n" % i
    return (line * (size(i) // len(line) + 1))[: size(i)]


def value(writer, i):
    if i % 40 == 20 or (i % 40 == 21 and writer == "kcat"):  # kcat writes null for empty
        return None
    return b"" if i % 40 == 21 else filling(i)


def headers(writer, i):
    if writer == "kcat":  # one set of headers for a whole kcat process
        return [("writer", b"kcat")]
    return [("writer", writer.encode()), ("i", b"%d" % i), ("empty", b"")] + (
        [("null", None)] if i % 3 == 0 and writer in NULL_HEADERS else [])


def require(holds, otherwise):
    if not holds:
        raise AssertionError(otherwise)


class Progress:
    """Counts what a consumer reads, checking content and order."""

    def __init__(self, writer):
        self.writer = writer
        self.seen = 0
        self.next = [0] * PARTITIONS

    def add(self, partition, offset, **read):
        require(offset == self.next[partition], f"{partition}@{offset} where {self.next[partition]} was due")
        self.next[partition] += 1
        self.seen += 1
        check(self.writer, partition, offset, **read)


def check(writer, partition, offset, **read):
    """Raises when a record read at its partition and offset is not the record that was written there."""
    i = offset * PARTITIONS + partition
    require(i < RECORDS, f"partition {partition} has an offset {offset}")
    due = {"key": key(i), "value": value(writer, i), "headers": headers(writer, i), "timestamp_ms": timestamp_ms(i)}
    for part, got in read.items():
        if part == "timestamp_ms" and writer == "kcat":  # kcat cannot set it
            continue
        require(got == due[part], f"{partition}@{offset}: {part} differs: {str(got)[:80]}")


def eventually(body):
    """Repeats body until it succeeds, or a few seconds have passed: Apache Kafka answers an admin request before every broker has
    applied what its controller decided."""
    deadline = time.monotonic() + 5
    while True:
        try:
            return body()
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def job(name, body):
    """Runs one job and prints its line."""
    global failures
    try:
        line = f"ok {name} {body()}"
    except Exception as error:  # a failed job is a result
        failures += 1
        line = f"FAIL {name} {type(error).__name__}: {error}"
    print(line.replace("\n", " "), flush=True)
