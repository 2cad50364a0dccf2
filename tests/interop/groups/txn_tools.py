"""Kafka's tool for transactions, kafka-transactions, by its main class: what it lists and describes, and what it does to those that hang.

    txn_tools.py --broker ringlog|kafka|HOST:PORT [--binary PATH] COMMAND...

COMMAND starts a class with Kafka's jars. One line per job, `ok|FAIL job detail`; exit code 1 on any FAIL."""
import os
import re
import socket
import struct
import subprocess
import time

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from app import Failed, jobs_of
from confluent_kafka import IsolationLevel, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import OffsetSpec
from member import SMALL, to

TOOL = "TransactionsCommand"
LIMIT_S = 60
PATIENCE_S = 20
HOUR_MS = 3_600_000
# A record outside of its coordinator's knowledge hangs for ever; with this on none gets in.
SETTINGS = ["transaction.partition.verification.enable=false"]
PRODUCE, INIT_PRODUCER_ID = 0, 22


class Raw:
    """Requests no client sends."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.connection = socket.create_connection((host, int(port)), timeout=LIMIT_S)

    def ask(self, key, version, body):
        request = struct.pack(">hhih3s", key, version, 1, 3, b"raw") + body
        self.connection.sendall(struct.pack(">i", len(request)) + request)
        return self.exactly(struct.unpack(">i", self.exactly(4))[0])[4:]

    def exactly(self, count):
        answer = b""
        while len(answer) < count:
            piece = self.connection.recv(count - len(answer))
            if not piece:
                raise Failed("the broker closed the connection")
            answer += piece
        return answer

    def producer(self, txn_id):
        """The id and epoch of a new producer."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            _, error, producer, epoch = struct.unpack(">ihqh", self.ask(INIT_PRODUCER_ID, 1, text(txn_id) + struct.pack(">i", 60000)))
            if error == 0:
                return producer, epoch
            time.sleep(0.1)
        raise Failed(f"InitProducerId is answered {error}")

    def write(self, txn_id, topic, partition, producer, epoch, timestamp_ms):
        """A record in a transaction that nobody added the partition to."""
        batch = DefaultRecordBatchBuilder(magic=2, compression_type=0, is_transactional=1, producer_id=producer, producer_epoch=epoch,
                                          base_sequence=0, batch_size=10000)
        batch.append(0, timestamp=timestamp_ms, key=None, value=b"hangs", headers=[])
        records = bytes(batch.build())
        body = text(txn_id) + struct.pack(">hii", -1, 10000, 1) + text(topic) + struct.pack(">iii", 1, partition, len(records)) + records
        answer = self.ask(PRODUCE, 3, body)
        error, offset = struct.unpack(">hq", answer[4 + 2 + len(topic) + 4 + 4:][:10])
        if error:
            raise Failed(f"the record is answered {error}")
        return offset


def text(word):
    return struct.pack(">h", len(word)) + word.encode()


class Tool:
    """Two topics, and some transactions."""

    def __init__(self, app, command):
        self.app, self.command, self.topic = app, command, f"{app.run}.topic"
        self.open, self.done, self.lost = (f"{app.run}.{name}" for name in ("open", "done", "lost"))
        self.producer, self.offset = None, None

    def tool(self, *arguments, due=(), never=()):
        """Runs it; what it prints must match each of the first expressions, and none of the others."""
        done = subprocess.run([*self.command, TOOL, "--bootstrap-server", self.app.address, *arguments], env={**os.environ, **SMALL},
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT_S)
        said = f"{' '.join(arguments)}: {done.returncode}, {done.stdout.strip()[-800:]!r}"
        wrong = [one for one in due if not re.search(one, done.stdout, re.MULTILINE)] + [one for one in never if re.search(one, done.stdout, re.MULTILINE)]
        if wrong or done.returncode:
            raise Failed(f"{wrong}: {said}")
        return done.stdout.strip().splitlines()[-1][:120] if done.stdout.strip() else "nothing"

    def begin(self):
        self.app.create(self.topic, 2)
        done = self.of(self.done)
        done.begin_transaction()
        done.produce(self.topic, "done", partition=0)
        done.commit_transaction(PATIENCE_S)
        self.producer = self.of(self.open)
        self.producer.begin_transaction()
        for partition in range(2):
            self.producer.produce(self.topic, "open", partition=partition)
        self.producer.flush(PATIENCE_S)
        return "one is done, one is open"

    def of(self, txn_id):
        producer = Producer(to(self.app.address, {"transactional.id": txn_id, "linger.ms": 0}))
        producer.init_transactions(PATIENCE_S)
        return producer

    def stable(self, partition):
        one, admin = TopicPartition(self.topic, partition), self.app.admin
        asked = admin.list_offsets({one: OffsetSpec.latest()}, isolation_level=IsolationLevel.READ_COMMITTED)
        return asked[one].result().offset

    def force(self):
        """Ends the transaction of a producer that is still there, and is fenced by it."""
        self.tool("forceTerminateTransaction", "--transactionalId", self.open)
        end = self.app.ends(self.topic, 2)
        self.app.wait("its markers are written", lambda: [self.stable(p) for p in range(2)] == [self.app.ends(self.topic, 2)[p] for p in range(2)])
        try:
            self.producer.commit_transaction(PATIENCE_S)
        except KafkaException as error:
            return f"its commit is answered {error.args[0].name()}, the ends are {end}"
        raise Failed("its producer committed")

    def hang(self):
        raw = Raw(self.app.address)
        producer, epoch = raw.producer(self.lost)
        self.offset = raw.write(self.lost, self.topic, 0, producer, epoch, int(time.time() * 1000) - HOUR_MS)
        return f"at offset {self.offset}"

    def abort(self):
        self.tool("abort", "--topic", self.topic, "--partition", "0", "--start-offset", str(self.offset))
        self.app.wait("the last stable offset moves", lambda: self.stable(0) == self.app.ends(self.topic, 2)[0])
        return f"stable at {self.stable(0)}"


def run(app, command):
    t = Tool(app, command)
    broker = str(next(iter(app.admin.list_topics(timeout=10).brokers)))
    row = lambda txn_id, state: rf"^{txn_id}\s+{broker}\s+\d+\s+{state}"
    app.job("begin", t.begin)
    app.job("list", lambda: t.tool("list", due=[row(t.open, "Ongoing"), row(t.done, "CompleteCommit")]))
    app.job("list-pattern", lambda: t.tool("list", "--transactional-id-pattern", f".*{t.open}", due=[row(t.open, "Ongoing")], never=[t.done]))
    app.job("list-duration", lambda: t.tool("list", "--duration-filter", str(HOUR_MS), never=[t.open, t.done]))
    app.job("describe", lambda: t.tool("describe", "--transactional-id", t.open, due=[
        rf"^{broker}\s+{t.open}\s+\d+\s+0\s+Ongoing\s+60000\s+\d+\s+\d+\s+({t.topic}-0,{t.topic}-1|{t.topic}-1,{t.topic}-0)"]))
    app.job("describe-producers", lambda: t.tool("describe-producers", "--topic", t.topic, "--partition", "1", due=[r"^\d+\s+0\s+-?\d+\s+0\s+\d+\s+0\s*$"]))
    hanging = ["find-hanging", "--broker-id", broker, "--max-transaction-timeout", "15"]
    app.job("none-hanging", lambda: t.tool(*hanging, never=[rf"^{t.topic}\s"]))
    app.job("force-terminate", t.force)
    if app.broker.restartable:  # it needs a broker that lets it in
        app.job("hang", t.hang)
        app.job("find-hanging", lambda: t.tool(*hanging, due=[rf"^{t.topic}\s+0\s+\d+\s+0\s+-?\d+\s+{t.offset}\s"]))
        app.job("abort", t.abort)
        app.job("none-hanging-again", lambda: t.tool(*hanging, never=[rf"^{t.topic}\s"]))
    app.job("list-in-the-end", lambda: t.tool("list", due=[row(t.open, "Empty"), row(t.done, "CompleteCommit")]))


jobs_of("txn_tools", run, SETTINGS)
