"""The broker of a scenario: one of our own, which may be killed and started again, or one that somebody else runs."""
import contextlib
import pathlib
import shutil
import signal
import sys

HERE = pathlib.Path(__file__).resolve().parent
WORK = HERE.parent / ".work" / "groups"
sys.path.insert(0, str(HERE.parent.parent.parent / "bench" / "peers"))
from brokers import BrokerError, Kafka, Ringlog, free_port

# Members are given up after 6 s, so that no phase waits for longer; the first members of a group wait a moment for each other.
SETTINGS = ["group.initial.rebalance.delay.ms=500", "group.consumer.min.session.timeout.ms=6000", "group.consumer.session.timeout.ms=6000",
            "group.consumer.min.heartbeat.interval.ms=1000", "group.consumer.heartbeat.interval.ms=1000"]


class Elsewhere:
    """A broker that somebody else runs: it is neither killed nor stopped."""

    restartable = False

    def __init__(self, address):
        self.address = address


@contextlib.contextmanager
def broker_of(name, options, afterwards=lambda data: None, more=()):
    """The broker that the options name, in a folder of this name, with more settings. It is stopped afterwards, which must go well, and its
    files are shown to `afterwards` before they are removed."""
    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if ":" in options.broker:
        yield Elsewhere(options.broker)
        return
    if options.broker == "kafka":
        broker = Kafka(folder / "kafka", free_port(), [*SETTINGS, *more])
    else:
        broker = Ringlog(folder / "data", free_port(), options.binary, [*SETTINGS, *more])
    broker.restartable = True
    broker.start()
    try:
        yield broker
        broker.stop()
        afterwards(broker.data / "log" if options.broker == "kafka" else broker.data)
    finally:
        if broker.running():
            broker.kill()
    broker.wipe()


def end_on_sigterm():
    """SIGTERM becomes an exception, so that nothing this process started outlives it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
