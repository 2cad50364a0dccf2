"""Kafka's own command line tools: kafka-topics, kafka-configs, kafka-consumer-groups, by their main classes.

    tools.py --broker ringlog|kafka|HOST:PORT [--binary PATH] COMMAND...

COMMAND starts a class with Kafka's jars. One line per job, `ok|FAIL job detail`; exit code 1 on any FAIL."""
import os
import re
import subprocess

from app import Failed, jobs_of
from confluent_kafka import Consumer, Producer, TopicPartition
from member import SMALL, to

TOPICS = "TopicCommand"
CONFIGS = "kafka.admin.ConfigCommand"
GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
LIMIT_S = 60
RECORDS = 20  # in each of the three partitions
READ = 7  # of each


class Tools:
    """A topic, and a group with one member that has read some of it."""

    def __init__(self, app, command):
        self.app, self.command = app, command
        self.topic, self.group, self.member = f"{app.run}.topic", f"{app.run}.group", None

    def tool(self, name, *arguments, due=()):
        """Runs a tool; what it prints must match each of the expressions."""
        done = subprocess.run([*self.command, name, "--bootstrap-server", self.app.address, *arguments], env={**os.environ, **SMALL},
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT_S)
        for expression in due:
            if not re.search(expression, done.stdout, re.MULTILINE):
                raise Failed(f"{' '.join(arguments)}: no {expression!r} in {done.stdout.strip()[-600:]!r}")
        if done.returncode:
            raise Failed(f"{' '.join(arguments)}: {done.returncode}, {done.stdout.strip()[-600:]!r}")
        return done.stdout.strip().replace("\n", " / ")[-100:]

    def topics(self, *arguments, due=()):
        return self.tool(TOPICS, *arguments, due=due)

    def configs(self, *arguments, due=()):
        return self.tool(CONFIGS, *arguments, due=due)

    def groups(self, *arguments, due=()):
        return self.tool(GROUPS, *arguments, due=due)

    def join(self):
        """Writes, then reads as the group's only member and commits; the member stays."""
        producer = Producer(to(self.app.address))
        for number in range(3 * RECORDS):
            producer.produce(self.topic, str(number), partition=number % 3)
        producer.flush(30)
        self.member = Consumer(to(self.app.address, {"group.id": self.group, "enable.auto.commit": False, "auto.offset.reset": "earliest",
                                                      "client.id": "reader", "session.timeout.ms": 30000}))
        self.member.subscribe([self.topic])
        seen = 0
        while seen < 3 * RECORDS:
            seen += len(self.member.consume(100, timeout=0.5))
        self.member.commit(offsets=[TopicPartition(self.topic, partition, READ) for partition in range(3)], asynchronous=False)
        return f"{seen} records"

    def lags(self, offset, tail):
        return [rf"^{self.group} +{self.topic} +{partition} +{offset} +{RECORDS} +{RECORDS - offset} +{tail}" for partition in range(3)]


def run(app, command):
    t = Tools(app, command)
    topic, group = t.topic, t.group
    app.job("topics-create", lambda: t.topics("--create", "--topic", topic, "--partitions", "2", "--config", "retention.ms=86400000",
                                              due=[f"Created topic {topic}"]))
    app.job("topics-alter", lambda: t.topics("--alter", "--topic", topic, "--partitions", "3"))
    app.job("topics-describe", lambda: t.topics("--describe", "--topic", topic, due=[r"PartitionCount: 3\b", r"retention\.ms=86400000"]))
    app.job("topics-list", lambda: t.topics("--list", due=[f"^{topic}$"]))
    entity = ["--entity-type", "topics", "--entity-name", topic]
    app.job("configs-alter", lambda: t.configs(*entity, "--alter", "--add-config", "max.message.bytes=2000000", due=["Completed updating config"]))
    app.job("configs-describe", lambda: t.configs(*entity, "--describe", due=[r"max\.message\.bytes=2000000", r"retention\.ms=86400000"]))
    app.job("configs-broker", lambda: t.configs("--entity-type", "brokers", "--entity-name", str(broker_id(app)), "--describe", "--all",
                                                due=[r"group\.max\.session\.timeout\.ms=1800000", r"offsets\.topic\.num\.partitions=50"]))
    app.job("configs-users", lambda: t.configs("--entity-type", "users", "--describe"))
    app.job("configs-user", lambda: t.configs("--entity-type", "users", "--entity-name", "nobody", "--describe"))
    app.job("configs-loggers", lambda: t.configs("--entity-type", "broker-loggers", "--entity-name", str(broker_id(app)), "--describe",
                                                 due=[r"^ *root=(ERROR|WARN|INFO|DEBUG) "]))
    of_group = ["--entity-type", "groups", "--entity-name", group]
    app.job("configs-group", lambda: (t.configs(*of_group, "--alter", "--add-config", "consumer.heartbeat.interval.ms=1500"),
                                      t.configs(*of_group, "--describe", due=[r"consumer\.heartbeat\.interval\.ms=1500"]))[1])
    app.job("member", t.join)
    app.job("groups-list", lambda: t.groups("--list", "--state", due=[rf"^{group} +Stable"]))
    one = ["--describe", "--group", group]
    app.job("groups-offsets", lambda: t.groups(*one, due=t.lags(READ, "reader-")))
    app.job("groups-members", lambda: t.groups(*one, "--members", "--verbose", due=[rf"^{group} +reader-\S+ +/127\.0\.0\.1 +reader +3\b.*{topic}"]))
    app.job("groups-state", lambda: t.groups(*one, "--state", due=[rf"^{group} +127\.0\.0\.1:\d+ +\(\d+\) +range +Stable +1\b"]))
    reset = ["--group", group, "--topic", topic, "--reset-offsets"]
    app.job("reset-refused", lambda: t.groups(*reset, "--to-earliest", "--execute", due=["inactive, but the current state is Stable"]))
    app.job("member-leaves", lambda: t.member.close() or "closed")
    app.job("reset-dry-run", lambda: t.groups(*reset, "--to-latest", "--dry-run", due=[rf"^{group} +{topic} +0 +{RECORDS}"]))
    app.job("reset-execute", lambda: t.groups(*reset, "--shift-by", "2", "--execute", due=[rf"^{group} +{topic} +0 +{READ + 2}"]))
    app.job("groups-empty", lambda: t.groups(*one, due=["has no active members", *t.lags(READ + 2, "-")]))
    app.job("delete-offsets", lambda: t.groups("--group", group, "--topic", f"{topic}:0", "--delete-offsets", due=[rf"{topic} +0 +Successful"]))
    app.job("groups-delete", lambda: t.groups("--group", group, "--delete", due=["was successful"]))
    app.job("topics-delete", lambda: t.topics("--delete", "--topic", topic))


def broker_id(app):
    return next(iter(app.admin.list_topics(timeout=10).brokers))


jobs_of("tools", run)
