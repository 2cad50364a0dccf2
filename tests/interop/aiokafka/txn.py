"""Transactions with aiokafka, see ../transactions/scenario.py. BOOTSTRAP in the environment.

    txn.py jobs TOPIC ID                  one line per job, `ok|FAIL job detail`
    txn.py chain INPUT OUTPUT GROUP ID    consumes, produces and commits in transactions, until SIGTERM
    txn.py read committed|uncommitted PARTITIONS TOPIC...
"""
import asyncio
import os
import signal
import sys
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced

PATIENCE_S = 60
LATE_S = 4
ADDRESS = os.environ["BOOTSTRAP"]
failures = 0


async def producer_of(txn_id, timeout_ms=60000):
    producer = AIOKafkaProducer(bootstrap_servers=ADDRESS, transactional_id=txn_id, transaction_timeout_ms=timeout_ms)
    await producer.start()
    return producer


def consumer_of(group, isolation):
    return AIOKafkaConsumer(bootstrap_servers=ADDRESS, group_id=group, isolation_level=f"read_{isolation}", enable_auto_commit=False,
                            auto_offset_reset="earliest", session_timeout_ms=6000, heartbeat_interval_ms=1000)


async def job(name, body):
    global failures
    try:
        line = f"ok {name} {await body()}"
    except (KafkaError, RuntimeError) as error:
        failures += 1
        line = f"FAIL {name} {error!r}"
    print(line.replace("\n", " "), flush=True)


async def write(producer, topic, partition, *values):
    for value in values:
        await producer.send_and_wait(topic, value.encode(), partition=partition)


async def end(topic, isolation):
    consumer = consumer_of(None, isolation)
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        return (await consumer.end_offsets([partition]))[partition]
    finally:
        await consumer.stop()


async def settled(topic):
    """The end, once the markers of the transactions before are there: what ends them is answered sooner."""
    deadline = time.monotonic() + 10
    while True:
        stable, high = await end(topic, "committed"), await end(topic, "uncommitted")
        if stable == high:
            return high
        if time.monotonic() > deadline:
            raise RuntimeError(f"stable at {stable}, end {high}")


async def jobs(topic, txn_id):
    first = await producer_of(txn_id)

    async def commit():
        async with first.transaction():
            await write(first, topic, 0, "c0", "c1", "c2")
            await write(first, topic, 1, "c3")
        return "two partitions"

    async def abort():
        await first.begin_transaction()
        await write(first, topic, 0, "a0", "a1")
        await first.abort_transaction()
        return "after its records were acknowledged"

    async def empty():
        async with first.transaction():
            pass
        await first.begin_transaction()
        await first.abort_transaction()
        return "committed and aborted"

    async def offsets():
        begin = await settled(topic)
        await first.begin_transaction()
        await write(first, topic, 0, "o0")
        stable, high = await end(topic, "committed"), await end(topic, "uncommitted")
        if (stable, high) != (begin, begin + 1):
            raise RuntimeError(f"from {begin}: stable {stable}, end {high}")
        await first.commit_transaction()
        deadline = time.monotonic() + 10
        while await end(topic, "committed") != begin + 2:
            if time.monotonic() > deadline:
                raise RuntimeError(f"stable at {await end(topic, 'committed')}")
        return f"stable at {begin}, then at {begin + 2}"

    async def fenced():
        await first.begin_transaction()
        await write(first, topic, 0, "f0")
        second = await producer_of(txn_id)
        try:
            await first.commit_transaction()
        except (ProducerFenced, InvalidProducerEpoch) as error:
            seen = type(error).__name__
        else:
            raise RuntimeError("the first one committed")
        async with second.transaction():
            await write(second, topic, 0, "s0")
        await second.stop()
        return seen

    async def timeout():
        late = await producer_of(f"{txn_id}-late", 1000)
        await late.begin_transaction()
        await write(late, topic, 1, "t0")
        await asyncio.sleep(LATE_S)
        try:
            await late.commit_transaction()
        except KafkaError as error:
            return type(error).__name__
        raise RuntimeError("committed")

    async def last():
        third = await producer_of(txn_id)
        async with third.transaction():
            for partition in range(2):
                await write(third, topic, partition, "end")
        await third.stop()
        return "by a third producer"

    for name, body in (("commit", commit), ("abort", abort), ("empty", empty), ("offsets", offsets), ("fenced", fenced),
                       ("timeout", timeout), ("end", last)):
        await job(name, body)


async def chain(source, sink, group, txn_id):
    leaving = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leaving.set)
    number = 0
    while not leaving.is_set():
        consumer, producer = consumer_of(group, "committed"), None
        try:
            producer = await producer_of(txn_id)
            consumer.subscribe([source])
            await consumer.start()
            while not leaving.is_set():
                batches = await consumer.getmany(timeout_ms=200)
                if batches:
                    await transform(producer, consumer, batches, sink, group, number % 4 == 3)
                    number += 1
        except KafkaError as error:
            print("again:", repr(error), file=sys.stderr, flush=True)
            await asyncio.sleep(0.2)
        finally:
            await consumer.stop()
            if producer:
                await stopped(producer)


async def stopped(producer):
    """A producer that was fenced, or whose broker is gone, may fail to stop as well."""
    try:
        await asyncio.wait_for(producer.stop(), 5)
    except (KafkaError, asyncio.TimeoutError) as error:
        print("stop:", repr(error), file=sys.stderr, flush=True)


async def transform(producer, consumer, batches, sink, group, aborts):
    """Every fourth transaction is aborted and its records are consumed again."""
    await producer.begin_transaction()
    for partition, records in batches.items():
        for record in records:
            await producer.send(sink, b"aborted" if aborts else record.value, partition=partition.partition)
    offsets = {partition: records[-1].offset + 1 for partition, records in batches.items()}
    await producer.send_offsets_to_transaction(offsets, group)
    if aborts:
        await producer.flush()
        await producer.abort_transaction()
        for partition, records in batches.items():
            consumer.seek(partition, records[0].offset)
    else:
        await producer.commit_transaction()
    print("aborted" if aborts else "done", sum(map(len, batches.values())), flush=True)


async def read(isolation, partitions, *topics):
    """Until every partition of every topic has shown a record `end`."""
    consumer = consumer_of(None, isolation)
    await consumer.start()
    still = {TopicPartition(topic, partition) for topic in topics for partition in range(int(partitions))}
    consumer.assign(list(still))
    await consumer.seek_to_beginning()
    deadline = time.monotonic() + PATIENCE_S
    while still:
        for partition, records in (await consumer.getmany(timeout_ms=200)).items():
            for record in records:
                print("record", record.topic, record.partition, record.value.decode())
                if record.value == b"end":
                    still.discard(partition)
        if time.monotonic() > deadline:
            raise RuntimeError(f"no end in {still}")
    await consumer.stop()


async def main(what, *arguments):
    await {"jobs": jobs, "chain": chain, "read": read}[what](*arguments)


asyncio.run(main(*sys.argv[1:]))
sys.exit(1 if failures else 0)
