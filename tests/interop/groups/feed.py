"""Numbered records into every partition of some topics, all the time."""
import threading

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from member import to, value

PARTITIONS = range(6)
INTERVAL_S = 0.1


class Feed:
    """Writes to the topics, which it creates, until it is stopped. A record's number is its offset: the producer is idempotent."""

    def __init__(self, bootstrap, topics):
        self.acknowledged = {topic: dict.fromkeys(PARTITIONS, 0) for topic in topics}
        self.trouble = []
        admin = AdminClient(to(bootstrap))
        for future in admin.create_topics([NewTopic(topic, len(PARTITIONS), 1) for topic in topics]).values():
            future.result()
        self.producer = Producer(to(bootstrap, {"enable.idempotence": True, "linger.ms": 5, "message.timeout.ms": 60000}))
        self.stopping = threading.Event()
        self.writer = threading.Thread(target=self.write, daemon=True)
        self.writer.start()

    def write(self):
        number = 0
        while not self.stopping.wait(INTERVAL_S):
            for topic in self.acknowledged:
                for partition in PARTITIONS:
                    self.producer.produce(topic, value(partition, number), partition=partition, on_delivery=self.delivered)
            number += 1
            self.producer.poll(0)

    def delivered(self, error, record):
        if error:
            self.trouble.append(str(error))
        else:
            self.acknowledged[record.topic()][record.partition()] = record.offset() + 1

    def heads(self, topic):
        """Per partition how many records are acknowledged."""
        return dict(self.acknowledged[topic])

    def stop(self):
        """Until everything written is acknowledged."""
        self.stopping.set()
        self.writer.join()
        left = self.producer.flush(60)
        if left or self.trouble:
            raise KafkaException(f"{left} records not delivered, {self.trouble[:3]}")
