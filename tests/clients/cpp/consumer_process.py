"""An application that consumes a topic and prints the body of each message: consumer_process.py GROUP TOPIC.

It ends when its input does: with the tests, whatever becomes of them.
"""

import os
import sys

from rocketmq.client import PushConsumer



def tell(message):
    """One write for the whole line: the client calls this from several threads at a time."""
    os.write(sys.stdout.fileno(), message.body + b"\n")


group, topic = sys.argv[1:]
consumer = PushConsumer(group)
consumer.set_namesrv_addr(os.environ["NAMESRV_ADDR"])
consumer.subscribe(topic, tell)
consumer.start()
sys.stdin.read()
os._exit(0)
