"""Tests of the server with the C++ client of Apache RocketMQ, as the Python package `rocketmq` bundles it."""

import threading
import unittest

from rocketmq.client import PullConsumer, SendStatus
from rocketmq.exceptions import RocketMQException
from rocketmq.ffi import MessageModel

from clients import (
    NAMESRV, Consumer, ConsumerProcess, eventually, message, numbered, producer, read_back, send_all, unique)


class SendTest(unittest.TestCase):
    """Batches are left out: what this client sends as one is a single message to Apache RocketMQ as well."""

    def test_sync_send_tells_where_the_message_is(self):
        topic, client = unique("sync"), producer()
        for i in range(3):
            made = message(topic, f"Grüße {i}", tag="TagA", keys=f"order {i}")
            made.set_property("city", "東京")
            sent = client.send_orderly(made, 1)
            self.assertEqual((sent.status, sent.offset), (SendStatus.OK, i))
        for i, got in enumerate(read_back(topic, 3)):
            self.assertEqual(
                (got.body, got.tags, got.keys, got.city, got.queue, got.offset),
                (f"Grüße {i}", "TagA", f"order {i}", "東京", 1, i))

    def test_async_sends_all_call_back(self):
        topic, client = unique("async"), producer()
        client.send_sync(message(topic, "first"))
        answered, results = threading.Semaphore(0), []

        def answer(result):
            results.append(result)
            answered.release()
        sent = [message(topic, body) for body in numbered("m", 100)]
        for made in sent:
            client.send_async(made, answer, answer)
        for _ in sent:
            self.assertTrue(answered.acquire(timeout=10))
        self.assertEqual({getattr(result, "status", result) for result in results}, {SendStatus.OK})
        self.assertEqual(sorted(got.body for got in read_back(topic, 101)), sorted(["first", *numbered("m", 100)]))

    def test_oneway_sends_arrive(self):
        topic, client = unique("oneway"), producer()
        client.send_sync(message(topic, "first"))
        for body in numbered("m", 20):
            client.send_oneway(message(topic, body))
        self.assertEqual(sorted(got.body for got in read_back(topic, 21)), sorted(["first", *numbered("m", 20)]))

    def test_selector_chooses_the_queue(self):
        topic, client = unique("orderly"), producer()
        for step in range(3):
            for order in range(8):
                client.send_orderly(message(topic, f"{order}/{step}"), order)
        got = read_back(topic, 24)
        for order in range(8):
            mine = [one for one in got if one.body.startswith(f"{order}/")]
            self.assertEqual([one.body for one in mine], [f"{order}/{step}" for step in range(3)])
            self.assertEqual({one.queue for one in mine}, {order % 4})

    def test_compressed_body_is_stored_compressed_and_read_intact(self):
        topic, body = unique("compressed"), "twelve bytes" * 10_000
        producer().send_sync(message(topic, body))
        [got] = read_back(topic, 1)
        self.assertEqual(got.body, body)
        self.assertLess(got.size, len(body) / 10)

    def test_too_large_message_is_refused_and_not_stored(self):
        topic, client = unique("large"), producer(max_message_size=8 << 20)
        client.send_sync(message(topic, "before"))
        # Nothing that zlib makes smaller.
        state, letters = 1, []
        for _ in range(5 << 20):
            state = state * 48271 % 0x7FFFFFFF
            letters.append(33 + state % 94)
        with self.assertRaises(RocketMQException):
            client.send_sync(message(topic, bytes(letters) + b"."))
        client.send_sync(message(topic, "after"))
        self.assertEqual(sorted(got.body for got in read_back(topic, 2)), ["after", "before"])

    def test_delay_level_holds_a_message_back(self):
        topic, client = unique("delay"), producer()
        for level, body in enumerate(["none", "second", "five"]):
            client.send_sync(message(topic, body, level=level))
        for got in read_back(topic, 3):
            wanted = {"none": 0, "second": 1000, "five": 5000}[got.body]
            held = got.stored - got.born
            self.assertTrue(wanted <= held < wanted + 3000, f"{got.body} was held for {held} ms")


class ConsumeTest(unittest.TestCase):
    def test_tags_select_messages(self):
        topic, client = unique("tags"), producer()
        for i, tag in enumerate(["paid", "sent", "paid", "lost", "sent"]):
            client.send_sync(message(topic, f"{tag}{i}", tag=tag))
        for tags, wanted in [
            ("paid", ["paid0", "paid2"]),
            ("paid || lost", ["paid0", "paid2", "lost3"]),
            ("*", ["paid0", "sent1", "paid2", "lost3", "sent4"]),
        ]:
            consumer = Consumer(unique("tags"), topic, tags)
            consumer.expect(wanted)
            consumer.close()

    def test_group_continues_where_it_stopped(self):
        topic, group = unique("continue"), unique("continue")
        for prefix in ["first", "second"]:
            send_all(topic, numbered(prefix, 10))
            consumer = Consumer(group, topic)
            consumer.expect(numbered(prefix, 10))
            consumer.close()

    def test_every_broadcast_consumer_gets_every_message(self):
        topic, group = unique("broadcast"), unique("broadcast")
        send_all(topic, ["before"])
        consumers = [Consumer(group, topic, model=MessageModel.BROADCASTING) for _ in range(2)]
        # Where each begins is not told, but it is the same once both got something.
        client, sent = producer(), []
        def send_another():
            sent.append(f"m{len(sent)}")
            client.send_sync(message(topic, sent[-1]))
            return all(consumer.got for consumer in consumers)
        eventually(send_another, lambda: "a message for both")
        for body in numbered("all", 12):
            client.send_sync(message(topic, body))
        for consumer in consumers:
            eventually(lambda: set(numbered("all", 12)) <= set(consumer.bodies()), consumer.bodies)
            consumer.close()

    def test_pull_reads_each_queue_from_its_first_message(self):
        topic = unique("pull")
        send_all(topic, numbered("m", 20))
        client = PullConsumer(unique("pull"))
        client.set_namesrv_addr(NAMESRV)
        client.start()
        self.assertEqual(sorted(got.body.decode() for got in client.pull(topic)), sorted(numbered("m", 20)))
        client.shutdown()

    def test_message_that_failed_comes_again(self):
        topic = unique("again")
        failed = []

        def handle(got):
            if got.body == "m1" and got.reconsume_times == 0:
                failed.append(got)
                raise ValueError("not today")
        consumer = Consumer(unique("again"), topic, handle=handle)
        send_all(topic, numbered("m", 3))
        consumer.expect(numbered("m", 3))
        consumer.close()
        [again] = [got for got in consumer.got if got.body == "m1"]
        self.assertEqual((len(failed), again.topic, again.reconsume_times), (1, topic, 1))

    def test_processes_of_a_group_share_the_queues(self):
        topic, group, client = unique("share"), unique("share"), producer()
        rounds = 0

        def body(of, queue):
            return f"round{of}-queue{queue}"

        def queues(consumer, of):
            return [queue for queue in range(4) if body(of, queue) in consumer.got]

        def distribute(what, wanted):
            """Sends a message to each queue, again and again, until a round was received as wanted."""
            first = rounds

            def send_a_round():
                nonlocal rounds
                for queue in range(4):
                    client.send_orderly(message(topic, body(rounds, queue)), queue)
                rounds += 1
                return any(wanted(of) for of in range(first, rounds))
            eventually(send_a_round, lambda: what)

        one = ConsumerProcess(group, topic)
        distribute("one has all queues", lambda of: queues(one, of) == [0, 1, 2, 3])
        two = ConsumerProcess(group, topic)
        distribute("each has two queues", lambda of: sorted([queues(one, of), queues(two, of)]) == [[0, 1], [2, 3]])
        two.kill()
        distribute("one has all queues again", lambda of: queues(one, of) == [0, 1, 2, 3])

        # Nothing was lost on the way, neither when queues moved nor with the process that was killed.
        everything = {body(of, queue) for of in range(rounds) for queue in range(4)}
        eventually(lambda: everything <= one.got | two.got, lambda: f"missing {everything - one.got - two.got}")
        one.kill()
