package steadfast.clients;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static steadfast.clients.Clients.utf8;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageId;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/** Every way to send, and what the message looks like when it is read back. */
class SendTest {
    private static final int MAX_BODY = 4 * 1024 * 1024;

    /** The response code of that name. */
    private static final int MESSAGE_ILLEGAL = 13;

    @RegisterExtension
    static final Server server = new Server();

    @RegisterExtension
    final Clients clients = new Clients();

    @Test
    void syncSendTellsWhereTheMessageIs() throws Exception {
        String topic = clients.topic("sync", 2);
        MessageQueue queue = clients.queue(topic, 1);
        DefaultMQProducer producer = clients.producer();
        for (int i = 0; i < 3; i++) {
            SendResult sent = producer.send(new Message(topic, "TagA", "key" + i, utf8("body" + i)), queue);

            assertEquals(SendStatus.SEND_OK, sent.getSendStatus());
            assertEquals(queue, sent.getMessageQueue());
            assertEquals(i, sent.getQueueOffset());
            assertTrue(sent.getMsgId().matches("[0-9A-F]{32}|[0-9A-F]{56}"), sent.getMsgId());

            MessageExt read = clients.readAll(topic).get(i);
            assertEquals("body" + i, Clients.text(read));
            assertEquals("TagA", read.getTags());
            assertEquals("key" + i, read.getKeys());
            assertEquals(topic, read.getTopic());
            assertEquals(1, read.getQueueId());
            assertEquals(i, read.getQueueOffset());
            assertEquals(sent.getMsgId(), read.getMsgId());
            // The offset message id names the broker and the position in its log.
            MessageId id = MessageDecoder.decodeMessageId(sent.getOffsetMsgId());
            assertEquals(read.getCommitLogOffset(), id.getOffset());
            assertEquals(read.getStoreHost(), id.getAddress());
        }
    }

    @Test
    void asyncSendsAllCallBack() throws Exception {
        String topic = clients.topic("async", 4);
        DefaultMQProducer producer = clients.producer();
        List<CompletableFuture<SendResult>> pending = new ArrayList<>();
        for (Message message : Clients.messages(topic, "async", 100)) {
            CompletableFuture<SendResult> result = new CompletableFuture<>();
            pending.add(result);
            producer.send(message, completing(result));
        }
        Map<Integer, TreeSet<Long>> offsets = new TreeMap<>();
        for (CompletableFuture<SendResult> result : pending) {
            SendResult sent = result.get(10, TimeUnit.SECONDS);
            assertEquals(SendStatus.SEND_OK, sent.getSendStatus());
            offsets.computeIfAbsent(sent.getMessageQueue().getQueueId(), id -> new TreeSet<>()).add(sent.getQueueOffset());
        }
        // In each queue the offsets are 0, 1, 2, … without a gap, and no offset was given twice.
        offsets.values().forEach(queue ->
                assertEquals(LongStream.range(0, queue.size()).boxed().collect(Collectors.toList()), List.copyOf(queue)));
        assertEquals(100, offsets.values().stream().mapToInt(TreeSet::size).sum());
        assertEquals(bodies("async", 100), readBodies(topic));
    }

    @Test
    void onewaySendsArrive() throws Exception {
        String topic = clients.topic("oneway", 4);
        DefaultMQProducer producer = clients.producer();
        for (Message message : Clients.messages(topic, "oneway", 20)) {
            producer.sendOneway(message);
        }
        Wait.until("20 messages in " + topic, () -> clients.readAll(topic).size() == 20);
        assertEquals(bodies("oneway", 20), readBodies(topic));
    }

    @Test
    void batchIsStoredAsSingleMessagesInARow() throws Exception {
        String topic = clients.topic("batch", 1);
        DefaultMQProducer producer = clients.producer();
        producer.send(new Message(topic, utf8("before")));

        SendResult sent = producer.send(Clients.messages(topic, "batch", 10));

        assertEquals(SendStatus.SEND_OK, sent.getSendStatus());
        assertEquals(1, sent.getQueueOffset(), "offset of the first of the batch");
        List<MessageExt> read = clients.readAll(topic);
        read.remove(0);
        assertEquals(IntStream.range(0, 10).mapToObj(i -> "batch" + i).collect(Collectors.toList()),
                read.stream().map(Clients::text).collect(Collectors.toList()));
        assertEquals(LongStream.range(1, 11).boxed().collect(Collectors.toList()),
                read.stream().map(MessageExt::getQueueOffset).collect(Collectors.toList()));
        // The ids of all ten, separated by commas.
        assertEquals(read.stream().map(MessageExt::getMsgId).collect(Collectors.joining(",")), sent.getMsgId());
        String[] offsetIds = sent.getOffsetMsgId().split(",");
        assertEquals(10, offsetIds.length);
        for (int i = 0; i < 10; i++) {
            assertEquals(read.get(i).getCommitLogOffset(), MessageDecoder.decodeMessageId(offsetIds[i]).getOffset());
        }
    }

    @Test
    void selectorChoosesTheQueue() throws Exception {
        String topic = clients.topic("selector", 4);
        DefaultMQProducer producer = clients.producer();
        for (int order = 0; order < 8; order++) {
            Message message = new Message(topic, utf8("order" + order));
            SendResult sent = producer.send(message, (queues, m, id) -> queues.get((int) id % queues.size()), order);
            assertEquals(order % 4, sent.getMessageQueue().getQueueId());
            assertEquals(order / 4, sent.getQueueOffset());
        }
        for (MessageExt read : clients.readAll(topic)) {
            int order = Integer.parseInt(Clients.text(read).substring("order".length()));
            assertEquals(order % 4, read.getQueueId());
        }
    }

    @Test
    void unicodeTextAndFlagAreKept() throws Exception {
        String topic = clients.topic("unicode", 1);
        Message message = new Message(topic, "Étiquette", "注文 заказ", utf8("Grüße, 世界 🌍"));
        message.putUserProperty("städte", "Zürich; 東京");
        message.setFlag(42);
        clients.producer().send(message);

        MessageExt read = clients.readAll(topic).get(0);
        assertEquals("Grüße, 世界 🌍", Clients.text(read));
        assertEquals("Étiquette", read.getTags());
        assertEquals("注文 заказ", read.getKeys());
        assertEquals("Zürich; 東京", read.getUserProperty("städte"));
        assertEquals(42, read.getFlag());
    }

    @Test
    void compressedBodyIsStoredCompressedAndReadIntact() throws Exception {
        String topic = clients.topic("compressed", 1);
        byte[] body = utf8("twelve bytes".repeat(10_000));
        clients.producer().send(new Message(topic, body));

        MessageExt read = clients.readAll(topic).get(0);
        assertArrayEquals(body, read.getBody());
        assertTrue(read.getStoreSize() < body.length / 10, "stored compressed, in " + read.getStoreSize() + " bytes");
    }

    @Test
    void bodyOfExactlyFourMebibytesIsAccepted() throws Exception {
        String topic = clients.topic("largest", 1);
        byte[] body = incompressible(MAX_BODY);
        DefaultMQProducer producer = clients.producer();
        // The client would compress it in vain and send the result, which is a little longer than the body.
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        producer.send(new Message(topic, body));
        assertArrayEquals(body, clients.readAll(topic).get(0).getBody());
    }

    @Test
    void clientRefusesABodyOverFourMebibytes() throws Exception {
        String topic = clients.topic("client-limit", 1);
        Message message = new Message(topic, incompressible(MAX_BODY + 1));
        MQClientException refused = assertThrows(MQClientException.class, () -> clients.producer().send(message));
        assertEquals(MESSAGE_ILLEGAL, refused.getResponseCode());
    }

    @Test
    void serverRefusesABodyOverFourMebibytes() throws Exception {
        String topic = clients.topic("server-limit", 1);
        DefaultMQProducer producer = clients.producer();
        producer.setMaxMessageSize(2 * MAX_BODY);
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        Message message = new Message(topic, incompressible(MAX_BODY + 1));
        MQBrokerException refused = assertThrows(MQBrokerException.class, () -> producer.send(message));
        assertEquals(MESSAGE_ILLEGAL, refused.getResponseCode());

        // Nothing of it was stored, and the connection is still good.
        assertEquals(0, producer.send(new Message(topic, utf8("small"))).getQueueOffset());
    }

    @Test
    void firstSendCreatesTheTopicWithFourQueues() throws Exception {
        String topic = Clients.unique("auto-created");
        SendResult sent = clients.producer().send(new Message(topic, utf8("first")));
        assertEquals(SendStatus.SEND_OK, sent.getSendStatus());
        assertEquals(0, sent.getQueueOffset());

        DefaultMQAdminExt admin = clients.admin();
        Wait.until("route of " + topic, () -> Clients.hasRoute(admin, topic));
        var queues = admin.examineTopicRouteInfo(topic).getQueueDatas().get(0);
        assertEquals(4, queues.getReadQueueNums());
        assertEquals(4, queues.getWriteQueueNums());
        assertEquals(6, queues.getPerm(), "readable and writable");
        assertEquals(List.of("first"), List.copyOf(readBodies(topic)));
    }

    private TreeSet<String> readBodies(String topic) throws Exception {
        List<MessageExt> read = clients.readAll(topic);
        TreeSet<String> bodies = read.stream().map(Clients::text).collect(Collectors.toCollection(TreeSet::new));
        assertEquals(read.size(), bodies.size(), "no message twice");
        return bodies;
    }

    private static TreeSet<String> bodies(String prefix, int count) {
        return IntStream.range(0, count).mapToObj(i -> prefix + i).collect(Collectors.toCollection(TreeSet::new));
    }

    /** Random bytes, always the same: the client's compression cannot make them smaller. */
    private static byte[] incompressible(int size) {
        byte[] bytes = new byte[size];
        new Random(1).nextBytes(bytes);
        return bytes;
    }

    private static SendCallback completing(CompletableFuture<SendResult> result) {
        return new SendCallback() {
            @Override
            public void onSuccess(SendResult sent) {
                result.complete(sent);
            }

            @Override
            public void onException(Throwable failure) {
                result.completeExceptionally(failure);
            }
        };
    }
}
