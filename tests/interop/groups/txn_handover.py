"""One data directory, handed from Ringlog to Apache Kafka and back, with transactions that are committed, aborted and open.

    txn_handover.py --broker ringlog|kafka|HOST:PORT [--binary PATH] DUMP...

DUMP looks at the files in the end, see ../java/DumpLogs.java. With `--broker kafka` both are Kafka. Each broker in turn finds what those before
it have left: what was committed, in order; the offsets committed with it; a transaction whose producer is still there and commits it now,
though it was begun in the broker before; and one whose producer is gone, which is aborted after its timeout. Kafka cannot read what Ringlog
leaves after kill -9, so only Ringlog starts after that. One line per job, `ok|FAIL job detail`; exit code 1 on any FAIL."""
import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import time

from aiokafka import AIOKafkaProducer, TopicPartition as Partition
from aiokafka.errors import KafkaError
from app import App, Failed
from confluent_kafka import OFFSET_BEGINNING, Consumer, IsolationLevel, KafkaError as Refusal, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec
from member import to
from owner import SETTINGS, WORK, BrokerError, Kafka, Ringlog, end_on_sigterm, free_port

PARTITIONS = range(2)
LONG_MS, SHORT_MS = 600_000, 5_000
# Kafka 4.3.1 may lose the markers of a transaction that times out while it starts: the coordinator says that it is aborted, and the partitions
# keep it open for ever. Seen from Kafka to Kafka, too. So there it times out later.
PAST_START_MS = 45_000
PATIENCE_S, SETTLED_S = 90, 10
UNSETTLED = {Refusal.UNKNOWN_LEADER_EPOCH, Refusal.FENCED_LEADER_EPOCH, Refusal.NOT_LEADER_FOR_PARTITION, Refusal.LEADER_NOT_AVAILABLE}
CLEANUP = "transaction.abort.timed.out.transaction.cleanup.interval.ms=500"
# Who has the directory, and how it ends. The voters of a quorum are in what Kafka formats, not in what Ringlog does.
TURNS = [("ringlog", "stop"), ("kafka", "kill"), ("ringlog", "kill"), ("ringlog", "stop"), ("kafka", "stop"), ("ringlog", "stop")]


class Directory:
    """Both brokers on it, on one port, so that clients find the next one."""

    restartable = True

    def __init__(self, folder, options):
        port = free_port()
        voters = [f"controller.quorum.voters=1@127.0.0.1:{port + 1}", "controller.quorum.bootstrap.servers="]
        kafka = Kafka(folder, port, [*SETTINGS, CLEANUP, *voters] if options.broker == "ringlog" else [*SETTINGS, CLEANUP])
        ringlog = Ringlog(folder / "log", port, options.binary, [*SETTINGS, CLEANUP])
        self.brokers = {"kafka": kafka, "ringlog": ringlog if options.broker == "ringlog" else kafka}
        self.address, self.now = kafka.address, None

    def start(self, name):
        self.now = self.brokers[name]
        return self.now.start()

    def end(self):
        for broker in self.brokers.values():
            if broker.running():
                broker.kill()


class Handover:
    """What was written so far, and what a reader is to find of it."""

    def __init__(self, app):
        self.app, self.topic, self.group = app, f"{app.run}.topic", f"{app.run}.group"
        self.ids = {name: f"{app.run}.{name}" for name in ("done", "carried", "left")}
        self.due = {partition: [] for partition in PARTITIONS}
        self.offset, self.carried, self.stable = None, None, None
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda *_: None)  # of clients that were left alone
        self.gone = []

    def do(self, work):
        try:
            return self.loop.run_until_complete(asyncio.wait_for(work, PATIENCE_S))
        except KafkaError as error:
            raise Failed(repr(error)) from None

    async def producer(self, name, timeout_ms):
        producer = AIOKafkaProducer(bootstrap_servers=self.app.address, transactional_id=self.ids[name], transaction_timeout_ms=timeout_ms)
        await producer.start()
        return producer

    async def write(self, producer, text):
        for partition in PARTITIONS:
            await producer.send_and_wait(self.topic, text.encode(), partition=partition)

    def committed(self, *texts):
        for partition in PARTITIONS:
            self.due[partition] += texts

    def end(self, isolation):
        """A broker that has just started answers Metadata before all of its partitions know their new leader epoch."""
        deadline = time.monotonic() + SETTLED_S
        while True:
            asked, admin = {TopicPartition(self.topic, partition): OffsetSpec.latest() for partition in PARTITIONS}, self.app.admin
            answers = admin.list_offsets(asked, isolation_level=isolation, request_timeout=PATIENCE_S).items()
            try:
                return {one.partition: future.result().offset for one, future in answers}
            except KafkaException as error:
                if time.monotonic() > deadline or error.args[0].code() not in UNSETTLED:
                    raise
            time.sleep(0.1)

    def found(self):
        """What a read_committed reader gets up to the last stable offset."""
        ends = self.end(IsolationLevel.READ_COMMITTED)
        consumer = Consumer(to(self.app.address, {"group.id": "reader", "isolation.level": "read_committed"}))
        consumer.assign([TopicPartition(self.topic, partition, OFFSET_BEGINNING) for partition in PARTITIONS])
        found, deadline = {partition: [] for partition in PARTITIONS}, time.monotonic() + PATIENCE_S
        at = lambda: {one.partition: one.offset for one in consumer.position([TopicPartition(self.topic, p) for p in PARTITIONS])}
        while any(at()[partition] < ends[partition] for partition in PARTITIONS):
            for record in consumer.consume(100, timeout=0.1):
                if not record.error():
                    found[record.partition()].append(record.value().decode())
            if time.monotonic() > deadline:
                raise Failed(f"read up to {at()}, the stable ends are {ends}")
        consumer.close()
        return found

    def look(self):
        found = self.found()
        if found != self.due:
            raise Failed(f"read {found} instead of {self.due}")
        return f"{sum(map(len, found.values()))} records"

    def offsets(self, due):
        """What the group has committed, whatever is pending."""
        reader = Consumer(to(self.app.address, {"group.id": self.group, "isolation.level": "read_uncommitted"}))
        seen = reader.committed([TopicPartition(self.topic, 0)], timeout=PATIENCE_S)[0].offset
        reader.close()
        if seen != due:
            raise Failed(f"the group is at {seen} instead of {due}")
        return f"the group is at {seen}"

    # ---- what the broker before has left

    def open_still(self):
        """No reader gets past the first open one."""
        stable = self.end(IsolationLevel.READ_COMMITTED)
        if stable != self.stable:
            raise Failed(f"stable at {stable} instead of {self.stable}")
        return f"stable at {stable}, {self.look()}, {self.offsets(self.offset)}"

    def carry_on(self, turn):
        """The producer that was there before goes on, and commits."""
        async def work():
            await self.write(self.carried, f"more-{turn}")
            await self.carried.commit_transaction()
            await self.carried.stop()

        self.do(work())
        self.committed(f"carried-{turn}", f"more-{turn}")
        self.offset = turn
        self.app.wait("the offsets are committed", lambda: self.holds(lambda: self.offsets(turn)))
        return f"the group is at {turn}"

    @staticmethod
    def holds(check):
        try:
            return bool(check())
        except Failed:
            return False

    def time_out(self):
        """What nobody ends is aborted."""
        self.app.wait("it is aborted", lambda: self.end(IsolationLevel.READ_COMMITTED) == self.end(IsolationLevel.READ_UNCOMMITTED))
        return self.look()

    # ---- what it leaves itself

    def end_some(self, turn):
        async def work():
            producer = await self.producer("done", LONG_MS)
            for commits in (True, False):
                await producer.begin_transaction()
                await self.write(producer, f"{'done' if commits else 'aborted'}-{turn}")
                await (producer.commit_transaction() if commits else producer.abort_transaction())
            await producer.stop()

        self.do(work())
        self.committed(f"done-{turn}")
        self.app.wait("the markers are there", lambda: self.end(IsolationLevel.READ_COMMITTED) == self.end(IsolationLevel.READ_UNCOMMITTED))
        return self.look()

    def leave_open(self, turn, timeout_ms):
        self.stable = self.end(IsolationLevel.READ_UNCOMMITTED)

        async def work():
            self.carried = await self.producer("carried", LONG_MS)
            await self.carried.begin_transaction()
            await self.write(self.carried, f"carried-{turn}")
            await self.carried.send_offsets_to_transaction({Partition(self.topic, 0): turn}, self.group)
            left = await self.producer("left", timeout_ms)
            await left.begin_transaction()
            await self.write(left, f"left-{turn}")
            self.gone.append(left)

        self.do(work())
        return f"from {self.stable} on"


def run(app, directory, dump):
    h = Handover(app)
    for turn, (name, how) in enumerate(TURNS):
        job = lambda what, body: app.job(f"{turn}-{name}-{what}", body)
        job("start", lambda: directory.start(name))
        if turn == 0:
            job("create", lambda: app.create(h.topic, len(PARTITIONS)))
            h.offset = -1001  # none
        else:
            job("open-still", h.open_still)
            job("carry-on", lambda: h.carry_on(turn))
            job("time-out", h.time_out)
        job("end-some", lambda: h.end_some(turn))
        if turn < len(TURNS) - 1:
            timeout_ms = SHORT_MS if isinstance(directory.brokers[TURNS[turn + 1][0]], Ringlog) else PAST_START_MS
            job("leave-open", lambda: h.leave_open(turn + 1, timeout_ms))
        job(how, lambda: directory.now.kill() if how == "kill" else directory.now.stop())
    if dump:
        app.job("dump", lambda: dumped(dump, directory.brokers["kafka"].data / "log"))


def dumped(command, data):
    done = subprocess.run([*command, str(data), "transactions"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise Failed(done.stdout.strip()[-600:] or done.stderr.strip()[-300:])
    return done.stdout.strip().splitlines()[-1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--broker", required=True, choices=["ringlog", "kafka"])
    parser.add_argument("--binary", help="the ringlog binary")
    parser.add_argument("dump", nargs="*")
    options = parser.parse_args()
    end_on_sigterm()
    folder = WORK / "txn_handover"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    directory = Directory(folder / "both", options)
    app = App("txn_handover", directory)
    try:
        run(app, directory, options.dump)
    finally:
        directory.end()
    if not app.failures:
        shutil.rmtree(folder / "both", ignore_errors=True)
    sys.stdout.flush()
    os._exit(1 if app.failures else 0)  # clients that were left alone are left alone


main()
