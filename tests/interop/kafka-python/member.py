"""A member of a consumer group, see ../groups/scenario.py. BOOTSTRAP in the environment.

    member.py TOPIC GROUP
"""
import os
import signal
import sys

from kafka import ConsumerRebalanceListener, KafkaConsumer
from kafka.errors import KafkaError


class Told(ConsumerRebalanceListener):
    def on_partitions_assigned(self, assigned):
        say("assigned", assigned)

    def on_partitions_revoked(self, revoked):
        say("revoked", revoked)

    def on_partitions_lost(self, lost):
        say("revoked", lost)


def say(what, partitions):
    print(what, ",".join(str(one.partition) for one in partitions), flush=True)


def main(topic, group):
    leaving = []
    signal.signal(signal.SIGTERM, lambda *_: leaving.append(True))
    consumer = KafkaConsumer(bootstrap_servers=os.environ["BOOTSTRAP"], group_id=group, session_timeout_ms=6000, heartbeat_interval_ms=1000,
                             enable_auto_commit=False, auto_offset_reset="earliest", reconnect_backoff_max_ms=500)
    consumer.subscribe([topic], listener=Told())
    while not leaving:
        batches = consumer.poll(timeout_ms=200)
        for records in batches.values():
            for record in records:
                print("seen", record.partition, record.offset, record.value.decode())
        sys.stdout.flush()
        try:
            if batches:
                consumer.commit(timeout_ms=5000)
        except KafkaError as error:  # a rebalance, or no broker: whoever owns the partition next sees these records again
            print("commit:", error, file=sys.stderr)
    consumer.close()


main(*sys.argv[1:])
