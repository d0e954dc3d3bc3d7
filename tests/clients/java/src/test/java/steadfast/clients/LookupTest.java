package steadfast.clients;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.parallel.ExecutionMode.CONCURRENT;
import static steadfast.clients.Clients.utf8;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.parallel.Execution;

/** Finding messages again by key and by id, with the official mqadmin. */
@Tag("newest-tools")
class LookupTest {
    private static final String MESSAGE_ID = "[0-9A-F]{32}|[0-9A-F]{56}";

    @RegisterExtension
    static final Server server = new Server();

    @RegisterExtension
    final Clients clients = new Clients();

    @Test
    @Execution(CONCURRENT)
    void queryMsgByKeyFindsExactlyTheMessagesWithTheKey() throws Exception {
        DefaultMQProducer producer = clients.producer();
        List<SendResult> wanted = new ArrayList<>();
        List<SendResult> others = new ArrayList<>();
        for (int i = 0; i < 6; i++) {
            wanted.add(producer.send(keyed("SCANRECORD", "orderId", i)));
        }
        // One of several keys of a message.
        wanted.add(producer.send(keyed("SCANRECORD", "buyer orderId parcel", 6)));
        others.add(producer.send(keyed("SCANRECORD", "orderId2", 7)));
        others.add(producer.send(keyed("SCANRECORD", "order", 8)));
        others.add(producer.send(new Message("SCANRECORD", utf8("no key, but orderId in the body"))));
        others.add(producer.send(keyed(clients.topic("other-topic", 1), "orderId", 9)));

        String output = MqAdmin.run("queryMsgByKey", "-n", Server.NAMESRV, "-t", "SCANRECORD", "-k", "orderId");

        assertEquals("#Message ID", output.lines().findFirst().orElse("").substring(0, 11), output);
        // On a server that is not ours there may be messages of earlier runs as well.
        Set<String> ours = ids(wanted);
        ours.addAll(ids(others));
        assertEquals(
                wanted.stream().map(LookupTest::row).collect(Collectors.toSet()),
                MqAdmin.rows(output, MESSAGE_ID).stream()
                        .filter(row -> ours.contains(row.get(0)))
                        .map(row -> row.subList(0, 3))
                        .collect(Collectors.toSet()),
                output);
    }

    @Test
    @Execution(CONCURRENT)
    void messagesAreFoundByEitherId() throws Exception {
        String topic = clients.topic("by-id", 4);
        byte[] body = utf8("what was in it: café");
        Message message = new Message(topic, "TagA", "key1 key2", body);
        message.putUserProperty("shop", "Lyon");
        DefaultMQProducer producer = clients.producer();
        producer.send(keyed(topic, "before", 0));
        SendResult sent = producer.send(message);
        producer.send(keyed(topic, "after", 1));

        MqAdmin byOffsetId =
                MqAdmin.start("queryMsgById", "-n", Server.NAMESRV, "-t", topic, "-i", sent.getOffsetMsgId());
        MqAdmin byIdOfTheClient =
                MqAdmin.start("queryMsgById", "-n", Server.NAMESRV, "-t", topic, "-i", sent.getMsgId());
        MqAdmin byUniqueKey =
                MqAdmin.start("queryMsgByUniqueKey", "-n", Server.NAMESRV, "-t", topic, "-i", sent.getMsgId());
        // All three write the body to the same file: read it when the last has ended.
        for (String output : List.of(byOffsetId.output(), byIdOfTheClient.output(), byUniqueKey.output())) {
            Map<String, String> fields = MqAdmin.fields(output);
            assertEquals(topic, fields.get("Topic"), output);
            assertEquals("[TagA]", fields.get("Tags"));
            assertEquals("[key1 key2]", fields.get("Keys"));
            assertEquals(sent.getMessageQueue().getQueueId(), Integer.parseInt(fields.get("Queue ID")));
            assertEquals(sent.getQueueOffset(), Long.parseLong(fields.get("Queue Offset")));
            assertEquals(MessageDecoder.decodeMessageId(sent.getOffsetMsgId()).getOffset(),
                    Long.parseLong(fields.get("CommitLog Offset")));
            assertEquals("0", fields.get("Reconsume Times"));
            assertTrue(fields.get("Properties").contains("shop=Lyon"), output);
            assertTrue(fields.get("Properties").contains("UNIQ_KEY=" + sent.getMsgId()), output);
            assertTrue(output.contains("WARN: No Consumer"), output);
            assertArrayEquals(body, Files.readAllBytes(Path.of(fields.get("Message Body Path"))));
        }
        assertEquals(sent.getOffsetMsgId(), MqAdmin.fields(byOffsetId.output()).get("OffsetID"));
        assertEquals(sent.getOffsetMsgId(), MqAdmin.fields(byIdOfTheClient.output()).get("OffsetID"));
        Files.deleteIfExists(Path.of(MqAdmin.fields(byUniqueKey.output()).get("Message Body Path")));
    }

    /** "This message was delivered to that group": the track that both commands print below the message. */
    @Test
    @Execution(CONCURRENT)
    void consumedMessageIsShownAsConsumed() throws Exception {
        String topic = clients.topic("track", 1);
        String group = Clients.unique("track");
        DefaultMQProducer producer = clients.producer();
        SendResult sent = producer.send(keyed(topic, "tracked", 0));
        ChildJvm consumer = clients.consumerProcess(group, topic);
        Wait.until(consumer::output, () -> consumer.after("done").contains(sent.getMsgId()));
        // The position after the tracked message is reported with the pull that follows the next one.
        producer.send(keyed(topic, "next", 1));
        MessageQueue queue = sent.getMessageQueue();
        Wait.until("position of " + group, () -> clients.committed(group, queue) > sent.getQueueOffset());

        String output = MqAdmin.run("queryMsgById", "-n", Server.NAMESRV, "-t", topic, "-i", sent.getMsgId());
        assertTrue(output.contains("consumerGroup=" + group), output);
        assertTrue(output.contains("trackType=CONSUMED,"), output);
    }

    @Test
    @Execution(CONCURRENT)
    void whatIsNotThereIsSaidToBeNotThere() throws Exception {
        String topic = clients.topic("nothing", 1);
        SendResult sent = clients.producer().send(keyed(topic, "present", 0));
        long offset = MessageDecoder.decodeMessageId(sent.getOffsetMsgId()).getOffset();
        // In the middle of the message: no message begins at this place of the log.
        String wrongOffsetId = sent.getOffsetMsgId().substring(0, 16) + String.format("%016X", offset + 5);
        String unusedId = "0".repeat(31) + "1";

        for (MqAdmin query : List.of(
                MqAdmin.start("queryMsgByKey", "-n", Server.NAMESRV, "-t", topic, "-k", "absent"),
                MqAdmin.start("queryMsgById", "-n", Server.NAMESRV, "-t", topic, "-i", wrongOffsetId),
                MqAdmin.start("queryMsgByUniqueKey", "-n", Server.NAMESRV, "-t", topic, "-i", unusedId))) {
            String output = query.output();
            assertTrue(output.contains("no message"), output);
            assertEquals(List.of(), MqAdmin.rows(output, MESSAGE_ID));
            assertEquals(null, MqAdmin.fields(output).get("Topic"), output);
        }
    }

    private static Message keyed(String topic, String keys, int number) {
        return new Message(topic, "", keys, utf8("body" + number));
    }

    private static Set<String> ids(List<SendResult> sent) {
        return sent.stream().map(SendResult::getMsgId).collect(Collectors.toCollection(HashSet::new));
    }

    /** The first columns of the table that queryMsgByKey prints: message id, queue, offset in the queue. */
    private static List<String> row(SendResult sent) {
        return List.of(
                sent.getMsgId(),
                Integer.toString(sent.getMessageQueue().getQueueId()),
                Long.toString(sent.getQueueOffset()));
    }
}
