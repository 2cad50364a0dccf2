"""The groups as an admin client sees them: committed offsets all the time, members, state."""
import threading
import time

from confluent_kafka import Consumer, ConsumerGroupState, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from feed import PARTITIONS
from member import Failed, to

INTERVAL_S = 0.2
PATIENCE_S = 20


class Watch:
    """Asks for the committed offsets of all groups again and again, and remembers when one went back."""

    def __init__(self, bootstrap, groups):
        self.bootstrap = bootstrap
        self.clients = {group: Consumer(to(bootstrap, {"group.id": group.id})) for group in groups}
        self.committed = {group.id: dict.fromkeys(PARTITIONS, -1) for group in groups}
        self.backwards = {group.id: [] for group in groups}
        self.answers = dict.fromkeys(self.committed, 0)
        self.stopping = threading.Event()
        self.asker = threading.Thread(target=self.ask_on, daemon=True)
        self.asker.start()

    def ask_on(self):
        while not self.stopping.wait(INTERVAL_S):
            for group in self.clients:
                try:
                    self.ask(group)
                except KafkaException:
                    pass  # no broker for a moment

    def ask(self, group):
        partitions = [TopicPartition(group.topic, partition) for partition in PARTITIONS]
        known = self.committed[group.id]
        for one in self.clients[group].committed(partitions, timeout=3):
            if one.error:
                raise KafkaException(one.error)
            offset = max(one.offset, -1)  # no offset is a negative number
            if offset < known[one.partition]:
                self.backwards[group.id].append(f"partition {one.partition}: {offset} after {known[one.partition]}")
            known[one.partition] = offset
        self.answers[group.id] += 1

    def stop(self):
        self.stopping.set()
        self.asker.join()

    def admin(self):
        """A client of this moment: librdkafka's admin client does not always get over the end of a broker."""
        return AdminClient(to(self.bootstrap))

    def described(self, group, members):
        """Until the group is stable with so many members that own every partition once."""
        deadline, admin = time.monotonic() + PATIENCE_S, self.admin()
        while True:
            try:
                seen = admin.describe_consumer_groups([group.id], request_timeout=3)[group.id].result()
                owned = sorted(one.partition for member in seen.members if member.assignment for one in member.assignment.topic_partitions)
                state = f"{seen.state.name}, {len(seen.members)} members own {owned}"
                if seen.state == ConsumerGroupState.STABLE and len(seen.members) == members and owned == list(PARTITIONS):
                    return f"described with {members} members"
            except KafkaException as error:
                state = str(error)
            if time.monotonic() > deadline:
                raise Failed(f"described as {state}")
            time.sleep(0.1)

    def judge(self, group, ends):
        """After everybody left: the committed offsets are the ends, and never went back."""
        self.ask(group)
        if self.backwards[group.id]:
            raise Failed("; ".join(self.backwards[group.id][:5]))
        if self.committed[group.id] != ends:
            raise Failed(f"committed {self.committed[group.id]}, the ends are {ends}")
        return f"asked {self.answers[group.id]} times"

    def delete(self, group):
        admin = self.admin()
        listed = lambda: group.id in [one.group_id for one in admin.list_consumer_groups(request_timeout=5).result().valid]
        if not listed():
            raise Failed("not listed")
        admin.delete_consumer_groups([group.id], request_timeout=5)[group.id].result()
        if listed():
            raise Failed("still listed")
        return "listed, deleted, listed no more"
