"""Transactions with confluent-kafka (librdkafka), see ../transactions/scenario.py. BOOTSTRAP in the environment.

    txn.py jobs TOPIC ID                  one line per job, `ok|FAIL job detail`
    txn.py chain INPUT OUTPUT GROUP ID    consumes, produces and commits in transactions, until SIGTERM
    txn.py read committed|uncommitted PARTITIONS TOPIC...
"""
import os
import queue
import signal
import sys
import threading
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, IsolationLevel, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

PATIENCE_S = 60
LATE_S = 4
COMMON = {"bootstrap.servers": os.environ["BOOTSTRAP"], "reconnect.backoff.max.ms": 500, "log_level": 0}
OFFSETS_S = 10
FENCED = {KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED}
failures = 0


def producer_of(txn_id, timeout_ms=60000):
    producer = Producer({**COMMON, "transactional.id": txn_id, "transaction.timeout.ms": timeout_ms, "message.timeout.ms": min(timeout_ms, 30000),
                         "linger.ms": 0})
    producer.init_transactions(PATIENCE_S)
    return producer


def consumer_of(group, isolation):
    return Consumer({**COMMON, "group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest", "session.timeout.ms": 6000,
                     "heartbeat.interval.ms": 1000, "fetch.wait.max.ms": 200, "isolation.level": f"read_{isolation}"})


def job(name, body):
    global failures
    try:
        line = f"ok {name} {body()}"
    except (KafkaException, RuntimeError) as error:
        failures += 1
        line = f"FAIL {name} {error!r}"
    print(line.replace("\n", " "), flush=True)


def write(producer, topic, partition, *values):
    for value in values:
        producer.produce(topic, value, partition=partition)


def refused(body):
    """The error that the body ends with."""
    try:
        body()
    except KafkaException as error:
        return error.args[0]
    raise RuntimeError("committed")


def end(topic, isolation):
    partition, admin = TopicPartition(topic, 0), AdminClient(COMMON)
    return admin.list_offsets({partition: OffsetSpec.latest()}, isolation_level=isolation)[partition].result().offset


def settled(topic):
    """The end, once the markers of the transactions before are there: what ends them is answered sooner."""
    deadline = time.monotonic() + 10
    while True:
        stable, high = end(topic, IsolationLevel.READ_COMMITTED), end(topic, IsolationLevel.READ_UNCOMMITTED)
        if stable == high:
            return high
        if time.monotonic() > deadline:
            raise RuntimeError(f"stable at {stable}, end {high}")


def jobs(topic, txn_id):
    first = producer_of(txn_id)

    def commit():
        first.begin_transaction()
        write(first, topic, 0, "c0", "c1", "c2")
        write(first, topic, 1, "c3")
        first.commit_transaction(PATIENCE_S)
        return "two partitions"

    def abort():
        first.begin_transaction()
        write(first, topic, 0, "a0", "a1")
        first.flush(PATIENCE_S)
        first.abort_transaction(PATIENCE_S)
        return "after its records were acknowledged"

    def empty():
        first.begin_transaction()
        first.commit_transaction(PATIENCE_S)
        first.begin_transaction()
        first.abort_transaction(PATIENCE_S)
        return "committed and aborted"

    def offsets():
        begin = settled(topic)
        first.begin_transaction()
        write(first, topic, 0, "o0")
        first.flush(PATIENCE_S)
        stable, high = end(topic, IsolationLevel.READ_COMMITTED), end(topic, IsolationLevel.READ_UNCOMMITTED)
        if (stable, high) != (begin, begin + 1):
            raise RuntimeError(f"from {begin}: stable {stable}, end {high}")
        first.commit_transaction(PATIENCE_S)
        deadline = time.monotonic() + 10
        while end(topic, IsolationLevel.READ_COMMITTED) != begin + 2:
            if time.monotonic() > deadline:
                raise RuntimeError(f"stable at {end(topic, IsolationLevel.READ_COMMITTED)}")
        return f"stable at {begin}, then at {begin + 2}"

    def fenced():
        first.begin_transaction()
        write(first, topic, 0, "f0")
        first.flush(PATIENCE_S)
        second = producer_of(txn_id)
        error = refused(lambda: first.commit_transaction(PATIENCE_S))
        if error.code() not in FENCED:
            raise RuntimeError(f"instead of fenced: {error}")
        second.begin_transaction()
        write(second, topic, 0, "s0")
        second.commit_transaction(PATIENCE_S)
        return error.name()

    def timeout():
        late = producer_of(f"{txn_id}-late", 1000)
        late.begin_transaction()
        write(late, topic, 1, "t0")
        late.flush(PATIENCE_S)
        time.sleep(LATE_S)
        return refused(lambda: late.commit_transaction(PATIENCE_S)).name()

    def last():
        third = producer_of(txn_id)
        third.begin_transaction()
        for partition in range(2):
            write(third, topic, partition, "end")
        third.commit_transaction(PATIENCE_S)
        return "by a third producer"

    for name, body in (("commit", commit), ("abort", abort), ("empty", empty), ("offsets", offsets), ("fenced", fenced),
                       ("timeout", timeout), ("end", last)):
        job(name, body)


def chain(source, sink, group, txn_id):
    leaving, number = [], 0
    signal.signal(signal.SIGTERM, lambda *_: leaving.append(True))
    given_up = []  # destroying a producer of librdkafka may take for ever when its broker went away in the midst of a transaction
    while not leaving:
        consumer = consumer_of(group, "committed")
        try:
            producer = producer_of(txn_id)
            given_up.append(producer)
            consumer.subscribe([source])
            while not leaving:
                records = [record for record in consumer.consume(100, timeout=0.2) if not record.error()]
                if records:
                    transform(producer, consumer, records, sink, number % 4 == 3)
                    number += 1
        except KafkaException as error:
            print("again:", error, file=sys.stderr, flush=True)
            time.sleep(0.2)
        finally:
            consumer.close()
    sys.stdout.flush()
    os._exit(0)


def transform(producer, consumer, records, sink, aborts):
    """Every fourth transaction is aborted and its records are consumed again."""
    starts, ends = {}, {}
    producer.begin_transaction()
    for record in records:
        producer.produce(sink, "aborted" if aborts else record.value(), partition=record.partition())
        starts.setdefault(record.partition(), record.offset())
        ends[record.partition()] = record.offset() + 1
    topic = records[0].topic()
    offsets = [TopicPartition(topic, partition, offset) for partition, offset in ends.items()]
    send_offsets(producer, offsets, consumer.consumer_group_metadata())
    if aborts:
        producer.flush(PATIENCE_S)
        producer.abort_transaction(PATIENCE_S)
        for partition, offset in starts.items():
            consumer.seek(TopicPartition(topic, partition, offset))
    else:
        producer.commit_transaction(PATIENCE_S)
    print("aborted" if aborts else "done", len(records), flush=True)


def send_offsets(producer, offsets, group):
    """With a limit of our own: after the broker was away librdkafka may keep the offsets for ever, whatever timeout it is given."""
    outcome = queue.SimpleQueue()

    def send():
        try:
            outcome.put(producer.send_offsets_to_transaction(offsets, group, OFFSETS_S))
        except KafkaException as error:
            outcome.put(error)

    threading.Thread(target=send, daemon=True).start()
    try:
        error = outcome.get(timeout=2 * OFFSETS_S)
    except queue.Empty:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the offsets were not sent")) from None
    if error:
        raise error


def read(isolation, partitions, *topics):
    """Until every partition of every topic has shown a record `end`."""
    consumer = consumer_of("reader", isolation)
    still = {(topic, partition) for topic in topics for partition in range(int(partitions))}
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for topic, partition in still])
    deadline = time.monotonic() + PATIENCE_S
    while still:
        for record in consumer.consume(1000, timeout=0.2):
            if record.error():
                continue
            value = record.value().decode()
            print("record", record.topic(), record.partition(), value)
            if value == "end":
                still.discard((record.topic(), record.partition()))
        if time.monotonic() > deadline:
            raise RuntimeError(f"no end in {still}")
    consumer.close()


{"jobs": jobs, "chain": chain, "read": read}[sys.argv[1]](*sys.argv[2:])
sys.exit(1 if failures else 0)
