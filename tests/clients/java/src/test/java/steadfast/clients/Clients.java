package steadfast.clients;

import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * Makes the clients that a test uses, all against {@link Server#NAMESRV}, and shuts them down after it.
 *
 * <p>They are shut down in the background: it can take the client library 3 s, and as each test has its own topics and
 * groups, the next one need not wait.
 */
final class Clients implements AfterEachCallback {
    /** Tells runs apart that share a server which is not ours. */
    private static final String RUN = Long.toString(System.currentTimeMillis(), 36);

    private static final AtomicInteger COUNTER = new AtomicInteger();

    private final Deque<AutoCloseable> open = new ArrayDeque<>();
    private DefaultMQAdminExt admin;

    @Override
    public void afterEach(ExtensionContext context) {
        while (!open.isEmpty()) {
            shutDown(open.pop());
        }
    }

    private static void shutDown(AutoCloseable client) {
        Thread closer = new Thread(() -> {
            try {
                client.close();
            } catch (Exception failure) {
                System.err.println("could not shut down a client: " + failure);
            }
        });
        closer.setDaemon(true);
        closer.start();
    }

    /** A name for a topic or group that no other test uses. */
    static String unique(String name) {
        return name + "-" + RUN + "-" + COUNTER.incrementAndGet();
    }

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(MessageExt message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }

    /** A producer that never retries by itself: a failed send is seen by the test and nothing is stored twice. */
    DefaultMQProducer producer() throws MQClientException {
        return producer(unique("producer"));
    }

    DefaultMQProducer producer(String group) throws MQClientException {
        DefaultMQProducer producer = configure(new DefaultMQProducer(group));
        producer.setRetryTimesWhenSendFailed(0);
        producer.setRetryTimesWhenSendAsyncFailed(0);
        producer.start();
        open.push(producer::shutdown);
        return producer;
    }

    /** The plain pull API: one request for one queue and offset at a time, no positions kept. */
    DefaultMQPullConsumer puller() throws MQClientException {
        DefaultMQPullConsumer consumer = configure(new DefaultMQPullConsumer(unique("puller")));
        consumer.start();
        open.push(consumer::shutdown);
        return consumer;
    }

    /** Not started, so that the test can subscribe first; commits positions only when told to. */
    DefaultLitePullConsumer litePuller(String group) {
        DefaultLitePullConsumer consumer = configure(new DefaultLitePullConsumer(group));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setAutoCommit(false);
        open.push(consumer::shutdown);
        return consumer;
    }

    /** Not started; one thread, so that messages of one queue are processed in their order. */
    DefaultMQPushConsumer pushConsumer(String group) {
        DefaultMQPushConsumer consumer = configure(new DefaultMQPushConsumer(group));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setConsumeThreadMin(1);
        consumer.setConsumeThreadMax(1);
        open.push(consumer::shutdown);
        return consumer;
    }

    /** A consumer in a JVM of its own, see {@link ConsumerProcess}; {@code settings} are NAME=VALUE. */
    ChildJvm consumerProcess(String group, String topic, String... settings) throws Exception {
        List<String> args = new ArrayList<>(List.of("namesrv=" + Server.NAMESRV, "group=" + group, "topic=" + topic));
        Collections.addAll(args, settings);
        ChildJvm child = ChildJvm.start(ConsumerProcess.class, args);
        open.push(child::kill);
        return child;
    }

    /** The operator's view: one connection per test. */
    DefaultMQAdminExt admin() throws MQClientException {
        if (admin == null) {
            admin = startAdmin();
            open.push(admin::shutdown);
        }
        return admin;
    }

    /** Creates a topic with that many queues; returns its name when the route to it is known. */
    String topic(String name, int queues) throws Exception {
        String topic = unique(name);
        DefaultMQAdminExt admin = admin();
        TopicConfig config = new TopicConfig(topic);
        config.setReadQueueNums(queues);
        config.setWriteQueueNums(queues);
        admin.createAndUpdateTopicConfig(Broker.of(admin).address, config);
        Wait.until("route of " + topic, () -> hasRoute(admin, topic));
        return topic;
    }

    /** The queue with that number of a topic. */
    MessageQueue queue(String topic, int id) throws Exception {
        return new MessageQueue(topic, Broker.of(admin()).name, id);
    }

    /** All messages of a topic, queue by queue, each queue in its order. */
    List<MessageExt> readAll(String topic) throws Exception {
        DefaultMQPullConsumer puller = puller();
        List<MessageQueue> queues = new ArrayList<>(puller.fetchSubscribeMessageQueues(topic));
        Collections.sort(queues);
        List<MessageExt> messages = new ArrayList<>();
        for (MessageQueue queue : queues) {
            long offset = puller.minOffset(queue);
            long end = puller.maxOffset(queue);
            while (offset < end) {
                PullResult pulled = puller.pull(queue, "*", offset, 32);
                if (pulled.getPullStatus() != PullStatus.FOUND) {
                    throw new AssertionError(queue + " answers " + pulled + " at offset " + offset + " of " + end);
                }
                messages.addAll(pulled.getMsgFoundList());
                offset = pulled.getNextBeginOffset();
            }
        }
        return messages;
    }

    /** The position of a group in a queue as the server tells it: the offset of its next message, or -1 if it has none. */
    long committed(String group, MessageQueue queue) throws Exception {
        var position = admin().examineConsumeStats(group).getOffsetTable().get(queue);
        return position == null ? -1 : position.getConsumerOffset();
    }

    static boolean hasRoute(DefaultMQAdminExt admin, String topic) throws Exception {
        try {
            return !admin.examineTopicRouteInfo(topic).getQueueDatas().isEmpty();
        } catch (MQClientException notYet) {
            return false;
        }
    }

    /** Waits until the name server knows a broker: from then on producers find a route. */
    static void awaitBroker() throws Exception {
        DefaultMQAdminExt admin = startAdmin();
        try {
            Wait.until("a broker registered at " + Server.NAMESRV, () -> Broker.isKnown(admin));
        } finally {
            shutDown(admin::shutdown);
        }
    }

    /** {@code count} messages to send, with the bodies "PREFIX0", "PREFIX1", … */
    static List<Message> messages(String topic, String prefix, int count) {
        List<Message> messages = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            messages.add(new Message(topic, utf8(prefix + i)));
        }
        return messages;
    }

    private static DefaultMQAdminExt startAdmin() throws MQClientException {
        DefaultMQAdminExt admin = configure(new DefaultMQAdminExt());
        admin.start();
        return admin;
    }

    /** A name of its own gives each client its own connections; short intervals keep the tests short. */
    private static <C extends ClientConfig> C configure(C client) {
        client.setNamesrvAddr(Server.NAMESRV);
        client.setInstanceName(unique("client"));
        client.setPollNameServerInterval(1000);
        client.setHeartbeatBrokerInterval(1000);
        client.setPersistConsumerOffsetInterval(500);
        return client;
    }
}
