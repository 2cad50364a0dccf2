"""Consumer groups of several clients at once, each over a topic of six partitions into which records are written all the time. Per client:
two members share the partitions, a third joins, one is killed with kill -9, the broker is killed and started again, one member leaves and
another joins, all leave. Checked: every record is seen, each stretch of a partition in order and without a gap, the group is as an admin
client describes it, and committed offsets, asked for all the time, never go back and are at the end in the end.

    scenario.py --broker ringlog|kafka|HOST:PORT [--binary PATH] [--dump COMMAND] CLIENTS

CLIENTS is JSON, `{"NAME": ["COMMAND", ..., "TOPIC", "GROUP", ...], ...}`; a member is that command with BOOTSTRAP in its environment and
the two words replaced. It commits what it has printed, leaves the group on SIGTERM with exit code 0, and prints lines:

    assigned 0,1        it owns these partitions too; what it sees of them from here on is a new stretch
    revoked 0,1         it owns these no more
    seen 0 17 VALUE     a record: partition, offset, value

One line per client and job on standard output, `CLIENT ok|FAIL JOB DETAIL`; exit code 0 when all are ok. COMMAND (JSON too) looks at the
stopped broker's files: it gets their directory, and prints such lines without the client."""
import argparse
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import KafkaException

from feed import PARTITIONS, Feed
from member import Failed, Member
from owner import WORK, BrokerError, broker_of, end_on_sigterm
from watch import Watch

AT_ONCE = 6  # clients: the members of more would wait for processors rather than for each other
PATIENCE_S = 60
MARGIN = 3  # records that may be on their way already


class Group:
    """One client's group: its members so far, and what they have seen."""

    def __init__(self, client, command, run, bootstrap):
        self.client, self.command, self.bootstrap = client, command, bootstrap
        self.topic, self.id = f"{run}.{client}", f"{run}.group.{client}"
        self.members, self.outcome = [], {}
        self.seen, self.tops = {partition: set() for partition in PARTITIONS}, dict.fromkeys(PARTITIONS, -1)

    def join(self, name):
        self.members.append(Member(self, name, WORK / "scenario" / f"{self.client}-{name}.err"))

    def saw(self, partition, offset):
        self.seen[partition].add(offset)
        self.tops[partition] = max(offset, self.tops[partition])

    def running(self):
        return [member for member in self.members if member.wanted]

    def wait(self, what, holds):
        """Until it holds, as long as every member that should run does."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            for member in self.running():
                member.check_alive()
            if time.monotonic() > deadline:
                state = "; ".join(f"{one.name} owns {sorted(one.owned)}, saw up to {dict(sorted(one.tops.items()))}, {one.complaint()}"
                                  for one in self.running())
                raise Failed(f"{what}: not within {PATIENCE_S} s; {state}")
            time.sleep(0.02)

    def wait_shared(self, feed):
        """Until records written from now on have come out of every partition, and every member saw some of them."""
        begun, acknowledged = time.monotonic(), feed.heads(self.topic)
        heads = {partition: max(acknowledged[partition], self.tops[partition] + 1) + MARGIN for partition in PARTITIONS}
        self.wait("every member gets records and every partition goes on", lambda:
                  all(self.tops[partition] >= heads[partition] for partition in PARTITIONS)
                  and all(any(top >= heads[partition] for partition, top in list(member.tops.items())) for member in self.running()))
        return f"{len(self.running())} members, {time.monotonic() - begun:.1f} s"

    def judge(self, job, body):
        """A job that fails is the client's last: the others would only wait in vain."""
        if False in self.outcome.values():
            return
        try:
            detail, self.outcome[job] = body(), True
        except (Failed, BrokerError, KafkaException) as error:
            detail, self.outcome[job] = str(error).replace("\n", " "), False
        sys.stdout.write(f"{self.client} {'ok' if self.outcome[job] else 'FAIL'} {job} {detail}\n")  # in one piece: others write too
        sys.stdout.flush()


# ---- the jobs, in their order


def share(group, feed, watch):
    group.join("a")
    group.join("b")
    return group.wait_shared(feed)


def late_member(group, feed, watch):
    group.join("c")
    return f"{group.wait_shared(feed)}, {watch.described(group, 3)}"


def kill_9(group, feed, watch):
    group.members[0].kill()
    return group.wait_shared(feed)


def broker_restart(group, feed, watch):
    """The broker was killed and started before."""
    return group.wait_shared(feed)


def leave(group, feed, watch):
    group.join("d")
    seconds = group.members[1].leave()
    return f"{group.wait_shared(feed)}, left in {seconds:.1f} s"


def every_record(group, feed, watch):
    """Nothing is written any more."""
    ends = feed.heads(group.topic)
    missing = lambda: {p: sorted(set(range(ends[p])) - group.seen[p])[:5] for p in PARTITIONS if len(group.seen[p]) < ends[p]}
    try:
        group.wait("every record is seen", lambda: not missing())
    except Failed as failed:
        raise Failed(f"missing {missing()}: {failed}") from None
    for member in group.running():
        member.leave()
    total = sum(ends.values())
    return f"{total} records, and {sum(member.count for member in group.members) - total} again"


def order(group, feed, watch):
    wrong = [f"{member.name}: {one}" for member in group.members for one in member.wrong]
    if wrong:
        raise Failed(f"{len(wrong)} times: " + "; ".join(wrong[:5]))
    return f"{sum(member.stretches for member in group.members)} stretches"


def commits(group, feed, watch):
    return watch.judge(group, feed.heads(group.topic))


def delete_group(group, feed, watch):
    return watch.delete(group)


JOBS = {"share": share, "late-member": late_member, "kill-9": kill_9, "broker-restart": broker_restart, "leave": leave,
        "every-record": every_record, "order": order, "commits": commits, "delete-group": delete_group}


def batch(broker, clients, number):
    """All jobs of some clients, in step: they share the broker and its restart. True when all are ok."""
    run = f"g{int(time.time())}.{number}"
    groups = [Group(client, command, run, broker.address) for client, command in clients.items()]
    feed = Feed(broker.address, [group.topic for group in groups])
    watch = Watch(broker.address, groups)
    try:
        with ThreadPoolExecutor(len(groups)) as pool:
            for job, body in JOBS.items():
                if body is broker_restart:
                    if not broker.restartable:
                        continue
                    if not broker.running():
                        raise BrokerError("the broker ended by itself")
                    broker.kill()
                    broker.start()
                if body is every_record:
                    feed.stop()
                if body is order:
                    watch.stop()
                list(pool.map(lambda group: group.judge(job, lambda: body(group, feed, watch)), groups))
    finally:
        watch.stop()
        for group in groups:
            for member in group.members:
                member.end()
    return all(all(group.outcome.values()) for group in groups)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", required=True, help="ringlog, kafka, or the address of one that already runs")
    parser.add_argument("--binary", help="the ringlog binary")
    parser.add_argument("--dump", type=json.loads, default=[], help="a command that looks at the stopped broker's files")
    parser.add_argument("clients", type=json.loads)
    options = parser.parse_args()
    end_on_sigterm()
    dumped = []

    def dump(data):
        done = subprocess.run([*options.dump, str(data), "offsets"], stdout=subprocess.PIPE, text=True)
        sys.stdout.writelines(f"DumpLogs {line}\n" for line in done.stdout.splitlines())
        dumped.append(done.returncode == 0)

    names = list(options.clients)
    batches = -(-len(names) // AT_ONCE)
    with broker_of("scenario", options, dump if options.dump and options.broker == "ringlog" else lambda data: None) as broker:
        good = [batch(broker, {name: options.clients[name] for name in names[number::batches]}, number) for number in range(batches)]
    return 0 if all(good + dumped) else 1


if __name__ == "__main__":
    sys.exit(main())
