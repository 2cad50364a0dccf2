"""kafka-python's jobs. BOOTSTRAP, RUN and T0 in the environment; one line per job, `ok|FAIL job detail`; exit code 1 on any FAIL.

    jobs.py own              admin, produce and group-less consume with topics of its own
    jobs.py read WRITER...   what other clients wrote
"""
import contextlib
import logging
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "corpus"))
import corpus
from corpus import PARTITIONS, PER_PARTITION, eventually, job, require
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition, errors
from kafka.admin import ConfigResource

ME = "kafka-python"
DAY_MS = "86400000"
# not idempotent: a retried batch would land behind the ones sent after it, were there any
IN_ORDER = {"acks": 1, "enable_idempotence": False, "max_in_flight_requests_per_connection": 1}


def own():
    jobs = corpus.topic(ME, "jobs")
    with contextlib.closing(KafkaAdminClient(bootstrap_servers=corpus.BOOTSTRAP)) as admin:
        job("cluster", lambda: cluster(admin))
        job("create-topic", lambda: create_topics(admin))
        job("create-again", lambda: create_again(admin, jobs))
        job("metadata", lambda: metadata(admin, corpus.topic(ME, "none")))
        for codec in corpus.CODECS:
            job(f"produce-{codec}", lambda: produce(codec, codec, **IN_ORDER))
        job("produce-idempotent", lambda: produce("idempotent", "none", acks="all", enable_idempotence=True))
        job("produce-largest", lambda: largest(jobs))
        job("refuse-too-large", lambda: too_large(jobs))
        for kind in corpus.CODECS + ["idempotent"]:
            job(f"consume-{kind}", lambda: consume(ME, kind))
        job("from-offset", lambda: start_at("lz4", 37))
        job("from-timestamp", from_timestamp)
        job("list-offsets", list_offsets)
        job("offset-out-of-range", out_of_range)
        job("describe-configs", lambda: config(admin, jobs, "cleanup.policy", "delete"))
        job("alter-configs", lambda: alter_configs(admin, jobs))
        job("delete-records", lambda: delete_records(admin, TopicPartition(jobs, 0)))
        job("create-partitions", lambda: create_partitions(admin, jobs))
        job("log-dirs", lambda: log_dirs(admin, corpus.topic(ME, "none")))
        job("elect-leaders", lambda: elect_leaders(admin, jobs))
        job("delete-topic", lambda: delete_topic(admin))


# ---- admin


def cluster(admin):
    seen = admin.describe_cluster()
    require(seen["brokers"] and seen["controller_id"] >= 0 and seen["cluster_id"], seen)
    return f"{len(seen['brokers'])} nodes, id {seen['cluster_id']}"


def create_topics(admin):
    admin.create_topics({corpus.topic(ME, kind): {"num_partitions": PARTITIONS} for kind in corpus.KINDS})
    return f"{len(corpus.KINDS)} topics of {PARTITIONS} partitions"


def create_again(admin, topic):
    return expect(errors.TopicAlreadyExistsError, lambda: admin.create_topics({topic: {"num_partitions": 1}}))


def metadata(admin, topic):
    seen = eventually(lambda: described(admin, topic))
    require(len(seen["partitions"]) == PARTITIONS, seen)
    require(all(p["leader_id"] >= 0 for p in seen["partitions"]), seen)
    require(topic in admin.list_topics(), "not listed")
    return f"{PARTITIONS} partitions, topic id {seen.get('topic_id')}"


def described(admin, topic):
    seen = admin.describe_topics([topic])[0]
    require(seen["error_code"] == 0, seen)
    return seen


def config(admin, topic, key, due):
    seen = admin.describe_configs([ConfigResource("topic", topic)], config_filter="all")["topic"][topic]
    require(seen[key]["value"] == due, seen[key])
    return f"{len(seen)} entries, {key}={due}"


def alter_configs(admin, topic):
    said = ""
    for incremental in (True, False):
        admin.alter_configs([ConfigResource("topic", topic, configs={"retention.ms": DAY_MS})], incremental=incremental)
        said = eventually(lambda: config(admin, topic, "retention.ms", DAY_MS))
        admin.reset_configs([ConfigResource("topic", topic, configs=["retention.ms"])], incremental=incremental)
        eventually(lambda: config(admin, topic, "retention.ms", "604800000"))
    return said + ", and back, by both requests"


def delete_records(admin, partition):
    admin.delete_records({partition: 1})
    with opened() as consumer:
        require(consumer.beginning_offsets([partition])[partition] == 1, "earliest did not move")
    return "earliest 1"


def create_partitions(admin, topic):
    admin.create_partitions({topic: 5})

    def grown():
        count = len(described(admin, topic)["partitions"])
        require(count == 5, f"{count} partitions")

    eventually(grown)
    return "3 -> 5"


def log_dirs(admin, topic):
    size = sum(partition["partition_size"]
               for broker in admin.describe_log_dirs() for directory in broker["log_dirs"]
               for one in directory["topics"] if one["name"] == topic for partition in one["partitions"])
    require(size > 4_000_000, f"{size} bytes")
    return f"{size} bytes"


def elect_leaders(admin, topic):
    with contextlib.suppress(errors.ElectionNotNeededError):
        admin.elect_leaders(0, {topic: [0]})
    return "not needed"


def delete_topic(admin):
    topic = corpus.topic(ME, "gone")
    admin.create_topics({topic: {"num_partitions": 2}})
    admin.delete_topics([topic])

    def gone():
        require(topic not in admin.list_topics(), "still listed")

    eventually(gone)
    return "gone"


# ---- produce


def produce(kind, codec, **more):
    with contextlib.closing(producer(compression_type=None if codec == "none" else codec, linger_ms=5, **more)) as client:
        sent = [client.send(corpus.topic(ME, kind), key=corpus.key(i), value=corpus.value(ME, i), headers=corpus.headers(ME, i),
                            partition=i % PARTITIONS, timestamp_ms=corpus.timestamp_ms(i)) for i in range(corpus.RECORDS)]
        for i, future in enumerate(sent):
            offset = future.get(corpus.LIMIT_S).offset
            require(offset == i // PARTITIONS, f"record {i} acknowledged at offset {offset}")
    return f"{len(sent)} records"


def produce_one(topic, value):
    with contextlib.closing(producer(max_request_size=4_000_000)) as client:
        return client.send(topic, value=value, partition=0).get(corpus.LIMIT_S).offset


def largest(topic):
    """One record whose batch is just below max.message.bytes (1048588), written and read back."""
    value = corpus.random(1, 1_048_400)
    offset = produce_one(topic, value)
    with opened(topic, [0]) as consumer:
        consumer.seek(TopicPartition(topic, 0), offset)
        require(next(poll(consumer)).value == value, "read back differently")
    return f"{len(value)} bytes"


def too_large(topic):
    said = expect(errors.MessageSizeTooLargeError, lambda: produce_one(topic, corpus.random(1, 1_100_000)))
    produce_one(topic, corpus.random(1, 10))
    return f"{said}, and the next record is accepted"


# ---- consume, always without a group


def consume(writer, kind):
    progress = corpus.Progress(writer)
    with opened(corpus.topic(writer, kind), range(PARTITIONS)) as consumer:
        consumer.seek_to_beginning()
        while progress.seen < corpus.RECORDS:
            for record in poll(consumer):
                progress.add(record.partition, record.offset, **parts(record))
        for partition, end in consumer.end_offsets(consumer.assignment()).items():
            require(end == PER_PARTITION, f"end of {partition} is {end}")
    return f"{progress.seen} records"


def parts(record):
    return {"key": record.key, "value": record.value, "headers": list(record.headers), "timestamp_ms": record.timestamp}


def start_at(kind, offset):
    topic = corpus.topic(ME, kind)
    with opened(topic, [1]) as consumer:
        consumer.seek(TopicPartition(topic, 1), offset)
        record = next(poll(consumer))
    require(record.offset == offset, f"offset {record.offset}")
    corpus.check(ME, 1, offset, **parts(record))
    return f"offset {offset}"


def from_timestamp():
    partition = TopicPartition(corpus.topic(ME, "zstd"), 1)
    with opened() as consumer:
        # between records 97 and 100 of partition 1
        found = consumer.offsets_for_times({partition: corpus.timestamp_ms(100) - 5})[partition]
        require(found.offset == 33 and found.timestamp == corpus.timestamp_ms(100), found)
        later = consumer.offsets_for_times({partition: corpus.timestamp_ms(corpus.RECORDS)})[partition]
        require(later is None or later.offset < 0, f"an offset after the last timestamp: {later}")
    return start_at("zstd", 33)


def list_offsets():
    partitions = [TopicPartition(corpus.topic(ME, "gzip"), p) for p in range(PARTITIONS)]
    with opened() as consumer:
        require(set(consumer.beginning_offsets(partitions).values()) == {0}, "earliest")
        require(set(consumer.end_offsets(partitions).values()) == {PER_PARTITION}, "latest")
    return f"earliest 0, latest {PER_PARTITION}"


def out_of_range():
    topic = corpus.topic(ME, "none")
    with opened(topic, [0], auto_offset_reset="none") as consumer:
        consumer.seek(TopicPartition(topic, 0), 1_000_000)
        return expect(errors.OffsetOutOfRangeError, lambda: next(poll(consumer)))


# ---- clients


def producer(**more):
    return KafkaProducer(bootstrap_servers=corpus.BOOTSTRAP, max_block_ms=corpus.LIMIT_S * 1000, **more)


@contextlib.contextmanager
def opened(topic=None, partitions=(), **more):
    consumer = KafkaConsumer(bootstrap_servers=corpus.BOOTSTRAP, group_id=None, **{"auto_offset_reset": "earliest", **more})
    try:
        if topic:
            consumer.assign([TopicPartition(topic, partition) for partition in partitions])
        yield consumer
    finally:
        consumer.close()


def poll(consumer):
    """At least one record, or an exception when none comes in time."""
    deadline = time.monotonic() + corpus.LIMIT_S
    while time.monotonic() < deadline:
        batches = consumer.poll(timeout_ms=500)
        if batches:
            return (record for records in batches.values() for record in records)
    raise TimeoutError(f"nothing came within {corpus.LIMIT_S} s")


def expect(error, body):
    try:
        body()
    except error:
        return error.__name__
    raise AssertionError(f"no {error.__name__}")


def main():
    logging.disable(logging.CRITICAL)  # what matters is in the jobs' lines
    if sys.argv[1] == "own":
        own()
    else:
        for writer in sys.argv[2:]:
            for codec in corpus.CODECS:
                job(f"read-{writer}-{codec}", lambda: consume(writer, codec))
    sys.exit(1 if corpus.failures else 0)


main()
