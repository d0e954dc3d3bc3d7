package steadfast.clients;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Clients with RocketMQ's own defaults, retries and intervals, on the default layout: the death of a process is no error to them. */
@Tag("beyond-rocketmq")
class LayoutTest {
    private static final int SENDERS = 2;
    /** For so long is a process missed before it is started again; others lead its group by then. */
    private static final long AWAY_MILLIS = 3_000;

    @Test
    @Timeout(120)
    void noSenderSeesAnErrorWhenAnyOneProcessIsKilled() throws Exception {
        Server.assumeOwned();
        DefaultMQAdminExt admin = new DefaultMQAdminExt();
        DefaultMQProducer producer = new DefaultMQProducer(Clients.unique("producer"));
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(Clients.unique("consumer"));
        String topic = Clients.unique("orders");
        Set<String> acked = ConcurrentHashMap.newKeySet();
        Set<String> brokers = ConcurrentHashMap.newKeySet();
        Set<String> consumed = ConcurrentHashMap.newKeySet();
        List<String> errors = new CopyOnWriteArrayList<>();
        AtomicBoolean done = new AtomicBoolean();
        try (Layout layout = new Layout(LayoutTest.class.getSimpleName())) {
            admin.setNamesrvAddr(layout.namesrv());
            admin.setInstanceName(Clients.unique("admin"));
            admin.start();
            layout.awaitSettled(admin);
            producer.setNamesrvAddr(layout.namesrv());
            producer.start();
            consumer.setNamesrvAddr(layout.namesrv());
            consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
            consumer.subscribe(topic, "*");
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                messages.forEach(message -> consumed.add(message.getKeys()));
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
            consumer.start();

            AtomicInteger next = new AtomicInteger();
            Thread[] senders = new Thread[SENDERS];
            for (int i = 0; i < SENDERS; i++) {
                senders[i] = new Thread(() -> {
                    while (!done.get()) {
                        String key = "key" + next.getAndIncrement();
                        try {
                            var sent = producer.send(new Message(topic, "", key, Clients.utf8(key)));
                            assertEquals(SendStatus.SEND_OK, sent.getSendStatus());
                            acked.add(key);
                            brokers.add(sent.getMessageQueue().getBrokerName());
                            Thread.sleep(2);
                        } catch (Throwable error) {
                            errors.add(key + ": " + error);
                        }
                    }
                });
                senders[i].start();
            }
            Wait.until("messages in both groups", () -> brokers.equals(Set.of("broker-a", "broker-b")));
            for (int i = 0; i < Layout.PROCESSES; i++) {
                int before = acked.size();
                layout.kill(i);
                Thread.sleep(AWAY_MILLIS);
                assertTrue(acked.size() > before, "senders went on while process " + i + " was away");
                layout.start(i);
                layout.awaitSettled(admin);
            }
            done.set(true);
            for (Thread sender : senders) {
                sender.join();
            }
            assertEquals(List.of(), errors);
            Wait.until(() -> "consumed " + consumed.size() + " of " + acked.size(), () -> consumed.containsAll(acked));
            System.out.println("layout: " + acked.size() + " messages, no error, " + new TreeSet<>(brokers));
        } finally {
            done.set(true);
            consumer.shutdown();
            producer.shutdown();
            admin.shutdown();
        }
    }
}
