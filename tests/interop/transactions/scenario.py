"""Transactions of several clients at once. Each client first ends transactions in every way there is; then its links consume, transform and
produce in transactions while records are written into their input, a link is killed with kill -9 and started again, and the broker is. At
the end each client reads what every client wrote: what was committed, once, in order, and nothing else.

    scenario.py --broker ringlog|kafka|HOST:PORT [--binary PATH] [--dump COMMAND] CLIENTS

CLIENTS is JSON, `{"NAME": {"command": ["COMMAND", ...], "links": N}, ...}`. COMMAND gets BOOTSTRAP in its environment, and as arguments:

    jobs TOPIC ID                  ends transactions of this id in a topic of two partitions; prints `ok|FAIL JOB DETAIL` lines. What it
                                   writes is COMMITTED and ABORTED below
    chain INPUT OUTPUT GROUP ID    in the group consumes what is committed in the input, and in transactions of this id writes each value
                                   into the same partition of the output and commits the offsets; every fourth transaction it aborts.
                                   Prints `done N` and `aborted N`; ends on SIGTERM with exit code 0
    read committed|uncommitted PARTITIONS TOPIC...   prints `record TOPIC PARTITION VALUE`, until each partition has shown a value `end`

`links` is 2 for clients that send their group's generation with the offsets; others could commit after they have lost a partition, and are
alone. One line per client and job on standard output, `CLIENT ok|FAIL JOB DETAIL`; exit code 0 when all are ok. COMMAND of --dump looks at
the stopped broker's files: it gets their directory, and prints such lines without the client."""
import argparse
import collections
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "groups"))
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from feed import PARTITIONS, Feed
from member import SMALL, Failed, Process, to, value
from owner import WORK, BrokerError, broker_of, end_on_sigterm

SETTINGS = ["transaction.abort.timed.out.transaction.cleanup.interval.ms=500"]
PATIENCE_S = 90
PROGRAM_LIMIT_S = 150
MARGIN = 3  # records that may be on their way already
# What `jobs` leaves in each of its two partitions.
COMMITTED = [["c0", "c1", "c2", "o0", "s0", "end"], ["c3", "end"]]
ABORTED = {"a0", "a1", "f0", "t0"}


class Client:
    """One client: its programs, its links, and its outcome."""

    def __init__(self, name, command, links, run, bootstrap):
        self.name, self.command, self.count, self.bootstrap = name, command, links, bootstrap
        self.basics, self.input, self.output = f"{run}.{name}.basics", f"{run}.{name}.in", f"{run}.{name}.out"
        self.group, self.id = f"{run}.{name}", f"{run}.{name}.id"
        self.links, self.started, self.outcome = {}, collections.Counter(), {}

    def start(self, link):
        """A link by the name of `a` or `b`. One that comes back has the id it had: so it puts an end to what it left open."""
        self.started[link] += 1
        words = [*self.command, "chain", self.input, self.output, self.group, f"{self.id}-{link}"]
        name = f"{self.name}-{link}{self.started[link]}"
        self.links[link] = Process(name, words, self.bootstrap, WORK / "transactions" / f"{name}.err")

    def running(self):
        return [link for link in self.links.values() if link.wanted]

    def program(self, *arguments):
        """Runs it to its end; its exit code and lines."""
        try:
            done = subprocess.run([*self.command, *arguments], env={**os.environ, "BOOTSTRAP": self.bootstrap, **SMALL}, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PROGRAM_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"`{arguments[0]}` did not end within {PROGRAM_LIMIT_S} s") from None
        return done.returncode, done.stdout.splitlines(), done.stderr.strip()[-300:]

    def say(self, good, job, detail):
        self.outcome[job] = good
        line = f"{self.name} {'ok' if good else 'FAIL'} {job} {detail}".replace("\n", " ")
        sys.stdout.write(line + "\n")  # in one piece: others write too
        sys.stdout.flush()

    def judge(self, job, body):
        """A job of the links that fails is their last: the others would only wait in vain."""
        if False in self.outcome.values():
            return
        try:
            self.say(True, job, body())
        except (Failed, BrokerError, KafkaException) as error:
            self.say(False, job, str(error))

    def jobs(self):
        try:
            code, lines, complaint = self.program("jobs", self.basics, self.id)
        except Failed as failed:
            self.say(False, "jobs", str(failed))
            return
        for line in lines:
            verdict, job, detail = (line.split(" ", 2) + [""])[:3]
            if verdict in ("ok", "FAIL"):
                self.say(verdict == "ok", job, detail)
        if "end" not in self.outcome or code != 0 and False not in self.outcome.values():
            self.say(False, "jobs", f"ended with {code}: {complaint}")


class Watch:
    """Reads all outputs as a read_committed consumer, all the time, and remembers what comes twice, too late or not at all."""

    def __init__(self, bootstrap, topics):
        self.next = {topic: dict.fromkeys(PARTITIONS, 0) for topic in topics}
        self.wrong = {topic: [] for topic in topics}
        self.consumer = Consumer(to(bootstrap, {"group.id": "watch", "isolation.level": "read_committed", "fetch.wait.max.ms": 100}))
        self.consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for topic in topics for partition in PARTITIONS])
        self.stopping = threading.Event()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        while not self.stopping.is_set():
            for record in self.consumer.consume(1000, timeout=0.2):
                if not record.error():
                    self.saw(record.topic(), record.partition(), record.value().decode())

    def saw(self, topic, partition, text):
        due = self.next[topic][partition]
        if text != value(partition, due):
            self.wrong[topic].append(f"partition {partition}: {text} instead of {value(partition, due)}")
            _, _, number = text.partition("-")
            due = int(number) if number.isdigit() else due - 1
        self.next[topic][partition] = due + 1

    def stop(self):
        self.stopping.set()
        self.reader.join()
        self.consumer.close()


class Run:
    """All clients, on one broker."""

    def __init__(self, broker, options):
        self.broker, run = broker, f"x{int(time.time())}"
        self.clients = [Client(name, one["command"], one["links"], run, broker.address) for name, one in json.loads(options.clients).items()]

    def create(self):
        """The inputs are the feed's."""
        topics = [NewTopic(one.basics, 2, 1) for one in self.clients] + [NewTopic(one.output, len(PARTITIONS), 1) for one in self.clients]
        admin = AdminClient(to(self.broker.address))
        for future in admin.create_topics(topics).values():
            future.result()

    def wait(self, client, what, holds):
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            for link in client.running():
                link.check_alive()
            if self.watch.wrong[client.output]:
                raise Failed("; ".join(self.watch.wrong[client.output][:5]))
            if time.monotonic() > deadline:
                said = "; ".join(f"{link.name}: {link.complaint()}" for link in client.running())
                raise Failed(f"{what}: not within {PATIENCE_S} s; output at {self.watch.next[client.output]}, input at "
                             f"{self.feed.heads(client.input)}; {said}")
            time.sleep(0.05)

    def progress(self, client):
        """Until what is written from now on has come out of every partition."""
        begun, seen = time.monotonic(), dict(self.watch.next[client.output])
        heads = {partition: max(head, seen[partition]) + MARGIN for partition, head in self.feed.heads(client.input).items()}
        self.wait(client, "every partition goes on", lambda: all(self.watch.next[client.output][p] >= heads[p] for p in PARTITIONS))
        return f"{time.monotonic() - begun:.1f} s"

    def chain(self, client):
        for link in "ab"[:client.count]:
            client.start(link)
        return self.progress(client)

    def kill_9(self, client):
        """In the middle of a transaction: there is always one. The other link goes on, the killed one comes back."""
        client.links["a"].kill()
        client.start("a")
        said = self.progress(client)
        for link in "ab"[:client.count]:
            self.wait(client, f"link {link} works again", lambda: client.count == 1 or client.links[link].lines["done"])
        return said

    def broker_restart(self, client):
        """The broker was killed and started before."""
        return self.progress(client)

    def every_input(self, client):
        """Nothing is written any more."""
        ends = self.feed.heads(client.input)
        self.wait(client, "every input is there", lambda: all(self.watch.next[client.output][p] >= ends[p] for p in PARTITIONS))
        for link in client.running():
            link.leave()
        if self.watch.wrong[client.output] or self.watch.next[client.output] != ends:
            raise Failed(f"output at {self.watch.next[client.output]}, input at {ends}; {self.watch.wrong[client.output][:5]}")
        total = sum(len(link.lines["aborted"]) for link in client.links.values())
        return f"{sum(ends.values())} records; of its last processes' transactions {total} were aborted"

    def all_clients(self, job, body):
        with ThreadPoolExecutor(len(self.clients)) as pool:
            list(pool.map(lambda client: client.judge(job, lambda: body(client)), self.clients))

    def mark_ends(self):
        producer = Producer(to(self.broker.address))
        for client in self.clients:
            for partition in PARTITIONS:
                producer.produce(client.output, "end", partition=partition)
        if producer.flush(60):
            raise Failed("the ends were not written")

    def read_all(self, reader):
        """Everything that anybody wrote, by each client."""
        wrong = self.differences(reader, "committed", 2, {one.basics: COMMITTED for one in self.clients if one.outcome.get("end")})
        ends = {one.output: self.feed.heads(one.input) for one in self.clients if one.outcome.get("every-input")}
        due = {topic: [[value(p, number) for number in range(heads[p])] + ["end"] for p in PARTITIONS] for topic, heads in ends.items()}
        wrong += self.differences(reader, "committed", len(PARTITIONS), due)
        if wrong:
            raise Failed("; ".join(wrong[:5]))
        return f"{len(due)} clients' outputs"

    def read_uncommitted(self, client):
        """Aborted records are there for who asks for them."""
        found = self.records(client, "uncommitted", 2, [client.basics])[client.basics]
        missing = ABORTED - {text for partition in found.values() for text in partition}
        if missing:
            raise Failed(f"no {sorted(missing)} in {found}")
        return "the aborted records"

    def differences(self, reader, isolation, partitions, due):
        if not due:
            return []
        found = self.records(reader, isolation, partitions, list(due))
        return [f"{topic}-{p}: {difference(found[topic][p], wanted)}" for topic, all_wanted in due.items() for p, wanted in enumerate(all_wanted)
                if found[topic][p] != wanted]

    def records(self, reader, isolation, partitions, topics):
        code, lines, complaint = reader.program("read", isolation, str(partitions), *topics)
        if code != 0:
            raise Failed(f"`read {isolation}` ended with {code}: {complaint}")
        found = {topic: collections.defaultdict(list) for topic in topics}
        for line in lines:
            word, topic, partition, text = (line.split(" ", 3) + ["", "", ""])[:4]
            if word == "record":
                found[topic][int(partition)].append(text)
        return found

    def go(self):
        self.create()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(Client.jobs, self.clients))
        self.feed = Feed(self.broker.address, [client.input for client in self.clients])
        self.watch = Watch(self.broker.address, [client.output for client in self.clients])
        try:
            self.all_clients("chain", self.chain)
            self.all_clients("kill-9", self.kill_9)
            if self.broker.restartable:
                self.broker.kill()
                self.broker.start()
                self.all_clients("broker-restart", self.broker_restart)
            self.feed.stop()
            self.all_clients("every-input", self.every_input)
        finally:
            for client in self.clients:
                for link in client.links.values():
                    link.end()
        self.watch.stop()
        self.mark_ends()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda client: client.judge("read-all", lambda: self.read_all(client)), self.clients))
            list(pool.map(lambda client: client.judge("read-uncommitted", lambda: self.read_uncommitted(client)), self.clients))


def difference(found, wanted):
    for number, (seen, due) in enumerate(zip(found, wanted)):
        if seen != due:
            return f"record {number} is {seen} instead of {due}"
    return f"{len(found)} records instead of {len(wanted)}, the last {found[-3:]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", required=True)
    parser.add_argument("--binary")
    parser.add_argument("--dump", type=json.loads)
    parser.add_argument("clients")
    options = parser.parse_args()
    end_on_sigterm()
    dumped = []

    def dump(data):
        if options.dump:
            dumped.append(subprocess.run([*options.dump, str(data), "transactions"], stdout=subprocess.PIPE, text=True))

    with broker_of("transactions", options, dump, SETTINGS) as broker:
        run = Run(broker, options)
        run.go()
    for done in dumped:
        for line in done.stdout.splitlines():
            print(f"DumpLogs {line}")
    failed = any(False in client.outcome.values() for client in run.clients) or any(done.returncode for done in dumped)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
