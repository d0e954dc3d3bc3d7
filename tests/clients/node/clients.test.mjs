// Tests of the server with ali-ons, the RocketMQ client for Node.js. All run side by side, each with its own topics and
// groups.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import ons from 'ali-ons';

import {
  consume, ConsumerProcess, eventually, nameSrv, newTopic, number, numbered, producer, readBack, send, sendAll, unique,
} from './clients.mjs';

const { Message } = ons;

assert.ok(nameSrv, 'set NAMESRV_ADDR, or use tests/clients/run-node');

describe('ali-ons', { concurrency: true, timeout: 180_000 }, () => {
  it('tells where a sent message is, and reads it back as it was', async () => {
    const topic = await newTopic('send');
    const client = await producer();
    for (let i = 0; i < 3; i++) {
      const message = new Message(topic, 'TagA', `body${i}`);
      message.keys = ['order', `${i}`];
      message.properties.city = 'Zürich; 東京';
      message.shardingKey = 'one queue';
      const sent = await send(client, message);
      assert.equal(number(sent.queueOffset), i);
      assert.match(sent.msgId, /^[0-9A-F]{32}$/);
    }
    for (const [i, message] of (await readBack(topic, 3)).entries()) {
      const { tags, keys, properties, queueOffset } = message;
      assert.deepEqual(
        [message.body.toString(), tags, keys, properties.city, number(queueOffset)],
        [`body${i}`, 'TagA', `order ${i}`, 'Zürich; 東京', i]);
    }
  });

  it('sends many at a time', async () => {
    const topic = await newTopic('many');
    const client = await producer();
    await send(client, new Message(topic, 'first'));
    await Promise.all(numbered('m', 100).map(body => send(client, new Message(topic, body))));
    const bodies = (await readBack(topic, 101)).map(message => message.body.toString());
    assert.deepEqual(bodies.sort(), ['first', ...numbered('m', 100)].sort());
  });

  it('keeps messages with one sharding key in one queue and in their order', async () => {
    const topic = await newTopic('shard');
    const client = await producer();
    // None whose key falls on queue 0: those the client sends to all queues in turn.
    const orders = [1, 2, 3, 5, 6, 7, 8];
    for (let step = 0; step < 3; step++) {
      for (const order of orders) {
        const message = new Message(topic, `${order}/${step}`);
        message.shardingKey = `order-${order}`;
        await send(client, message);
      }
    }
    const all = await readBack(topic, 21);
    for (const order of orders) {
      const messages = all.filter(message => message.body.toString().startsWith(`${order}/`));
      assert.deepEqual(messages.map(message => message.body.toString()), [0, 1, 2].map(step => `${order}/${step}`));
      assert.equal(new Set(messages.map(message => message.queueId)).size, 1);
    }
  });

  it('stores a compressed body and reads it intact', async () => {
    const topic = await newTopic('compressed');
    const body = 'twelve bytes'.repeat(10_000);
    await send(await producer(), new Message(topic, body));
    const [message] = await readBack(topic, 1);
    assert.equal(message.body.toString(), body);
    assert.ok(message.storeSize < body.length / 10, `stored in ${message.storeSize} bytes`);
  });

  it('has a message that is too large refused, and stores nothing', async () => {
    const topic = await newTopic('large');
    const client = await producer({ compressMsgBodyOverHowmuch: Infinity });
    await send(client, new Message(topic, 'small'));
    await assert.rejects(client.send(new Message(topic, Buffer.alloc(4 * 1024 * 1024 + 1))));
    await send(client, new Message(topic, 'after'));
    assert.equal((await readBack(topic, 2)).length, 2);
  });

  it('selects messages by tag', async () => {
    const topic = await newTopic('tags');
    const client = await producer();
    for (const [i, tag] of ['paid', 'sent', 'paid', 'lost', 'sent'].entries()) {
      await send(client, new Message(topic, tag, `${tag}${i}`));
    }
    for (const [tags, wanted] of [
      ['paid', ['paid0', 'paid2']],
      ['paid || lost', ['paid0', 'paid2', 'lost3']],
      ['*', ['paid0', 'sent1', 'paid2', 'lost3', 'sent4']],
    ]) {
      const consumer = await consume(unique('tags'), topic, { tags });
      await consumer.expect(wanted);
    }
  });

  it('continues where the group stopped', async () => {
    const [topic, group] = [await newTopic('continue'), unique('continue')];
    for (const prefix of ['first', 'second']) {
      await sendAll(topic, numbered(prefix, 10));
      const consumer = await consume(group, topic);
      await consumer.expect(numbered(prefix, 10));
      await consumer.close();
    }
  });

  it('gives every broadcast consumer every message', async () => {
    const [topic, group] = [await newTopic('broadcast'), unique('broadcast')];
    await sendAll(topic, ['before']);
    const consumers = await Promise.all([1, 2].map(() => consume(group, topic, { isBroadcast: true })));
    await sendAll(topic, numbered('m', 12));
    for (const consumer of consumers) {
      await consumer.expect(['before', ...numbered('m', 12)]);
    }
  });

  it('lets a new group that asks for the last read a young topic from the first', async () => {
    const topic = await newTopic('young');
    await sendAll(topic, numbered('m', 10));
    const consumer = await consume(unique('young'), topic, { consumeFromWhere: 'CONSUME_FROM_LAST_OFFSET' });
    await consumer.expect(numbered('m', 10));
  });

  it('lets a broadcast consumer that asks for the last skip what was there', async () => {
    const topic = await newTopic('from-last');
    const client = await producer();
    await sendAll(topic, numbered('old', 8));
    const more = { isBroadcast: true, consumeFromWhere: 'CONSUME_FROM_LAST_OFFSET' };
    const consumer = await consume(unique('from-last'), topic, more);
    // When it has found its start is not told: send until it gets something.
    let sent = 0;
    await eventually(async () => {
      await send(client, new Message(topic, `new${sent++}`));
      return consumer.got.length > 0;
    }, () => `a first message; ${consumer.errors}`);
    assert.deepEqual(consumer.got.filter(message => !message.body.toString().startsWith('new')), []);
  });

  it('lets a broadcast consumer that asks for a time skip what is older', async () => {
    const topic = await newTopic('from-time');
    await sendAll(topic, numbered('old', 8));
    // The time has a resolution of a second.
    const start = Math.floor(Date.now() / 1000) * 1000 + 2000;
    await eventually(() => Date.now() >= start, () => 'the next second');
    await sendAll(topic, numbered('new', 8));
    const local = new Date(start - new Date(start).getTimezoneOffset() * 60_000);
    const consumeTimestamp = local.toISOString().replace(/\D/g, '').slice(0, 14);
    const more = { isBroadcast: true, consumeFromWhere: 'CONSUME_FROM_TIMESTAMP', consumeTimestamp };
    const consumer = await consume(unique('from-time'), topic, more);
    await consumer.expect(numbered('new', 8));
  });

  it('gives a message that failed again', async () => {
    const topic = await newTopic('again');
    const failed = [];
    const consumer = await consume(unique('again'), topic, {
      handle(message) {
        if (message.body.toString() === 'm1' && message.reconsumeTimes < 1) {
          failed.push(message);
          throw new Error('not today');
        }
      },
    });
    await sendAll(topic, numbered('m', 3));
    await consumer.expect(numbered('m', 3));
    assert.equal(failed.length, 1);
    const again = consumer.got.find(message => message.body.toString() === 'm1');
    assert.deepEqual([again.topic, again.reconsumeTimes], [topic, 1]);
  });

  it('has a message that fails too often made a dead letter', async () => {
    const [topic, group] = [await newTopic('dead'), unique('dead')];
    let tries = 0;
    await consume(group, topic, {
      maxReconsumeTimes: 1,
      handle() {
        tries++;
        throw new Error('never');
      },
    });
    await sendAll(topic, ['poison']);
    await eventually(() => tries === 2, () => `two tries, seen ${tries}`);
    const [dead] = await readBack(`%DLQ%${group}`, 1);
    assert.equal(dead.body.toString(), 'poison');
    assert.equal(dead.retryTopic, topic);
  });

  it('has a delayed message held back', async () => {
    const topic = await newTopic('delay');
    const client = await producer();
    await send(client, new Message(topic, 'none'));
    for (const [level, body] of [[1, 'second'], [2, 'five']]) {
      const message = new Message(topic, body);
      message.delayTimeLevel = level;
      await send(client, message);
    }
    for (const message of await readBack(topic, 3)) {
      const held = number(message.storeTimestamp) - number(message.bornTimestamp);
      const wanted = { none: 0, second: 1000, five: 5000 }[message.body.toString()];
      assert.ok(held >= wanted && held < wanted + 3000, `${message.body} was held for ${held} ms`);
    }
  });

  it('shares the queues among processes', async () => {
    const [topic, group] = [await newTopic('share'), unique('share')];
    const client = await producer();
    let rounds = 0;
    const bodies = round => numbered(`round${round}-`, 4);
    const queuesOf = (consumer, round) =>
      bodies(round).map(body => consumer.got.get(body)).filter(queue => queue !== undefined).sort().join();
    // Sends a message to each queue, which the client takes in turn, again and again, until a round was received as wanted.
    const distribute = async (what, wanted) => {
      const first = rounds;
      await eventually(async () => {
        for (const body of bodies(rounds)) {
          await send(client, new Message(topic, body));
        }
        rounds++;
        return Array.from({ length: rounds - first }, (_, i) => first + i).some(wanted);
      }, () => what);
    };

    const one = new ConsumerProcess(group, topic);
    await distribute('one has all queues', round => queuesOf(one, round) === '0,1,2,3');
    const two = new ConsumerProcess(group, topic);
    await distribute('each has two queues', round =>
      [queuesOf(one, round), queuesOf(two, round)].sort().join(' ') === '0,1 2,3');
    await two.end('SIGKILL');
    await distribute('one has all queues again', round => queuesOf(one, round) === '0,1,2,3');

    // Nothing was lost on the way, neither when queues moved nor with the process that was killed.
    const all = Array.from({ length: rounds }, (_, round) => bodies(round)).flat();
    const missing = () => all.filter(body => !one.got.has(body) && !two.got.has(body));
    await eventually(() => missing().length === 0, () => `missing ${missing()}`);
    await one.end('SIGTERM');
  });
});
