"""A user interface in the terminal: kaskade (on librdkafka's admin client), as a person sees it in a window of tmux.

    kaskade.py --broker ringlog|kafka|HOST:PORT [--binary PATH] COMMAND...

COMMAND starts kaskade. One line per job, `ok|FAIL job detail`; exit code 1 on any FAIL."""
import re
import shlex
import subprocess
import time

from app import PATIENCE_S, Failed, jobs_of
from confluent_kafka import Consumer, Producer, TopicPartition
from member import to

PARTITIONS = 3
RECORDS = 20  # in each partition
READ = 7  # of each
LAG = PARTITIONS * (RECORDS - READ)
LIMIT_S = 10


class Window:
    """A program in a terminal of 200 by 50 characters, typed into and looked at."""

    def __init__(self, name, command):
        self.socket = name
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "200", "-y", "50", f"{shlex.join(command)}; sleep {PATIENCE_S}")

    def tmux(self, *arguments):
        done = subprocess.run(["tmux", "-L", self.socket, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=LIMIT_S)
        if done.returncode:
            raise Failed(f"tmux {arguments[0]}: {done.stdout.strip()}")
        return done.stdout

    def press(self, *keys):
        self.tmux("send-keys", *keys)

    def type(self, text):
        self.tmux("send-keys", "-l", text)

    def shows(self, *expressions, gone=None):
        """Waits until each expression is somewhere on the screen, and `gone` is not; what the last one found."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            screen = self.tmux("capture-pane", "-p")
            found = [re.search(expression, screen) for expression in expressions]
            if all(found) and (gone is None or gone not in screen):
                return " ".join(found[-1].group().split())
            if time.monotonic() > deadline:
                missing = [expression for expression, match in zip(expressions, found) if not match]
                raise Failed(f"no {missing}, or {gone!r} still, after {PATIENCE_S} s in {' '.join(screen.split())[-1500:]!r}")
            time.sleep(0.1)

    def close(self):
        subprocess.run(["tmux", "-L", self.socket, "kill-server"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=LIMIT_S, check=False)


def cells(*words):
    """A row of a table."""
    return r"\s+".join(words)


def read_some(app, topic, group):
    """Writes, and reads some of it as the only member of a group, which stays."""
    app.create(topic, PARTITIONS)
    producer = Producer(to(app.address))
    for number in range(PARTITIONS * RECORDS):
        producer.produce(topic, str(number), partition=number % PARTITIONS)
    producer.flush(30)
    member = Consumer(to(app.address, {"group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest", "client.id": "reader",
                                       "session.timeout.ms": 30000}))
    member.subscribe([topic])
    seen, deadline = 0, time.monotonic() + PATIENCE_S
    while seen < PARTITIONS * RECORDS:
        seen += len(member.consume(100, timeout=0.5))
        if time.monotonic() > deadline:
            raise Failed(f"{seen} records within {PATIENCE_S} s")
    member.commit(offsets=[TopicPartition(topic, partition, READ) for partition in range(PARTITIONS)], asynchronous=False)
    return member


def run(app, command):
    topic, group = f"{app.run}.topic", f"{app.run}.group"
    kept = {}

    def member():
        kept["member"] = read_some(app, topic, group)
        return f"{PARTITIONS * RECORDS} records"

    def topics():
        window = kept["window"] = Window(f"ringlog-{app.run}", [*command, "admin", "-b", app.address])
        window.shows(rf"{topic}\s")
        # Only this topic: the row the cursor is on.
        window.press("C-f")
        window.shows("filter topics")
        window.type(topic)
        window.press("Enter")
        # name, partitions, replicas, in sync, groups, members, records, lag
        row = cells(topic, str(PARTITIONS), "1", "1", "1", "1", rf"≈?{PARTITIONS * RECORDS}", rf"≈?{LAG}")
        return window.shows(row, gone="filter topics")

    def partitions():
        kept["window"].press("Enter")
        rows = [cells(rf"\b{partition}", r"\d+", r"\[\d+\]", r"\[\d+\]", rf"{RECORDS}\b") for partition in range(PARTITIONS)]
        return kept["window"].shows(*rows)

    def groups():
        kept["window"].press("Tab")
        # id, coordinator, state, assignor, partitions, members, lag
        return kept["window"].shows(rf"{group}\s.*\bstable\s+range\s+{PARTITIONS}\s+1\s+{LAG}\b")

    def members():
        kept["window"].press("Tab")
        return kept["window"].shows(rf"{group}\s+reader\s+reader-\S+\s+/127\.0\.0\.1")

    def lag():
        """What the group commits is seen after a refresh."""
        offsets = [TopicPartition(topic, partition, RECORDS) for partition in range(PARTITIONS)]
        kept["member"].commit(offsets=offsets, asynchronous=False)
        kept["window"].press("Escape")
        kept["window"].shows(topic, gone="group members")
        kept["window"].press("C-r")
        return kept["window"].shows(cells(topic, str(PARTITIONS), "1", "1", "1", "1", rf"≈?{PARTITIONS * RECORDS}", r"≈?0\b"))

    try:
        app.job("member", member)
        app.job("topics", topics)
        app.job("partitions", partitions)
        app.job("groups", groups)
        app.job("members", members)
        app.job("lag", lag)
    finally:
        if "window" in kept:
            kept["window"].close()
        if "member" in kept:
            kept["member"].close()


jobs_of("kaskade", run)
