package steadfast.clients;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.parallel.ExecutionMode.CONCURRENT;
import static steadfast.clients.Clients.utf8;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.ToIntFunction;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.parallel.Execution;

/** Messages that a consumer could not process: RECONSUME_LATER, and what becomes of those that never succeed. */
class RetryTest {
    /** A second, instead of the ten after which a message comes again for the first time. */
    private static final int SOON = 1;

    /** Instead of a delay level: not again, but to the dead letters at once. */
    private static final int NEVER = -1;

    @RegisterExtension
    static final Server server = new Server();

    @RegisterExtension
    final Clients clients = new Clients();

    @Test
    @Execution(CONCURRENT)
    void failedMessageComesAgainAndAlone() throws Exception {
        String topic = clients.topic("again", 1);
        Attempts attempts = consume(topic, Clients.unique("again"), 16,
                message -> Clients.text(message).equals("m1") && message.getReconsumeTimes() < 2 ? SOON : 0);
        SendResult sent = send(topic, "m0", "m1", "m2").get(1);

        attempts.await(5);
        assertEquals(List.of("m0 0", "m1 0", "m1 1", "m1 2", "m2 0"), attempts.sorted());
        MessageExt last = attempts.of("m1").get(2);
        assertEquals(topic, last.getTopic());
        assertEquals(sent.getMsgId(), last.getMsgId());
        assertEquals("key-m1", last.getKeys());
        assertEquals("TagA", last.getTags());
        assertEquals("Lyon", last.getUserProperty("city"));
        long between = last.getStoreTimestamp() - attempts.of("m1").get(1).getStoreTimestamp();
        assertTrue(between >= 1000 && between < 4000, "a second between two attempts, but " + between + " ms");
    }

    @Test
    @Execution(CONCURRENT)
    void messageThatFailsTooOftenBecomesADeadLetter() throws Exception {
        String topic = clients.topic("dead", 1);
        String group = Clients.unique("dead");
        Attempts attempts = consume(topic, group, 1, message -> SOON);
        SendResult sent = send(topic, "poison").get(0);

        Wait.until("a dead letter", () -> Clients.hasRoute(clients.admin(), "%DLQ%" + group) && !dead(group).isEmpty());
        assertEquals(List.of("poison 0", "poison 1"), attempts.sorted());
        MessageExt dead = dead(group).get(0);
        assertEquals("poison", Clients.text(dead));
        assertEquals(topic, dead.getProperty("DLQ_ORIGIN_TOPIC"));
        assertEquals(sent.getOffsetMsgId(), dead.getProperty("DLQ_ORIGIN_MESSAGE_ID"));
        assertEquals("key-poison", dead.getKeys());
        assertEquals(1, dead(group).size());
    }

    @Test
    @Execution(CONCURRENT)
    void listenerMayGiveUpAtOnce() throws Exception {
        String topic = clients.topic("give-up", 1);
        String group = Clients.unique("give-up");
        Attempts attempts = consume(topic, group, 16, message -> Clients.text(message).equals("m0") ? NEVER : 0);
        send(topic, "m0", "m1");

        Wait.until("a dead letter", () -> Clients.hasRoute(clients.admin(), "%DLQ%" + group) && !dead(group).isEmpty());
        assertEquals(List.of("m0"), dead(group).stream().map(Clients::text).collect(Collectors.toList()));
        attempts.await(2);
        assertEquals(List.of("m0 0", "m1 0"), attempts.sorted());
    }

    @Test
    @Tag("newest-tools")
    @Execution(CONCURRENT)
    void deadLettersAreFoundByKey() throws Exception {
        String topic = clients.topic("find", 1);
        String group = Clients.unique("find");
        consume(topic, group, 16, message -> NEVER);
        String id = send(topic, "lost").get(0).getMsgId();
        Wait.until("a dead letter", () -> Clients.hasRoute(clients.admin(), "%DLQ%" + group) && !dead(group).isEmpty());

        String output = MqAdmin.run("queryMsgByKey", "-n", Server.NAMESRV, "-t", "%DLQ%" + group, "-k", "key-lost");
        assertEquals(1, MqAdmin.rows(output, id).size(), output);
    }

    @Test
    @Execution(CONCURRENT)
    void onlyTheRestOfABatchComesAgain() throws Exception {
        String topic = clients.topic("rest", 1);
        SendResult last = send(topic, "m0", "m1", "m2", "m3").get(3);
        Attempts attempts = new Attempts();
        DefaultMQPushConsumer consumer = clients.pushConsumer(Clients.unique("rest"));
        consumer.setConsumeMessageBatchMaxSize(4);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(attempts::add);
            if (messages.size() == 4) {
                context.setAckIndex(1);
                context.setDelayLevelWhenNextConsume(SOON);
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();

        attempts.await(6);
        assertEquals(List.of("m0 0", "m1 0", "m2 0", "m2 1", "m3 0", "m3 1"), attempts.sorted());
        assertEquals(last.getMsgId(), attempts.of("m3").get(1).getMsgId());
    }

    /** Sends one message with each body, with "key-BODY" as its key. */
    private List<SendResult> send(String topic, String... bodies) throws Exception {
        DefaultMQProducer producer = clients.producer();
        List<SendResult> results = new ArrayList<>();
        for (String body : bodies) {
            Message message = new Message(topic, "TagA", "key-" + body, utf8(body));
            message.putUserProperty("city", "Lyon");
            results.add(producer.send(message));
        }
        return results;
    }

    private List<MessageExt> dead(String group) throws Exception {
        return clients.readAll("%DLQ%" + group);
    }

    /** Starts a consumer whose listener fails wherever {@code level} is not 0, and wants the message again after that level. */
    private Attempts consume(String topic, String group, int maxAgain, ToIntFunction<MessageExt> level) throws Exception {
        Attempts attempts = new Attempts();
        DefaultMQPushConsumer consumer = clients.pushConsumer(group);
        consumer.setMaxReconsumeTimes(maxAgain);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(attempts::add);
            int again = level.applyAsInt(messages.get(0));
            context.setDelayLevelWhenNextConsume(again);
            return again == 0 ? ConsumeConcurrentlyStatus.CONSUME_SUCCESS : ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        return attempts;
    }

    /** What a listener was given, in the order in which it was. */
    private static final class Attempts {
        private final List<MessageExt> messages = new CopyOnWriteArrayList<>();

        void add(MessageExt message) {
            messages.add(message);
        }

        void await(int count) throws Exception {
            Wait.until(() -> count + " attempts, seen " + sorted(), () -> messages.size() >= count);
        }

        /** Each attempt as "BODY RECONSUME-TIMES". */
        List<String> sorted() {
            return messages.stream()
                    .map(message -> Clients.text(message) + " " + message.getReconsumeTimes())
                    .sorted()
                    .collect(Collectors.toList());
        }

        List<MessageExt> of(String body) {
            return messages.stream().filter(message -> Clients.text(message).equals(body)).collect(Collectors.toList());
        }
    }
}
