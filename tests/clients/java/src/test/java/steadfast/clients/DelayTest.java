package steadfast.clients;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static steadfast.clients.Clients.utf8;

import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/** Messages that are held back for one of the delay levels before consumers see them. */
class DelayTest {
    /** Level to milliseconds: 1s 5s 10s … */
    private static final Map<Integer, Integer> LEVELS = Map.of(0, 0, 1, 1000, 2, 5000, 3, 10_000);

    @RegisterExtension
    static final Server server = new Server();

    @RegisterExtension
    final Clients clients = new Clients();

    @Test
    void messagesComeWhenTheirTimeHasCome() throws Exception {
        String topic = clients.topic("levels", 1);
        DefaultMQProducer producer = clients.producer();
        for (int level : List.of(3, 2, 1, 0)) {
            send(producer, topic, level);
        }
        Wait.until("4 messages", () -> clients.readAll(topic).size() == 4);
        List<MessageExt> messages = clients.readAll(topic);
        assertEquals(List.of("level 0", "level 1", "level 2", "level 3"), bodies(messages), "ordered by when they came");
        for (MessageExt message : messages) {
            int wanted = LEVELS.get(level(message));
            long held = message.getStoreTimestamp() - message.getBornTimestamp();
            assertTrue(held >= wanted && held < wanted + 3000, Clients.text(message) + " was held for " + held + " ms");
        }
    }

    @Test
    void delayedMessageArrivesAsItWasSent() throws Exception {
        String topic = clients.topic("whole", 4);
        SendResult sent = send(clients.producer(), topic, 1);
        Wait.until("the message", () -> !clients.readAll(topic).isEmpty());
        MessageExt message = clients.readAll(topic).get(0);
        assertEquals(topic, message.getTopic());
        assertEquals(sent.getMsgId(), message.getMsgId());
        assertEquals(sent.getMessageQueue().getQueueId(), message.getQueueId());
        assertEquals(0, message.getQueueOffset());
        assertEquals("TagA", message.getTags());
        assertEquals("key1", message.getKeys());
        assertEquals("Lyon", message.getUserProperty("city"));
    }

    @Test
    void delayedMessagesSurviveSigkill() throws Exception {
        Server.assumeOwned();
        String topic = clients.topic("sigkill", 1);
        DefaultMQProducer producer = clients.producer();
        for (int i = 0; i < 10; i++) {
            send(producer, topic, 2);
        }
        server.kill();
        server.start();
        Wait.until("10 messages", () -> clients.readAll(topic).size() == 10);
        for (MessageExt message : clients.readAll(topic)) {
            assertTrue(message.getStoreTimestamp() - message.getBornTimestamp() >= LEVELS.get(2), "held back all the same");
        }
    }

    private static SendResult send(DefaultMQProducer producer, String topic, int level) throws Exception {
        Message message = new Message(topic, "TagA", "key" + level, utf8("level " + level));
        message.putUserProperty("city", "Lyon");
        message.setDelayTimeLevel(level);
        return producer.send(message);
    }

    private static int level(MessageExt message) {
        return Integer.parseInt(Clients.text(message).substring("level ".length()));
    }

    private static List<String> bodies(List<MessageExt> messages) {
        return messages.stream().map(Clients::text).collect(Collectors.toList());
    }
}
