package steadfast.clients;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static steadfast.clients.Clients.utf8;

import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/** Subscriptions to some tags of a topic. */
class TagTest {
    @RegisterExtension
    static final Server server = new Server();

    @RegisterExtension
    final Clients clients = new Clients();

    @Test
    void pullReturnsOnlyTheTagsAskedFor() throws Exception {
        String topic = clients.topic("pull", 1);
        send(topic, "TagA", "TagB", "TagC", null, "TagA", "TagD");
        DefaultMQPullConsumer puller = clients.puller();
        MessageQueue queue = clients.queue(topic, 0);

        PullResult some = puller.pull(queue, "TagA || TagC", 0, 32);
        assertEquals(PullStatus.FOUND, some.getPullStatus());
        assertEquals(List.of("0:TagA", "2:TagC", "4:TagA"),
                some.getMsgFoundList().stream().map(Clients::text).collect(Collectors.toList()));
        assertEquals(6, some.getNextBeginOffset(), "the filtered ones need not be asked for again");

        PullResult none = puller.pull(queue, "TagZ", 0, 32);
        assertEquals(PullStatus.NO_MATCHED_MSG, none.getPullStatus());
        assertEquals(6, none.getNextBeginOffset());
    }

    @Test
    void pushConsumerGetsItsTagsOnly() throws Exception {
        String topic = clients.topic("push", 1);
        send(topic, "TagA", "TagB", "TagC", null, "TagA", "TagB");
        assertEquals(List.of("0:TagA", "1:TagB", "4:TagA", "5:TagB"), consume(topic, "TagA || TagB", "5:TagB"));
        assertEquals(List.of("2:TagC"), consume(topic, "TagC", "2:TagC"));
        assertEquals(6, consume(topic, "*", "5:TagB").size());
    }

    /** The server compares hashes, and these two are equal: "Aa".hashCode() == "BB".hashCode(). */
    @Test
    void tagsWithEqualHashesAreNotMixedUp() throws Exception {
        assertEquals("Aa".hashCode(), "BB".hashCode());
        String topic = clients.topic("collision", 1);
        send(topic, "Aa", "BB", "Aa", "BB", "Aa");
        assertEquals(List.of("0:Aa", "2:Aa", "4:Aa"), consume(topic, "Aa", "4:Aa"));
        assertEquals(List.of("1:BB", "3:BB"), consume(topic, "BB", "3:BB"));
    }

    /** Sends one message per tag, with the body "NUMBER:TAG". */
    private void send(String topic, String... tags) throws Exception {
        DefaultMQProducer producer = clients.producer();
        for (int i = 0; i < tags.length; i++) {
            producer.send(new Message(topic, tags[i], utf8(i + ":" + tags[i])));
        }
    }

    /** What a new group gets, in order, until the last message; the topic's one queue lets nothing come out of order. */
    private List<String> consume(String topic, String tags, String last) throws Exception {
        List<String> got = new CopyOnWriteArrayList<>();
        DefaultMQPushConsumer consumer = clients.pushConsumer(Clients.unique("tags"));
        consumer.subscribe(topic, tags);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> got.add(Clients.text(message)));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Wait.until(() -> last + " of " + got, () -> got.contains(last));
        return got;
    }
}
