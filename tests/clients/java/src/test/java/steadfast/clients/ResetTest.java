package steadfast.clients;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.parallel.ExecutionMode.CONCURRENT;
import static steadfast.clients.Clients.utf8;

import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.parallel.Execution;

/** Positions that an operator sets, as mqadmin resetOffsetByTime does. */
class ResetTest {
    @RegisterExtension
    static final Server server = new Server();

    @RegisterExtension
    final Clients clients = new Clients();

    @Test
    @Execution(CONCURRENT)
    void runningConsumerGetsTheMessagesSinceThenAgain() throws Exception {
        String topic = clients.topic("again", 1);
        String group = Clients.unique("again");
        send(topic, 0, 5);
        long since = clients.readAll(topic).get(4).getStoreTimestamp() + 1;
        Wait.until("a later time", () -> System.currentTimeMillis() > since);
        send(topic, 5, 10);
        List<String> got = new CopyOnWriteArrayList<>();
        consume(topic, group, got);
        Wait.until(got::toString, () -> got.size() == 10);
        awaitPosition(group, topic, 10);

        clients.admin().resetOffsetByTimestamp(topic, group, since, true);
        // The client stops reading the queue for 10 s when it is told that its place has moved.
        Wait.until(got::toString, () -> got.size() == 15);
        assertEquals(bodies(5, 10), got.subList(10, 15));
        send(topic, 10, 12);
        Wait.until(got::toString, () -> got.size() == 17);
        assertEquals(bodies(10, 12), got.subList(15, 17));
    }

    @Test
    @Execution(CONCURRENT)
    void stoppedConsumerSkipsWhatIsBeforeTheNewPosition() throws Exception {
        String topic = clients.topic("skip", 1);
        String group = Clients.unique("skip");
        send(topic, 0, 3);
        List<String> before = new CopyOnWriteArrayList<>();
        DefaultMQPushConsumer consumer = consume(topic, group, before);
        Wait.until(before::toString, () -> before.size() == 3);
        awaitPosition(group, topic, 3);
        consumer.shutdown();
        send(topic, 3, 8);

        // A negative time is the end.
        clients.admin().resetOffsetByTimestamp(topic, group, -1, true);
        awaitPosition(group, topic, 8);
        send(topic, 8, 10);
        List<String> after = new CopyOnWriteArrayList<>();
        consume(topic, group, after);
        Wait.until(after::toString, () -> after.size() == 2);
        assertEquals(bodies(8, 10), after);
    }

    private void awaitPosition(String group, String topic, long position) throws Exception {
        var queue = clients.queue(topic, 0);
        Wait.until("position " + position, () -> clients.committed(group, queue) == position);
    }

    private void send(String topic, int from, int to) throws Exception {
        DefaultMQProducer producer = clients.producer();
        for (String body : bodies(from, to)) {
            producer.send(new Message(topic, utf8(body)));
        }
    }

    private static List<String> bodies(int from, int to) {
        return IntStream.range(from, to).mapToObj(i -> "m" + i).collect(Collectors.toList());
    }

    private DefaultMQPushConsumer consume(String topic, String group, List<String> got) throws Exception {
        DefaultMQPushConsumer consumer = clients.pushConsumer(group);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> got.add(Clients.text(message)));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return consumer;
    }
}
