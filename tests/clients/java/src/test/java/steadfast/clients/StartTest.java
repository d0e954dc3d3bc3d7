package steadfast.clients;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static steadfast.clients.Clients.utf8;

import java.time.Instant;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/** Where a consumer begins that was never there before, and broadcast consumption, which keeps positions itself. */
class StartTest {
    private static final DateTimeFormatter SECONDS =
            DateTimeFormatter.ofPattern("yyyyMMddHHmmss").withZone(ZoneId.systemDefault());

    @RegisterExtension
    static final Server server = new Server();

    @RegisterExtension
    final Clients clients = new Clients();

    @Test
    void everyBroadcastConsumerGetsEveryMessage() throws Exception {
        String topic = clients.topic("broadcast", 4);
        String group = Clients.unique("broadcast");
        List<String> one = consume(broadcast(group), topic);
        List<String> two = consume(broadcast(group), topic);
        send(topic, "m", 20);
        for (List<String> got : List.of(one, two)) {
            Wait.until(() -> "20 messages, got " + got, () -> got.size() >= 20);
            assertEquals(20, Set.copyOf(got).size());
            assertEquals(20, got.size());
        }
    }

    /** A queue that still has its first message is read from there: nothing can have been left out on purpose. */
    @Test
    void newGroupReadsAYoungTopicFromTheFirstWhateverItAsksFor() throws Exception {
        String topic = clients.topic("young", 2);
        send(topic, "m", 10);
        for (ConsumeFromWhere where : List.of(
                ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET,
                ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET,
                ConsumeFromWhere.CONSUME_FROM_TIMESTAMP)) {
            DefaultMQPushConsumer consumer = clients.pushConsumer(Clients.unique("young"));
            consumer.setConsumeFromWhere(where);
            List<String> got = consume(consumer, topic);
            Wait.until(() -> where + ": 10 messages, got " + got, () -> got.size() >= 10);
        }
    }

    @Test
    void broadcastFromTheLastSkipsWhatWasThere() throws Exception {
        String topic = clients.topic("from-last", 1);
        send(topic, "old", 10);
        DefaultMQPushConsumer consumer = broadcast(Clients.unique("from-last"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET);
        List<String> got = consume(consumer, topic);
        // When it has found its start is not told: send until it gets something.
        DefaultMQProducer producer = clients.producer();
        Wait.until("a new message", () -> {
            producer.send(new Message(topic, utf8("new")));
            return !got.isEmpty();
        });
        assertEquals(Set.of("new"), new TreeSet<>(got));
    }

    @Test
    void broadcastFromATimeSkipsWhatIsOlder() throws Exception {
        String topic = clients.topic("from-time", 1);
        send(topic, "old", 5);
        // The time has a resolution of a second.
        long start = System.currentTimeMillis() / 1000 + 2;
        Wait.until("the next second", () -> System.currentTimeMillis() >= start * 1000);
        send(topic, "new", 5);
        DefaultMQPushConsumer consumer = broadcast(Clients.unique("from-time"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_TIMESTAMP);
        consumer.setConsumeTimestamp(SECONDS.format(Instant.ofEpochSecond(start)));
        List<String> got = consume(consumer, topic);
        Wait.until(() -> "5 messages, got " + got, () -> got.size() >= 5);
        assertTrue(got.stream().allMatch(body -> body.startsWith("new")), got::toString);
    }

    private DefaultMQPushConsumer broadcast(String group) {
        DefaultMQPushConsumer consumer = clients.pushConsumer(group);
        // The enum of BROADCASTING has another package in version 4 of the client than in 5.
        consumer.setMessageModel(Enum.valueOf(consumer.getMessageModel().getDeclaringClass(), "BROADCASTING"));
        return consumer;
    }

    private static List<String> consume(DefaultMQPushConsumer consumer, String topic) throws Exception {
        List<String> got = new CopyOnWriteArrayList<>();
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            got.addAll(messages.stream().map(Clients::text).collect(Collectors.toList()));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return got;
    }

    private void send(String topic, String prefix, int count) throws Exception {
        DefaultMQProducer producer = clients.producer();
        for (Message message : Clients.messages(topic, prefix, count)) {
            producer.send(message);
        }
    }
}
