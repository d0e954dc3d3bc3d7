package steadfast.clients;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static steadfast.clients.Clients.utf8;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullCallback;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/** Consumers that ask for messages themselves: the plain pull API and the lite pull consumer. */
class PullTest {
    @RegisterExtension
    static final Server server = new Server();

    @RegisterExtension
    final Clients clients = new Clients();

    @Test
    void pullReadsInOrderAndReportsTheBounds() throws Exception {
        String topic = clients.topic("bounds", 1);
        MessageQueue queue = clients.queue(topic, 0);
        send(topic, "m", 50);
        DefaultMQPullConsumer puller = clients.puller();
        assertEquals(0, puller.minOffset(queue));
        assertEquals(50, puller.maxOffset(queue));

        PullResult middle = puller.pull(queue, "*", 10, 20);
        assertEquals(PullStatus.FOUND, middle.getPullStatus());
        assertEquals(bodies("m", 10, 30), bodies(middle.getMsgFoundList()));
        assertEquals(30, middle.getNextBeginOffset());
        assertEquals(0, middle.getMinOffset());
        assertEquals(50, middle.getMaxOffset());

        PullResult atEnd = puller.pull(queue, "*", 50, 20);
        assertEquals(PullStatus.NO_NEW_MSG, atEnd.getPullStatus());
        assertEquals(50, atEnd.getNextBeginOffset());

        // An offset that never was: the client is sent to the end, and told that it was wrong.
        PullResult beyond = puller.pull(queue, "*", 70, 20);
        assertEquals(PullStatus.OFFSET_ILLEGAL, beyond.getPullStatus());
        assertEquals(50, beyond.getNextBeginOffset());
    }

    @Test
    void pullAtTheEndWaitsForTheNextMessage() throws Exception {
        String topic = clients.topic("long-poll", 1);
        MessageQueue queue = clients.queue(topic, 0);
        DefaultMQPullConsumer puller = clients.puller();
        DefaultMQProducer producer = clients.producer();
        producer.send(new Message(topic, utf8("old")));
        CompletableFuture<PullResult> pulled = new CompletableFuture<>();
        puller.pullBlockIfNotFound(queue, "*", 1, 32, completing(pulled));
        assertThrows(TimeoutException.class, () -> pulled.get(500, TimeUnit.MILLISECONDS), "held while there is nothing");

        producer.send(new Message(topic, utf8("new")));
        // Far less than the 20 s for which it may be held.
        PullResult result = pulled.get(2, TimeUnit.SECONDS);
        assertEquals(PullStatus.FOUND, result.getPullStatus());
        assertEquals(List.of("new"), bodies(result.getMsgFoundList()));
        assertEquals(2, result.getNextBeginOffset());
    }

    @Test
    void offsetsAreFoundByTime() throws Exception {
        String topic = clients.topic("by-time", 1);
        MessageQueue queue = clients.queue(topic, 0);
        DefaultMQProducer producer = clients.producer();
        for (int i = 0; i < 5; i++) {
            producer.send(new Message(topic, utf8("m" + i)));
            // The clock must move on, for each message to have a time of its own.
            long sent = System.currentTimeMillis();
            Wait.until("clock past " + sent, () -> System.currentTimeMillis() > sent + 2);
        }
        List<MessageExt> stored = clients.readAll(topic);
        DefaultMQPullConsumer puller = clients.puller();
        assertEquals(stored.get(0).getStoreTimestamp(), puller.earliestMsgStoreTime(queue));
        assertEquals(0, puller.searchOffset(queue, 0));
        for (int i = 0; i < 5; i++) {
            long time = stored.get(i).getStoreTimestamp();
            assertEquals(i, puller.searchOffset(queue, time), "stored at exactly that time");
            assertEquals(i, puller.searchOffset(queue, time - 1), "first stored since then");
        }
        assertEquals(5, puller.searchOffset(queue, System.currentTimeMillis() + 60_000), "the future begins at the end");
    }

    @Test
    void litePullReadsAssignedQueuesFromWhereItSeeks() throws Exception {
        String topic = clients.topic("assigned", 2);
        MessageQueue queue = clients.queue(topic, 1);
        DefaultMQProducer producer = clients.producer();
        for (Message message : Clients.messages(topic, "m", 40)) {
            producer.send(message, queue);
        }
        DefaultLitePullConsumer consumer = clients.litePuller(Clients.unique("lite-assigned"));
        consumer.start();
        assertEquals(2, consumer.fetchMessageQueues(topic).size());
        consumer.assign(List.of(queue));
        consumer.seek(queue, 25);
        assertEquals(bodies("m", 25, 40), pollFrom(consumer, "m25", 15));
        consumer.seekToBegin(queue);
        assertEquals(bodies("m", 0, 40), pollFrom(consumer, "m0", 40));
        long third = clients.readAll(topic).get(3).getStoreTimestamp();
        assertTrue(consumer.offsetForTimestamp(queue, third) <= 3);
    }

    @Test
    void litePullSubscriptionContinuesAtTheCommittedPosition() throws Exception {
        String topic = clients.topic("subscribed", 4);
        String group = Clients.unique("lite-subscribed");
        send(topic, "first", 20);
        DefaultLitePullConsumer consumer = subscribed(topic, group);
        assertEquals(sorted(bodies("first", 0, 20)), sorted(poll(consumer, 20)));
        consumer.commit(consumer.assignment(), true);
        for (MessageQueue queue : consumer.fetchMessageQueues(topic)) {
            Wait.until("position committed in " + queue, () -> clients.committed(group, queue) == 5);
        }
        consumer.shutdown();

        send(topic, "second", 8);
        assertEquals(sorted(bodies("second", 0, 8)), sorted(poll(subscribed(topic, group), 8)));
    }

    private DefaultLitePullConsumer subscribed(String topic, String group) throws Exception {
        DefaultLitePullConsumer consumer = clients.litePuller(group);
        consumer.subscribe(topic, "*");
        consumer.start();
        return consumer;
    }

    /** Sends to the queues in turn. */
    private void send(String topic, String prefix, int count) throws Exception {
        DefaultMQProducer producer = clients.producer();
        int turn = 0;
        for (Message message : Clients.messages(topic, prefix, count)) {
            producer.send(message, (queues, m, n) -> queues.get((int) n % queues.size()), turn++);
        }
    }

    /** After a seek: client 4.9 may still hand out what a pull brought that was under way, before the first one sought. */
    private static List<String> pollFrom(DefaultLitePullConsumer consumer, String first, int count) throws Exception {
        List<String> bodies = new ArrayList<>();
        Wait.until(() -> count + " messages from " + first + " on, got " + bodies, () -> {
            consumer.poll(100).forEach(message -> bodies.add(Clients.text(message)));
            int from = bodies.indexOf(first);
            return from >= 0 && bodies.size() - from >= count;
        });
        return bodies.subList(bodies.indexOf(first), bodies.size());
    }

    /** The bodies of the next {@code count} messages in the order of arrival. */
    private static List<String> poll(DefaultLitePullConsumer consumer, int count) throws Exception {
        List<String> bodies = new ArrayList<>();
        Wait.until(() -> count + " messages, got " + bodies, () -> {
            consumer.poll(100).forEach(message -> bodies.add(Clients.text(message)));
            return bodies.size() >= count;
        });
        return bodies;
    }

    private static List<String> bodies(String prefix, int from, int to) {
        return IntStream.range(from, to).mapToObj(i -> prefix + i).collect(Collectors.toList());
    }

    private static List<String> bodies(List<MessageExt> messages) {
        return messages.stream().map(Clients::text).collect(Collectors.toList());
    }

    private static List<String> sorted(List<String> bodies) {
        List<String> sorted = new ArrayList<>(bodies);
        Collections.sort(sorted);
        return sorted;
    }

    private static PullCallback completing(CompletableFuture<PullResult> result) {
        return new PullCallback() {
            @Override
            public void onSuccess(PullResult pulled) {
                result.complete(pulled);
            }

            @Override
            public void onException(Throwable failure) {
                result.completeExceptionally(failure);
            }
        };
    }
}
