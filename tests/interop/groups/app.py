"""What the applications' programs share: a broker of their own, processes, one line per job."""
import argparse
import sys
import time

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec

from member import Failed, Process, to
from owner import WORK, BrokerError, broker_of, end_on_sigterm

PATIENCE_S = 60


class App:
    """The processes of one application, and its jobs."""

    def __init__(self, name, broker):
        self.name, self.broker, self.address = name, broker, broker.address
        self.run, self.folder, self.processes, self.failures = f"{name}{int(time.time())}", WORK / name, {}, 0

    @property
    def admin(self):
        """A client of this moment: librdkafka's remembers a broker that is no more for too long."""
        return AdminClient(to(self.address))

    def job(self, name, body):
        """A job that fails is the last: the others would only wait in vain."""
        if self.failures:
            return
        begun = time.monotonic()
        try:
            line = f"ok {name} {body()}, {time.monotonic() - begun:.1f} s"
        except (Failed, BrokerError, KafkaException, OSError) as error:
            self.failures += 1
            line = f"FAIL {name} {error}; {self.complaints()}"
        print(line.replace("\n", " "), flush=True)

    def create(self, topic, partitions):
        admin = self.admin
        admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result()

    def config(self, topic, key):
        resource, admin = ConfigResource("TOPIC", topic), self.admin
        return admin.describe_configs([resource])[resource].result()[key].value

    def ends(self, topic, partitions):
        admin = self.admin
        asked = admin.list_offsets({TopicPartition(topic, partition): OffsetSpec.latest() for partition in range(partitions)})
        return {one.partition: future.result().offset for one, future in asked.items()}

    def start(self, name, command):
        self.processes[name] = Process(name, command, self.address, self.folder / f"{name}.err")
        return self.processes[name]

    def wait(self, what, holds):
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            self.check_alive()
            if time.monotonic() > deadline:
                raise Failed(f"{what}: not within {PATIENCE_S} s")
            time.sleep(0.05)

    def check_alive(self):
        for process in self.processes.values():
            process.check_alive()

    def complaints(self):
        return "; ".join(f"{process.name}: {process.complaint()}" for process in self.processes.values() if process.wanted)


def jobs_of(name, run, settings=()):
    """Runs `run(app, command)` with a broker that has these settings, too, and ends the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--broker", required=True, help="ringlog, kafka, or the address of one that already runs")
    parser.add_argument("--binary", help="the ringlog binary")
    parser.add_argument("command", nargs="*")
    options = parser.parse_args()
    end_on_sigterm()
    with broker_of(name, options, more=settings) as broker:
        app = App(name, broker)
        try:
            run(app, options.command)
        finally:
            for process in app.processes.values():
                process.end()
    sys.exit(1 if app.failures else 0)
