"""Makes the clients that a test uses, waits for what they get, and compares it."""

import itertools
import os
import subprocess
import sys
import threading
import time
from collections import namedtuple
from pathlib import Path

from rocketmq.client import Message, Producer, PushConsumer
from rocketmq.ffi import MessageModel

NAMESRV = os.environ.get("NAMESRV_ADDR") or sys.exit("set NAMESRV_ADDR, or use tests/clients/run-cpp")
PATIENCE = 60

_counter = itertools.count(1)

Received = namedtuple(
    "Received", "body tags keys topic queue offset reconsume_times born stored size city origin")


def unique(name):
    """A name for a topic, group or client that nobody else uses."""
    return f"{name}-{os.getpid()}-{int(time.time() * 1000)}-{next(_counter)}"


def numbered(prefix, count):
    """PREFIX0, PREFIX1, …"""
    return [f"{prefix}{i}" for i in range(count)]


def eventually(condition, state):
    """Polls until the condition holds; fails with what `state` says when it does not in time."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {state()}"
        time.sleep(0.02)


def message(topic, body, tag=None, keys=None, level=None):
    made = Message(topic)
    made.set_body(body)
    if tag:
        made.set_tags(tag)
    if keys:
        made.set_keys(keys)
    if level:
        made.set_delay_time_level(level)
    return made


def producer(**options):
    client = Producer(unique("producer"), **options)
    client.set_namesrv_addr(NAMESRV)
    client.start()
    return client


def send_all(topic, bodies):
    """Sends one message with each of the bodies. The first message to a topic makes it, with four queues."""
    client = producer()
    for body in bodies:
        client.send_sync(message(topic, body))
    client.shutdown()


def copied(got):
    """What a message says. The client takes the message itself back when the listener returns."""
    def text(value):
        return value.decode() if value else None
    return Received(
        got.body.decode(), text(got.tags), text(got.keys), got.topic, got.queue_id, got.queue_offset,
        got.reconsume_times, got.born_timestamp, got.store_timestamp, got.store_size,
        text(got.get_property("city")), text(got.get_property("DLQ_ORIGIN_TOPIC")))


class Consumer:
    """A push consumer and what it was given; `handle` may raise to have a message again."""

    def __init__(self, group, topic, tags="*", handle=None, model=MessageModel.CLUSTERING):
        self.got = []
        self._lock = threading.Lock()
        self._handle = handle
        self._client = PushConsumer(group, message_model=model)
        self._client.set_namesrv_addr(NAMESRV)
        self._client.set_instance_name(unique("client"))
        self._client.subscribe(topic, self._listen, tags)
        self._client.start()

    def _listen(self, got):
        got = copied(got)
        if self._handle:
            self._handle(got)
        with self._lock:
            self.got.append(got)

    def bodies(self):
        with self._lock:
            return sorted(got.body for got in self.got)

    def await_count(self, count):
        eventually(lambda: len(self.got) >= count, lambda: f"{count} messages, got {self.bodies()}")

    def expect(self, wanted):
        self.await_count(len(wanted))
        assert self.bodies() == sorted(wanted), f"got {self.bodies()}, wanted {sorted(wanted)}"

    def close(self):
        self._client.shutdown()


def read_back(topic, count):
    """All messages of a topic, which must be `count`, by a group of its own; ordered by queue and offset."""
    reader = Consumer(unique("reader"), topic)
    reader.await_count(count)
    reader.close()
    assert len(reader.got) == count, reader.bodies()
    return sorted(reader.got, key=lambda got: (got.queue, got.offset))


class ConsumerProcess:
    """A consumer in a process of its own, see consumer_process.py."""

    def __init__(self, group, topic):
        script = Path(__file__).with_name("consumer_process.py")
        self.got = set()
        self._process = subprocess.Popen(
            [sys.executable, script, group, topic], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    def _collect(self):
        for line in self._process.stdout:
            self.got.add(line.rstrip("\n"))

    def kill(self):
        """SIGKILL; waits until it has ended and all that it had printed is collected."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
