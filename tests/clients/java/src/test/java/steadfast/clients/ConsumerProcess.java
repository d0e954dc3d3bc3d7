package steadfast.clients;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * An application that consumes a topic with one thread and tells on its output what happens to it:
 *
 * <pre>
 * queues 0,2        the queues it is responsible for from now on
 * got MSGID         it begins to process a message
 * done MSGID        the batch with this message is processed and acknowledged to the client library
 * </pre>
 *
 * Arguments, as NAME=VALUE: {@code namesrv}, {@code group}, {@code topic}; {@code batch}, messages handed over at a time
 * (1); {@code hang}, the message, counted from 1, in whose processing it hangs for ever after telling "got" (none).
 * SIGTERM ends it in good order, SIGKILL as a crash would.
 */
final class ConsumerProcess {
    private final int hang;
    private final AtomicInteger count = new AtomicInteger();

    private ConsumerProcess(int hang) {
        this.hang = hang;
    }

    public static void main(String[] args) throws Exception {
        Map<String, String> settings = new HashMap<>();
        for (String arg : args) {
            String[] pair = arg.split("=", 2);
            settings.put(pair[0], pair[1]);
        }
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(settings.get("group"));
        consumer.setNamesrvAddr(settings.get("namesrv"));
        consumer.setInstanceName(Long.toString(ProcessHandle.current().pid()));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPollNameServerInterval(1000);
        consumer.setHeartbeatBrokerInterval(1000);
        consumer.setConsumeThreadMin(1);
        consumer.setConsumeThreadMax(1);
        consumer.setConsumeMessageBatchMaxSize(Integer.parseInt(settings.getOrDefault("batch", "1")));
        consumer.subscribe(settings.get("topic"), "*");
        consumer.setAllocateMessageQueueStrategy(new TellingStrategy(settings.get("topic")));
        int hang = Integer.parseInt(settings.getOrDefault("hang", "-1"));
        ConsumerProcess application = new ConsumerProcess(hang);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> application.process(messages));
        Runtime.getRuntime().addShutdownHook(new Thread(consumer::shutdown));
        consumer.start();
    }

    /** The client's usual way to share the queues, which tells when it gives this consumer others than before. */
    private static final class TellingStrategy extends AllocateMessageQueueAveragely {
        private final String topic;
        private List<MessageQueue> told = List.of();

        private TellingStrategy(String topic) {
            this.topic = topic;
        }

        @Override
        public List<MessageQueue> allocate(
                String group, String client, List<MessageQueue> all, List<String> clients) {
            List<MessageQueue> mine = super.allocate(group, client, all, clients);
            if (!mine.equals(told) && all.stream().allMatch(queue -> queue.getTopic().equals(topic))) {
                told = mine;
                tell("queues", mine.stream().map(MessageQueue::getQueueId).sorted().map(String::valueOf)
                        .collect(Collectors.joining(",")));
            }
            return mine;
        }
    }

    private ConsumeConcurrentlyStatus process(List<MessageExt> batch) {
        for (MessageExt message : batch) {
            tell("got", message.getMsgId());
            if (count.incrementAndGet() == hang) {
                hang();
            }
        }
        for (MessageExt message : batch) {
            tell("done", message.getMsgId());
        }
        return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
    }

    private static void hang() {
        while (true) {
            try {
                new CountDownLatch(1).await();
            } catch (InterruptedException shutdown) {
                // Hang on: this listener must never return, or its batch would count as processed.
            }
        }
    }

    /** Written at once: the process may be killed before its next step. */
    private static synchronized void tell(String event, String detail) {
        System.out.println(event + " " + detail);
        System.out.flush();
    }
}
