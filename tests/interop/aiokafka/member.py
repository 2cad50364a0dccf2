"""A member of a consumer group, see ../groups/scenario.py. BOOTSTRAP in the environment.

    member.py TOPIC GROUP
"""
import asyncio
import os
import signal
import sys

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.errors import KafkaError


class Told(ConsumerRebalanceListener):
    async def on_partitions_assigned(self, assigned):
        say("assigned", assigned)

    async def on_partitions_revoked(self, revoked):
        say("revoked", revoked)


def say(what, partitions):
    print(what, ",".join(str(one.partition) for one in partitions), flush=True)


async def main(topic, group):
    leaving = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leaving.set)
    consumer = AIOKafkaConsumer(bootstrap_servers=os.environ["BOOTSTRAP"], group_id=group, session_timeout_ms=6000,
                                heartbeat_interval_ms=1000, enable_auto_commit=False, auto_offset_reset="earliest")
    consumer.subscribe([topic], listener=Told())
    await consumer.start()
    while not leaving.is_set():
        batches = await consumer.getmany(timeout_ms=200)
        for records in batches.values():
            for record in records:
                print("seen", record.partition, record.offset, record.value.decode())
        sys.stdout.flush()
        try:
            if batches:
                await consumer.commit({partition: records[-1].offset + 1 for partition, records in batches.items()})
        except KafkaError as error:  # a rebalance, or no broker: whoever owns the partition next sees these records again
            print("commit:", error, file=sys.stderr)
    await consumer.stop()


asyncio.run(main(*sys.argv[1:]))
