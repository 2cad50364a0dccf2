"""kcat's jobs. BOOTSTRAP, RUN and T0 in the environment; one line per job, `ok|FAIL job detail`; exit code 1 on any FAIL.

    jobs.py own              produce and group-less consume (its topics are made by another client: kcat has no admin API)
    jobs.py read WRITER...   what other clients wrote
"""
import json
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "corpus"))
import corpus
from corpus import PARTITIONS, PER_PARTITION, job, require

ME = "kcat"
# kcat reads records from one stream, split by these; no random value contains them
RECORD_END = "<<ringlog-record-end>>"
KEY_END = "<<ringlog-key-end>>"
FORMAT = r"%p %o %T %K %S %h\n%k%s"


def kcat(*arguments, given=None, fails=False):
    done = subprocess.run(["kcat", "-b", corpus.BOOTSTRAP, *arguments], input=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=corpus.LIMIT_S)
    said = done.stderr.decode(errors="replace").strip()
    require((done.returncode != 0) == fails, f"exit code {done.returncode}: {said[-300:]}")
    return said if fails else done.stdout


def metadata():
    topic = corpus.topic(ME, "none")
    seen = json.loads(kcat("-L", "-J", "-t", topic))
    partitions = seen["topics"][0]["partitions"]
    require(len(partitions) == PARTITIONS and all(p["leader"] >= 0 for p in partitions), partitions)
    return f"{len(seen['brokers'])} brokers, {len(partitions)} partitions"


def auto_create():
    topic = corpus.topic(ME, "auto")
    kcat("-P", "-t", topic, "-X", "allow.auto.create.topics=true", given=b"made by its first record")
    require(kcat("-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%s") == b"made by its first record", "read back differently")
    return "topic made by its first record"


def produce(kind, codec, *more):
    for partition in range(PARTITIONS):
        lines = []
        for i in range(partition, corpus.RECORDS, PARTITIONS):
            lines.append((corpus.key(i) or b"") + KEY_END.encode() + (corpus.value(ME, i) or b""))
        kcat("-P", "-t", corpus.topic(ME, kind), "-p", str(partition), "-z", codec, "-K", KEY_END, "-D", RECORD_END, "-Z",
             "-H", "writer=kcat", *more, given=RECORD_END.encode().join(lines))
    return f"{corpus.RECORDS} records"


def largest():
    """One record whose batch is just below max.message.bytes (1048588), written and read back."""
    value = corpus.random(1, 1_048_400)
    produce_file(value)
    read = kcat("-C", "-t", corpus.topic(ME, "jobs"), "-p", "0", "-o", "beginning", "-e", "-q", "-f", "%s")
    require(read == value, f"read back differently, {len(read)} bytes")
    return f"{len(value)} bytes"


def too_large():
    # librdkafka treats a record the broker refuses as a message that failed for good
    said = produce_file(corpus.random(1, 1_100_000), fails=True)
    require("Message size too large" in said, said)
    produce_file(corpus.random(1, 10))
    return "MESSAGE_TOO_LARGE, and the next record is accepted"


def produce_file(value, fails=False):
    with tempfile.NamedTemporaryFile() as file:
        file.write(value)
        file.flush()
        return kcat("-P", "-t", corpus.topic(ME, "jobs"), "-p", "0", "-X", "message.max.bytes=4000000", file.name, fails=fails)


def records(*arguments):
    """What kcat prints for a consumed topic, taken apart: (partition, offset, the rest by name)."""
    out = kcat("-C", "-q", "-f", FORMAT, *arguments)
    at = 0
    while at < len(out):
        end = out.index(b"\n", at)
        partition, offset, timestamp_ms, key_size, value_size, headers = out[at:end].split(b" ", 5)
        key, at = cut(out, end + 1, int(key_size))
        value, at = cut(out, at, int(value_size))
        yield int(partition), int(offset), {"key": key, "value": value, "timestamp_ms": int(timestamp_ms),
                                            "headers": parse_headers(headers)}


def cut(out, at, length):
    """A field of that length, -1 for null, and where it ends."""
    return (None, at) if length < 0 else (out[at : at + length], at + length)


def parse_headers(printed):
    pairs = (pair.split(b"=", 1) for pair in printed.split(b",") if pair)
    return [(name.decode(), None if value == b"NULL" else value) for name, value in pairs]


def consume(writer, kind):
    progress = corpus.Progress(writer)
    for partition, offset, read in records("-t", corpus.topic(writer, kind), "-o", "beginning", "-e"):
        progress.add(partition, offset, **read)
    require(progress.seen == corpus.RECORDS, f"{progress.seen} records")
    return f"{progress.seen} records"


def start_at(kind, where):
    """The first record from there, checked; its offset."""
    partition, offset, read = next(records("-t", corpus.topic(ME, kind), "-p", "1", "-o", where, "-c", "1"))
    corpus.check(ME, partition, offset, **read)
    return offset, read["timestamp_ms"]


def from_offset():
    offset, _ = start_at("lz4", "37")
    require(offset == 37, f"offset {offset}")
    return "offset 37"


def from_timestamp():
    # kcat cannot set timestamps: ask for the one that a record in the middle got
    _, stamp = start_at("zstd", "60")
    offset, found = start_at("zstd", f"s@{stamp}")
    require(offset <= 60 and found >= stamp, f"offset {offset} with timestamp {found} for {stamp}")
    return f"offset {offset}"


def list_offsets():
    topic = corpus.topic(ME, "gzip")
    for partition in range(PARTITIONS):
        for ask, due in ((-2, 0), (-1, PER_PARTITION)):
            said = kcat("-Q", "-t", f"{topic}:{partition}:{ask}").decode()
            require(said.split()[-1] == str(due), said)
    return f"earliest 0, latest {PER_PARTITION}"


def out_of_range():
    said = kcat("-C", "-t", corpus.topic(ME, "none"), "-p", "0", "-o", "1000000", "-c", "1", "-X", "auto.offset.reset=error", fails=True)
    require("out of range" in said.lower(), said)
    return "OFFSET_OUT_OF_RANGE"


def own():
    job("metadata", metadata)
    job("auto-create", auto_create)
    for codec in corpus.CODECS:
        job(f"produce-{codec}", lambda: produce(codec, codec, "-X", "max.in.flight=1"))  # no retry may overtake
    job("produce-idempotent", lambda: produce("idempotent", "none", "-X", "enable.idempotence=true"))
    job("produce-largest", largest)
    job("refuse-too-large", too_large)
    for kind in corpus.CODECS + ["idempotent"]:
        job(f"consume-{kind}", lambda: consume(ME, kind))
    job("from-offset", from_offset)
    job("from-timestamp", from_timestamp)
    job("list-offsets", list_offsets)
    job("offset-out-of-range", out_of_range)


def main():
    if sys.argv[1] == "own":
        own()
    else:
        for writer in sys.argv[2:]:
            for codec in corpus.CODECS:
                job(f"read-{writer}-{codec}", lambda: consume(writer, codec))
    sys.exit(1 if corpus.failures else 0)


main()
