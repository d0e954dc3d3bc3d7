// Makes the clients that a test uses, waits for what they get, and compares it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import ons from 'ali-ons';

const { Consumer, Message, Producer } = ons;

/** Where the server under test is; ../with-server says it. */
export const nameSrv = process.env.NAMESRV_ADDR;
const PATIENCE_MS = 60_000;
const FROM_FIRST = 'CONSUME_FROM_FIRST_OFFSET';

let counter = 0;

/** A name for a topic, group or client that nobody else uses. */
export const unique = name => `${name}-${process.pid}-${Date.now()}-${++counter}`;

export const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

/** Polls until the condition holds; fails with what `state` says when it does not in time. */
export async function eventually(condition, state) {
  const deadline = Date.now() + PATIENCE_MS;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, `not within ${PATIENCE_MS / 1000} s: ${state()}`);
    await sleep(20);
  }
}

/** Options of every client: a name of its own gives each its own connections; short intervals keep the tests short. */
const options = more => ({
  nameSrv,
  httpclient: {}, // would look up the name server's address
  instanceName: unique('client'),
  pollNameServerInteval: 1000,
  heartbeatBrokerInterval: 1000,
  rebalanceInterval: 1000,
  persistConsumerOffsetInterval: 500,
  logger: { debug() {}, info() {}, warn() {}, error() {} },
  ...more,
});

/** A producer that never retries by itself: a failed send is seen and nothing is stored twice. */
export async function producer(more) {
  const client = new Producer(options({ producerGroup: unique('producer'), retryTimesWhenSendFailed: 0, ...more }));
  client.on('error', () => {});
  await client.ready();
  return client;
}

/**
 * Makes a topic with four queues; returns its name when the route to it is known. The client has no public way to do
 * that, and cannot send to a topic that is not there yet.
 */
export async function newTopic(name) {
  const topicName = unique(name);
  const client = await producer();
  const api = client._mqClient;
  await api.createTopic(process.env.BROKER_ADDR, 'TBW102', {
    topicName, readQueueNums: 4, writeQueueNums: 4, perm: 6, topicFilterType: 'SINGLE_TAG', topicSysFlag: 0, order: false,
  }, 3000);
  const known = () => api.getTopicRouteInfoFromNameServer(topicName, 3000).then(() => true, () => false);
  await eventually(known, () => `route of ${topicName}`);
  await client.close();
  return topicName;
}

/** Sends, and returns what the server said. */
export async function send(client, message) {
  const sent = await client.send(message);
  assert.equal(sent.sendStatus, 'SEND_OK');
  return sent;
}

export async function sendAll(topic, bodies) {
  const client = await producer();
  for (const body of bodies) {
    await send(client, new Message(topic, body));
  }
}

/** "PREFIX0", "PREFIX1", … */
export const numbered = (prefix, count) => Array.from({ length: count }, (_, i) => `${prefix}${i}`);

export const number = long => Number(long.toString());

/** A push consumer and what it was given; `handle` may throw to have a message again. */
export async function consume(group, topic, { tags = '*', handle = () => {}, ...more } = {}) {
  const client = new Consumer(options({ consumerGroup: group, consumeFromWhere: FROM_FIRST, ...more }));
  const got = [];
  const errors = [];
  client.on('error', error => errors.push(error.message));
  client.subscribe(topic, tags, async message => {
    await handle(message);
    got.push(message);
  });
  await client.ready();
  const bodies = () => got.map(message => message.body.toString()).sort();
  return {
    got,
    errors,
    close: () => client.close(),
    count: count => eventually(() => got.length >= count, () => `${count} messages, got ${bodies()}; ${errors}`),
    async expect(wanted) {
      await this.count(wanted.length);
      assert.deepEqual(bodies(), [...wanted].sort());
    },
  };
}

/** All messages of a topic, which must be `count`, by a group of its own; ordered by queue and offset. */
export async function readBack(topic, count) {
  const reader = await consume(unique('reader'), topic);
  await reader.count(count);
  await reader.close();
  assert.equal(reader.got.length, count);
  return reader.got.sort((a, b) => a.queueId - b.queueId || number(a.queueOffset) - number(b.queueOffset));
}

/** A consumer in a process of its own, see consumer-process.mjs. */
export class ConsumerProcess {
  /** Body to queue of every message that it got. */
  got = new Map();

  constructor(group, topic) {
    const script = fileURLToPath(new URL('consumer-process.mjs', import.meta.url));
    this.child = spawn(process.execPath, [script, group, topic], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.ended = new Promise(resolve => this.child.once('close', resolve));
    createInterface({ input: this.child.stdout }).on('line', line => {
      const [body, queue] = line.split(' ');
      this.got.set(body, Number(queue));
    });
  }

  /** Sends the signal and waits until it has ended and all that it had printed is collected. */
  async end(signal) {
    this.child.kill(signal);
    await this.ended;
  }
}
