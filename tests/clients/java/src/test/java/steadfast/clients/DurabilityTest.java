package steadfast.clients;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static steadfast.clients.Clients.utf8;

import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.QueryResult;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/** A message that was acknowledged is there after the server was killed, and found by its key. */
class DurabilityTest {
    private static final int THREADS = 8;

    @RegisterExtension
    static final Server server = new Server();

    @RegisterExtension
    final Clients clients = new Clients();

    @BeforeEach
    void serverCanBeKilled() {
        Server.assumeOwned();
    }

    @Test
    void acknowledgedMessagesSurviveSigkillRightAfterTheLastAck() throws Exception {
        String topic = clients.topic("quiet", 4);
        DefaultMQProducer producer = clients.producer();
        Map<String, String> acked = new TreeMap<>();
        for (int i = 0; i < 200; i++) {
            acked.put("key" + i, producer.send(message(topic, i)).getMsgId());
        }
        server.kill();
        server.start();
        assertEquals(acked, stored(topic), "all of them, once, and nothing else");
        assertFoundByKey(topic, acked);
    }

    @Test
    void acknowledgedMessagesSurviveSigkillUnderLoad() throws Exception {
        String topic = clients.topic("load", 4);
        DefaultMQProducer producer = clients.producer();
        Map<String, String> acked = new ConcurrentSkipListMap<>();
        AtomicInteger next = new AtomicInteger();
        ExecutorService senders = Executors.newFixedThreadPool(THREADS);
        for (int i = 0; i < THREADS; i++) {
            senders.execute(() -> sendUntilItFails(producer, topic, next, acked));
        }
        Wait.until("500 acknowledged messages", () -> acked.size() >= 500);
        server.kill();
        senders.shutdown();
        assertTrue(senders.awaitTermination(30, TimeUnit.SECONDS), "senders see that the server is gone");
        server.start();

        // A message without an answer may have been stored or not; one with an answer must be there.
        Map<String, String> stored = stored(topic);
        Map<String, String> lost = new TreeMap<>(acked);
        lost.keySet().removeAll(stored.keySet());
        assertEquals(Map.of(), lost, "acknowledged but not stored");
        assertTrue(stored.size() <= acked.size() + THREADS, "at most one without an answer per thread");
        assertEquals(new TreeMap<>(acked), intersection(stored, acked));
        assertFoundByKey(topic, acked);
    }

    private static void sendUntilItFails(
            DefaultMQProducer producer, String topic, AtomicInteger next, Map<String, String> acked) {
        try {
            while (true) {
                int i = next.getAndIncrement();
                var sent = producer.send(message(topic, i));
                if (sent.getSendStatus() == SendStatus.SEND_OK) {
                    acked.put("key" + i, sent.getMsgId());
                }
            }
        } catch (Exception serverIsGone) {
            // This is how each sender ends.
        }
    }

    private static Message message(String topic, int i) {
        return new Message(topic, "", "key" + i, utf8("body of key" + i));
    }

    /** Key and message id of every message in the topic; each has the body it was sent with, and none is there twice. */
    private Map<String, String> stored(String topic) throws Exception {
        Map<String, String> stored = new TreeMap<>();
        for (MessageExt message : clients.readAll(topic)) {
            assertEquals("body of " + message.getKeys(), Clients.text(message));
            assertEquals(null, stored.put(message.getKeys(), message.getMsgId()), "twice: " + message);
        }
        return stored;
    }

    /** Looks up every tenth message by its key. */
    private void assertFoundByKey(String topic, Map<String, String> acked) throws Exception {
        DefaultMQAdminExt admin = clients.admin();
        for (String key : acked.keySet()) {
            if (key.endsWith("0")) {
                Wait.until(key + " in the index", () -> found(admin, topic, key).equals(List.of(acked.get(key))));
            }
        }
    }

    private static List<String> found(DefaultMQAdminExt admin, String topic, String key) throws Exception {
        try {
            QueryResult result = admin.queryMessage(topic, key, 64, 0, Long.MAX_VALUE);
            return List.of(result.getMessageList().stream().map(MessageExt::getMsgId).toArray(String[]::new));
        } catch (MQClientException none) {
            return List.of();
        }
    }

    private static Map<String, String> intersection(Map<String, String> map, Map<String, String> keys) {
        Map<String, String> common = new TreeMap<>(map);
        common.keySet().retainAll(keys.keySet());
        return common;
    }
}
