"""Kafka Streams counts words, over its repartition and changelog topics, while instances join, leave and are killed and the broker is
killed and started again.

    streams.py --broker ringlog|kafka|HOST:PORT [--binary PATH] COMMAND...
    streams_eos.py ...    the same with exactly_once_v2

COMMAND starts an instance, see ../java/WordCount.java. One line per job, `ok|FAIL job detail`; exit code 1 on any FAIL."""
import collections
import struct
import time

from app import Failed, jobs_of
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from member import to

WORDS = ["log", "ring", "segment", "offset", "epoch", "leader", "batch", "record", "key", "value", "topic"]
INPUTS = 3  # partitions of the input, so tasks of each half of the topology
LINES = 200


class Counts:
    """What was written, and what the application says it counted."""

    def __init__(self, app, exactly_once):
        self.exactly_once, self.again = exactly_once, []
        self.input, self.output = f"{app.run}.lines", f"{app.run}.counts"
        self.due, self.said, self.lines = collections.Counter(), {}, 0
        app.create(self.input, INPUTS)
        app.create(self.output, INPUTS)
        self.producer = Producer(to(app.address, {"enable.idempotence": True}))
        self.consumer = Consumer(to(app.address, {"group.id": f"{app.run}.reader"}))
        self.consumer.assign([TopicPartition(self.output, partition, OFFSET_BEGINNING) for partition in range(INPUTS)])

    def write(self):
        for _ in range(LINES):
            words = [WORDS[(self.lines + step * step) % len(WORDS)] for step in range(self.lines % 7 + 1)]
            self.due.update(words)
            self.producer.produce(self.input, " ".join(words), key=str(self.lines), partition=self.lines % INPUTS)
            self.lines += 1
        if self.producer.flush(60):
            raise Failed("the lines were not written")

    def wait(self, app, enough):
        """Until the counts are enough; at least once means that they may be more than what is due after a crash."""
        deadline = time.monotonic() + 60
        while not (self.said.keys() == self.due.keys() and all(enough(self.said[word], due) for word, due in self.due.items())):
            app.check_alive()
            if time.monotonic() > deadline:
                raise Failed(f"counted {self.said}, due are {dict(self.due)}; {app.complaints()}")
            for record in self.consumer.consume(1000, timeout=0.2):
                if not record.error():
                    self.saw(record.key().decode(), struct.unpack(">q", record.value())[0])
        if self.exactly_once and self.again:
            raise Failed(f"not one after the other: {self.again[:5]}")
        return f"{sum(self.said.values())} words of {sum(self.due.values())}"

    def saw(self, word, count):
        """With exactly once every count comes one time, after the one before."""
        if count != self.said.get(word, 0) + 1:
            self.again.append(f"{word}: {count} after {self.said.get(word, 0)}")
        self.said[word] = count

    def exact(self, app):
        self.write()
        return self.wait(app, lambda said, due: said == due)

    def at_least(self, app):
        if self.exactly_once:
            return self.exact(app)
        self.write()
        return self.wait(app, lambda said, due: said >= due)


def run(app, command, guarantee="at_least_once"):
    counts = Counts(app, guarantee == "exactly_once_v2")

    def start(name):
        return app.start(name, [*command, f"{app.run}.app", counts.input, counts.output, str(app.folder / f"state-{name}"), guarantee])

    def tasks(instance, enough):
        app.wait(f"{instance.name} works on some tasks", lambda: any(enough(int(line.split()[1])) for line in instance.last("tasks")))
        return f"{instance.name} has {instance.last('tasks')[0]}"

    def count():
        start("a")
        return counts.exact(app)

    def internal_topics():
        names = [name for name in app.admin.list_topics(timeout=10).topics if name.startswith(f"{app.run}.app-")]
        for suffix, policy in (("counts-changelog", "compact"), ("words-repartition", "delete")):
            topic = next((name for name in names if name.endswith(suffix)), None)
            if not topic:
                raise Failed(f"no {suffix} among {names}")
            seen = app.config(topic, "cleanup.policy")
            if seen != policy:
                raise Failed(f"cleanup.policy of {topic} is {seen}")
        return " ".join(sorted(names))

    def second():
        instance = start("b")
        said = tasks(instance, lambda number: number > 0)
        return f"{said}, {counts.at_least(app)}"

    def leave_and_restore():
        for name in "ab":
            app.processes[name].leave()
        start("c")  # its state directory is empty: what was counted before is in the changelog alone
        return counts.at_least(app)

    def broker_restart():
        app.broker.kill()
        app.broker.start()
        return counts.at_least(app)

    def kill_9():
        app.processes["c"].kill()
        start("d")
        return counts.at_least(app)

    app.job("word-count", count)
    app.job("internal-topics", internal_topics)
    app.job("second-instance", second)
    app.job("leave-and-restore", leave_and_restore)
    if app.broker.restartable:
        app.job("broker-restart", broker_restart)
    app.job("kill-9", kill_9)
    app.job("leave", lambda: f"{app.processes['d'].leave():.1f} s")


if __name__ == "__main__":
    jobs_of("streams", run)
