"""A member of a consumer group with confluent-kafka (librdkafka), see ../groups/scenario.py. BOOTSTRAP in the environment.

    member.py TOPIC GROUP classic|cooperative|consumer
"""
import os
import signal
import sys

from confluent_kafka import Consumer, KafkaException

CLASSIC = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000}
PROTOCOLS = {
    "classic": CLASSIC,
    "cooperative": {**CLASSIC, "partition.assignment.strategy": "cooperative-sticky"},
    "consumer": {"group.protocol": "consumer"},
}


def told(what):
    return lambda _consumer, partitions: print(what, ",".join(str(one.partition) for one in partitions), flush=True)


def main(topic, group, protocol):
    leaving = []
    signal.signal(signal.SIGTERM, lambda *_: leaving.append(True))
    consumer = Consumer({"bootstrap.servers": os.environ["BOOTSTRAP"], "group.id": group, "enable.auto.commit": False,
                         "auto.offset.reset": "earliest", "reconnect.backoff.max.ms": 500, "fetch.wait.max.ms": 200,
                         "log_level": 0, **PROTOCOLS[protocol]})
    consumer.subscribe([topic], on_assign=told("assigned"), on_revoke=told("revoked"), on_lost=told("revoked"))
    while not leaving:
        records = consumer.consume(100, timeout=0.2)
        good = [record for record in records if not record.error()]
        for record in good:
            print("seen", record.partition(), record.offset(), record.value().decode())
        sys.stdout.flush()
        try:
            if good:
                consumer.commit(asynchronous=False)
        except KafkaException as error:  # a rebalance, or no broker: whoever owns the partition next sees these records again
            print("commit:", error, file=sys.stderr)
    consumer.close()


main(*sys.argv[1:])
