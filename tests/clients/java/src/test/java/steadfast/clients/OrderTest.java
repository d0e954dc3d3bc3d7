package steadfast.clients;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentSkipListMap;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/** Orderly consumers lock their queues: each queue is one consumer's, and its messages are processed in their order. */
class OrderTest {
    private static final int QUEUES = 2;

    @RegisterExtension
    static final Server server = new Server();

    @RegisterExtension
    final Clients clients = new Clients();

    /** What was processed, by queue, in the order in which it was. */
    private final Map<Integer, List<String>> processed = new ConcurrentSkipListMap<>();

    /** Which consumers processed messages of a queue. */
    private final Map<Integer, Set<String>> workers = new ConcurrentSkipListMap<>();

    @Test
    void aMessageThatFailsHoldsUpItsQueueAndNothingOvertakesIt() throws Exception {
        String topic = clients.topic("order", QUEUES);
        Set<String> failed = ConcurrentHashMap.newKeySet();
        consumer("only", Clients.unique("order"), topic, failed);
        Map<Integer, List<String>> sent = send(topic, "", 20);
        awaitProcessed(sent);
        assertEquals(Set.of("queue0-5", "queue1-5"), failed);
        assertEquals(sent, processed);
    }

    @Test
    void aQueueChangesHandsWithItsLock() throws Exception {
        String topic = clients.topic("handover", QUEUES);
        String group = Clients.unique("handover");
        DefaultMQPushConsumer first = consumer("first", group, topic, null);
        Map<Integer, List<String>> sent = send(topic, "one-", 10);
        awaitProcessed(sent);
        consumer("second", group, topic, null);
        workers.clear();
        int[] round = {0};
        Wait.until(() -> "both consume: " + workers, () -> {
            send(topic, "two-" + round[0]++ + "-", 1).forEach((queue, bodies) -> sent.get(queue).addAll(bodies));
            awaitProcessed(sent);
            return workers.values().stream().anyMatch(names -> names.contains("second"));
        });
        first.shutdown();
        workers.clear();
        send(topic, "three-", 10).forEach((queue, bodies) -> sent.get(queue).addAll(bodies));
        awaitProcessed(sent);
        assertEquals(sent, processed, "in order, and once each");
        workers.values().forEach(names -> assertEquals(Set.of("second"), names));
    }

    /** A consumer that fails each queue's message 5 once, if {@code failed} is there to note it. */
    private DefaultMQPushConsumer consumer(String name, String group, String topic, Set<String> failed) throws Exception {
        DefaultMQPushConsumer consumer = clients.pushConsumer(group);
        consumer.setSuspendCurrentQueueTimeMillis(50);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            for (MessageExt message : messages) {
                String body = Clients.text(message);
                if (failed != null && body.endsWith("-5") && failed.add(body)) {
                    return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
                }
                workers.computeIfAbsent(message.getQueueId(), queue -> ConcurrentHashMap.newKeySet()).add(name);
                processed.computeIfAbsent(message.getQueueId(), queue -> new ArrayList<>()).add(body);
            }
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        return consumer;
    }

    /** Sends {@code count} messages to each queue; returns their bodies by queue. */
    private Map<Integer, List<String>> send(String topic, String prefix, int count) throws Exception {
        DefaultMQProducer producer = clients.producer();
        Map<Integer, List<String>> sent = new ConcurrentSkipListMap<>();
        for (MessageQueue queue : producer.fetchPublishMessageQueues(topic)) {
            int id = queue.getQueueId();
            for (var message : Clients.messages(topic, prefix + "queue" + id + "-", count)) {
                producer.send(message, queue);
                sent.computeIfAbsent(id, none -> new ArrayList<>()).add(new String(message.getBody()));
            }
        }
        return sent;
    }

    private void awaitProcessed(Map<Integer, List<String>> sent) throws Exception {
        Wait.until(() -> processed + " of " + sent, () -> count(processed) >= count(sent));
    }

    private static int count(Map<Integer, List<String>> bodies) {
        return bodies.values().stream().mapToInt(List::size).sum();
    }
}
