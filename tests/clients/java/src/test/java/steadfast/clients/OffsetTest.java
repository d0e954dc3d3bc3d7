package steadfast.clients;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/** Positions of consumer groups: across restarts nothing is skipped, and only what was not processed comes again. */
class OffsetTest {
    @RegisterExtension
    static final Server server = new Server();

    @RegisterExtension
    final Clients clients = new Clients();

    @Test
    void consumerContinuesWhereItStopped() throws Exception {
        String topic = clients.topic("continue", 1);
        String group = Clients.unique("continue");
        List<String> sent = send(topic, 20);
        // It processes twelve, hangs in the thirteenth, and is then ended in good order.
        ChildJvm first = clients.consumerProcess(group, topic, "hang=13");
        Wait.until(first::output, () -> first.after("got").size() == 13);
        assertEquals(sent.subList(0, 12), first.after("done"));
        first.terminate();

        ChildJvm second = clients.consumerProcess(group, topic);
        awaitDone(second, 8);
        assertEquals(sent.subList(12, 20), second.after("done"), "the other eight, and none of the twelve");
    }

    @Test
    void positionsSurviveARestartOfTheServer() throws Exception {
        Server.assumeOwned();
        String topic = clients.topic("restart", 1);
        String group = Clients.unique("restart");
        List<String> sent = send(topic, 20);
        ChildJvm first = clients.consumerProcess(group, topic, "hang=13");
        Wait.until(first::output, () -> first.after("got").size() == 13);
        first.terminate();

        server.restart();
        sent.addAll(send(topic, 5));
        ChildJvm second = clients.consumerProcess(group, topic);
        awaitDone(second, 13);
        assertEquals(sent.subList(12, 25), second.after("done"), "eight of before the restart and five of after it");
    }

    @Test
    void runningConsumerLivesThroughARestartOfTheServer() throws Exception {
        Server.assumeOwned();
        String topic = clients.topic("through", 1);
        ChildJvm consumer = clients.consumerProcess(Clients.unique("through"), topic);
        List<String> sent = send(topic, 10);
        awaitDone(consumer, 10);

        server.restart();
        sent.addAll(send(topic, 10));
        // Version 4 of the client misses that its connection is gone until its pull times out after 30 s.
        Wait.within(Duration.ofSeconds(60), consumer::output, () -> consumer.after("done").size() >= 20);
        assertEquals(sent, consumer.after("done"), "connected again by itself, nothing skipped, nothing twice");
    }

    /** RocketMQ keeps positions in memory for up to 5 s; here a position that anybody can read is as durable as a message. */
    @Test
    @Tag("beyond-rocketmq")
    void readablePositionSurvivesSigkill() throws Exception {
        Server.assumeOwned();
        String topic = clients.topic("sigkill", 1);
        String group = Clients.unique("sigkill");
        List<String> sent = send(topic, 10);
        MessageQueue queue = clients.queue(topic, 0);
        DefaultLitePullConsumer first = clients.litePuller(group);
        first.setPullBatchSize(7);
        first.subscribe(topic, "*");
        first.start();
        Wait.until("a message", () -> !first.poll(100).isEmpty());
        first.commitSync();
        Wait.until("position of " + group, () -> clients.committed(group, queue) == 7);
        server.kill();
        first.shutdown();

        server.start();
        ChildJvm consumer = clients.consumerProcess(group, topic);
        awaitDone(consumer, 3);
        assertEquals(sent.subList(7, 10), consumer.after("done"));
    }

    @Test
    void newGroupStartsAtTheFirstMessage() throws Exception {
        String topic = clients.topic("new-group", 1);
        List<String> sent = send(topic, 10);
        for (int i = 0; i < 2; i++) {
            // Each group has its own position: the second is not affected by the first.
            ChildJvm consumer = clients.consumerProcess(Clients.unique("new-group"), topic);
            awaitDone(consumer, 10);
            assertEquals(sent, consumer.after("done"));
        }
    }

    @Test
    @Tag("newest-tools")
    void consumerProgressShowsWhatIsLeft() throws Exception {
        String topic = clients.topic("progress", 1);
        String group = Clients.unique("progress");
        send(topic, 10);
        // It processes seven, hangs in the eighth, and says so at its end.
        ChildJvm consumer = clients.consumerProcess(group, topic, "hang=8");
        Wait.until(consumer::output, () -> consumer.after("got").size() == 8);

        String online = MqAdmin.run("consumerProgress", "-n", Server.NAMESRV);
        List<String> summary = MqAdmin.rows(online, group).get(0);
        assertEquals("1", summary.get(1), "one consumer online: " + online);
        assertTrue(summary.contains("PUSH") && summary.contains("CLUSTERING"), online);
        consumer.terminate();

        String output = MqAdmin.run("consumerProgress", "-n", Server.NAMESRV, "-g", group);
        List<List<String>> queues = MqAdmin.rows(output, topic);
        assertEquals(1, queues.size(), output);
        // Topic, broker, queue, broker's next offset, consumer's next offset.
        assertEquals(List.of(topic, Broker.of(clients.admin()).name, "0", "10", "7"), queues.get(0).subList(0, 5));
        assertTrue(output.contains("Consume Diff Total: 3"), output);
    }

    private static void awaitDone(ChildJvm consumer, int count) throws Exception {
        Wait.until(() -> count + " messages: " + consumer.output(), () -> consumer.after("done").size() >= count);
    }

    /** Returns the message ids in order; in the topic's one queue they are delivered in this order. */
    private List<String> send(String topic, int count) throws Exception {
        DefaultMQProducer producer = clients.producer();
        List<String> ids = new ArrayList<>();
        for (Message message : Clients.messages(topic, "m", count)) {
            SendResult sent = producer.send(message);
            ids.add(sent.getMsgId());
        }
        return ids;
    }
}
