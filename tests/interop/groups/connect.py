"""One worker of Kafka Connect in distributed mode: its file source and file sink, with the worker and the broker killed in between.

    connect.py --broker ringlog|kafka|HOST:PORT [--binary PATH] COMMAND...

COMMAND starts a class with Kafka's jars. One line per job, `ok|FAIL job detail`; exit code 1 on any FAIL."""
import json
import time
import urllib.error
import urllib.request

from app import Failed, jobs_of
from confluent_kafka import KafkaError, KafkaException
from owner import free_port

LINES = 200


class Worker:
    """The worker, its REST interface, and the two files."""

    def __init__(self, app, command):
        self.app, self.port = app, free_port()
        self.source, self.sink, self.topic = app.folder / "source.txt", app.folder / "sink.txt", f"{app.run}.lines"
        self.command = [*command, "org.apache.kafka.connect.cli.ConnectDistributed", str(app.folder / "worker.properties")]
        self.written, self.starts = 0, 0
        self.source.touch()
        converters = "".join(f"{side}.converter=org.apache.kafka.connect.storage.StringConverter\n" for side in ("key", "value"))
        storage = "".join(f"{kind}.storage.topic={app.run}.{kind}s\n{kind}.storage.replication.factor=1\n" for kind in ("config", "offset", "status"))
        (app.folder / "worker.properties").write_text(
            f"bootstrap.servers={app.address}\ngroup.id={app.run}.workers\nlisteners=http://127.0.0.1:{self.port}\n{converters}{storage}"
            "offset.storage.partitions=5\nstatus.storage.partitions=2\noffset.flush.interval.ms=500\nplugin.discovery=hybrid_warn\n"
            "session.timeout.ms=6000\nheartbeat.interval.ms=1000\nscheduled.rebalance.max.delay.ms=0\nconsumer.auto.offset.reset=earliest\n"
            "consumer.session.timeout.ms=6000\nconsumer.heartbeat.interval.ms=1000\nreconnect.backoff.max.ms=500\n")

    def start(self):
        self.starts += 1
        self.app.start(f"worker-{self.starts}", self.command)
        self.app.wait("the worker answers", lambda: self.ask("GET", "/connectors") is not None)

    def process(self):
        return self.app.processes[f"worker-{self.starts}"]

    def ask(self, method, path, body=None):
        """The answer; None while there is none, or the worker says that it is not ready."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", None if body is None else json.dumps(body).encode(),
                                         {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            if error.code in (404, 409, 503):
                return None
            raise Failed(f"{method} {path}: {error.code} {error.read()[:300]}") from None
        except OSError:
            return None

    def connector(self, name, kind, **settings):
        body = {"connector.class": f"org.apache.kafka.connect.file.FileStream{kind}Connector", "tasks.max": "1", **settings}
        self.app.wait(f"{name} is accepted", lambda: self.ask("PUT", f"/connectors/{name}/config", body) is not None)
        self.wait_running(name)

    def wait_running(self, name):
        self.app.wait(f"{name} runs", lambda: self.runs(self.ask("GET", f"/connectors/{name}/status")))

    @staticmethod
    def runs(status):
        states = [status["connector"]["state"], *(task["state"] for task in status["tasks"])] if status else []
        if "FAILED" in states:
            raise Failed(json.dumps(status))
        return len(states) == 2 and set(states) == {"RUNNING"}

    def write(self):
        with open(self.source, "a") as file:
            file.writelines(f"line {number}\n" for number in range(self.written, self.written + LINES))
        self.written += LINES

    def arrived(self):
        return [int(line.split()[1]) for line in self.sink.read_text().splitlines()] if self.sink.exists() else []

    def wait_arrived(self):
        """Until every line has come out, in order but for what comes again after a crash."""
        self.app.wait(f"{self.written} lines arrive", lambda: len(set(self.arrived())) == self.written)
        lines = self.arrived()
        for before, line in zip(lines, lines[1:]):
            if line > before + 1:
                raise Failed(f"line {line} came after {before}")
        return f"{self.written} lines, the source wrote {self.records()} and the sink {len(lines)}"

    def records(self):
        """The end of the topic's only partition."""
        return sum(self.app.ends(self.topic, 1).values())


def run(app, command):
    worker = Worker(app, command)

    def start():
        worker.start()
        topics = {f"{app.run}.{kind}s" for kind in ("config", "offset", "status")}
        app.wait("it creates its topics", lambda: topics <= app.admin.list_topics(timeout=10).topics.keys())
        for topic in topics:
            policy = app.config(topic, "cleanup.policy")
            if policy != "compact":
                raise Failed(f"cleanup.policy of {topic} is {policy}")
        return "three compacted topics"

    def source_and_sink():
        worker.connector("source", "Source", file=str(worker.source), topic=worker.topic)
        worker.connector("sink", "Sink", file=str(worker.sink), topics=worker.topic)
        worker.write()
        return worker.wait_arrived()

    def go_on():
        worker.write()
        return worker.wait_arrived()

    def broker_restart():
        app.broker.kill()
        app.broker.start()
        return go_on()

    def kill_9():
        worker.process().kill()
        worker.start()
        for name in ("source", "sink"):
            worker.wait_running(name)
        return go_on()

    def delete():
        for name in ("source", "sink"):
            app.wait(f"{name} is deleted", lambda: worker.ask("DELETE", f"/connectors/{name}") is not None)
        app.wait("no connector is left", lambda: worker.ask("GET", "/connectors") == [])
        app.wait("the sink's group can be deleted", group_deleted)
        return "and the sink's group"

    def group_deleted():
        """Tasks end after their connector is gone."""
        admin = app.admin
        try:
            admin.delete_consumer_groups(["connect-sink"])["connect-sink"].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.NON_EMPTY_GROUP:
                raise
            return False
        return True

    app.job("worker", start)
    app.job("source-and-sink", source_and_sink)
    if app.broker.restartable:
        app.job("broker-restart", broker_restart)
    app.job("kill-9", kill_9)
    app.job("delete", delete)
    app.job("leave", lambda: f"{worker.process().leave():.1f} s")


jobs_of("connect", run)
