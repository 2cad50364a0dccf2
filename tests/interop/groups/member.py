"""Processes that talk to the broker, and what they printed."""
import collections
import logging
import os
import signal
import subprocess
import threading
import time

EXIT_LIMIT_S = 20
SILENT = {"kafka-go"}  # its reader does not say when it was given partitions
SILENCE = logging.getLogger("silence")
SILENCE.disabled = True
# many small Java processes on few processors
SMALL = {"KAFKA_HEAP": "-Xms32m -Xmx192m", "KAFKA_JVM": "-XX:TieredStopAtLevel=1"}


class Failed(Exception):
    """What did not happen, or should not have, in a sentence."""


def value(partition, offset):
    """What the record at this place holds."""
    return f"{partition}-{offset}"


def to(bootstrap, more={}):
    """librdkafka's settings for a broker that comes and goes, about which it need not complain."""
    return {"bootstrap.servers": bootstrap, "reconnect.backoff.max.ms": 200, "logger": SILENCE, **more}


class Process:
    """A process with BOOTSTRAP in its environment. `lines` holds what it printed, by first word."""

    def __init__(self, name, command, bootstrap, errors):
        self.name, self.errors, self.wanted = name, errors, True
        self.lines = collections.defaultdict(list)
        with open(errors, "wb") as stderr:
            self.process = subprocess.Popen(command, env={**os.environ, "BOOTSTRAP": bootstrap, **SMALL}, stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            if line.endswith("\n"):  # else it was killed in the middle of it
                self.said(line.rstrip("\n"))

    def said(self, line):
        self.lines[line.partition(" ")[0]].append(line)

    def last(self, word):
        """The last line that began so, in a list of one or none."""
        return self.lines[word][-1:]

    def check_alive(self):
        if self.wanted and self.process.poll() is not None:
            raise Failed(f"{self.name} ended by itself with {self.process.returncode}: {self.complaint()}")

    def kill(self):
        """kill -9."""
        self.wanted = False
        self.process.kill()
        self.process.wait()
        self.reader.join()

    def leave(self):
        """SIGTERM; how many seconds it took."""
        self.wanted, begun = False, time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(EXIT_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed(f"{self.name} did not end within {EXIT_LIMIT_S} s of SIGTERM: {self.complaint()}") from None
        self.reader.join()
        if code not in (0, 128 + signal.SIGTERM):  # the latter is how Java ends after its shutdown hooks
            raise Failed(f"{self.name} ended with {code} after SIGTERM: {self.complaint()}")
        return time.monotonic() - begun

    def end(self):
        if self.process.poll() is None:
            self.kill()

    def complaint(self):
        return self.errors.read_text(errors="replace").strip()[-300:]


class Member(Process):
    """A member of a group."""

    def __init__(self, group, name, errors):
        self.group, self.silent = group, group.client in SILENT
        self.owned = {}  # partition: the offset it saw last since it was given it, None before the first
        self.tops = {}  # partition: the highest offset it saw
        self.wrong, self.count, self.stretches = [], 0, 0
        words = [{"TOPIC": group.topic, "GROUP": group.id}.get(word, word) for word in group.command]
        super().__init__(name, words, group.bootstrap, errors)

    def said(self, line):
        word, _, rest = line.partition(" ")
        if word == "seen":
            partition, offset, text = rest.split(" ", 2)
            self.saw(int(partition), int(offset), text)
        elif word in ("assigned", "revoked"):
            for partition in map(int, filter(None, rest.split(","))):
                if word == "assigned":
                    self.owned[partition] = None
                    self.stretches += 1
                else:
                    self.owned.pop(partition, None)

    def saw(self, partition, offset, text):
        if text != value(partition, offset):
            self.wrong.append(f"partition {partition} offset {offset} holds {text!r}")
        before = self.owned.get(partition)
        if self.silent:
            self.stretches += before is None or offset != before + 1
        elif partition not in self.owned:
            self.wrong.append(f"saw offset {offset} of partition {partition}, which it does not own")
        elif before is not None and offset != before + 1:
            self.wrong.append(f"partition {partition}: offset {offset} after {before}")
        self.owned[partition] = offset
        self.tops[partition] = max(offset, self.tops.get(partition, -1))
        self.count += 1
        self.group.saw(partition, offset)
