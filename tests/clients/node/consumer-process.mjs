// An application that consumes a topic and prints the body and the queue of each message: node consumer-process.mjs GROUP TOPIC.
// It ends when its input does: with the tests, whatever becomes of them.

import { consume } from './clients.mjs';

const [group, topic] = process.argv.slice(2);
await consume(group, topic, { handle: message => console.log(`${message.body} ${message.queueId}`) });
process.stdin.on('end', () => process.exit()).resume();
