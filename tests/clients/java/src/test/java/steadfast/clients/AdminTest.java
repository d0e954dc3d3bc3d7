package steadfast.clients;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.parallel.ExecutionMode.CONCURRENT;

import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.parallel.Execution;

/** The commands an operator uses every day, with the official mqadmin. */
@Tag("newest-tools")
class AdminTest {
    @RegisterExtension
    static final Server server = new Server();

    @RegisterExtension
    final Clients clients = new Clients();

    private String cluster;
    private String broker;
    private String address;

    @BeforeEach
    void lookUpTheBroker() throws Exception {
        Broker described = Broker.of(clients.admin());
        cluster = described.cluster;
        broker = described.name;
        address = described.address;
    }

    @Test
    @Execution(CONCURRENT)
    void clusterAndBrokerAreDescribed() throws Exception {
        MqAdmin list = MqAdmin.start("clusterList", "-n", Server.NAMESRV);
        MqAdmin status = MqAdmin.start("brokerStatus", "-n", Server.NAMESRV, "-b", address);

        List<List<String>> brokers = MqAdmin.rows(list.output(), cluster);
        assertEquals(1, brokers.size(), list.output());
        List<String> row = brokers.get(0);
        assertEquals(List.of(cluster, broker, "0", address), row.subList(0, 4));
        assertTrue(row.get(4).matches("V\\d+_\\d+_\\d+.*"), "a RocketMQ version: " + row);
        assertEquals("true", row.get(row.size() - 1), "active: " + row);
        assertFalse(list.output().contains("Exception"), list.output());

        Map<String, String> values = status.output().lines()
                .filter(line -> line.contains(": "))
                .collect(Collectors.toMap(
                        line -> line.substring(0, line.indexOf(':')).trim(),
                        line -> line.substring(line.indexOf(':') + 1).trim(),
                        (first, again) -> first));
        assertTrue(Long.parseLong(values.get("bootTimestamp")) <= System.currentTimeMillis(), status.output());
        assertTrue(Long.parseLong(values.get("msgPutTotalTodayNow")) >= 0, status.output());
        assertEquals("true", values.get("brokerActive"));
    }

    @Test
    @Execution(CONCURRENT)
    void topicIsCreatedDescribedAndDeleted() throws Exception {
        String topic = Clients.unique("admin");
        String created = MqAdmin.run(
                "updateTopic", "-n", Server.NAMESRV, "-b", address, "-t", topic, "-r", "6", "-w", "6");
        assertTrue(created.contains("create topic to " + address + " success."), created);
        DefaultMQProducer producer = clients.producer();
        for (Message message : Clients.messages(topic, "m", 4)) {
            producer.send(message, (queues, m, arg) -> queues.get(2), null);
        }

        MqAdmin list = MqAdmin.start("topicList", "-n", Server.NAMESRV);
        MqAdmin route = MqAdmin.start("topicRoute", "-n", Server.NAMESRV, "-t", topic);
        MqAdmin status = MqAdmin.start("topicStatus", "-n", Server.NAMESRV, "-t", topic);
        assertTrue(list.output().lines().anyMatch(topic::equals), list.output());
        for (String part : List.of("0:\"" + address + "\"", "\"brokerName\":\"" + broker + "\"",
                "\"cluster\":\"" + cluster + "\"", "\"readQueueNums\":6", "\"writeQueueNums\":6", "\"perm\":6")) {
            assertTrue(route.output().contains(part), part + " in " + route.output());
        }
        // Broker, queue, first offset, next offset.
        List<List<String>> queues = MqAdmin.rows(status.output(), broker);
        assertEquals(6, queues.size(), status.output());
        for (int id = 0; id < 6; id++) {
            assertEquals(List.of(broker, "" + id, "0", id == 2 ? "4" : "0"), queues.get(id).subList(0, 4));
        }

        String deleted = MqAdmin.run("deleteTopic", "-n", Server.NAMESRV, "-c", cluster, "-t", topic);
        assertTrue(deleted.contains("delete topic [" + topic + "] from cluster [" + cluster + "] success."), deleted);
        assertTrue(deleted.contains("delete topic [" + topic + "] from NameServer success."), deleted);
        MqAdmin listAfter = MqAdmin.start("topicList", "-n", Server.NAMESRV);
        MqAdmin routeAfter = MqAdmin.start("topicRoute", "-n", Server.NAMESRV, "-t", topic);
        assertFalse(listAfter.output().contains(topic), listAfter.output());
        assertTrue(routeAfter.output().contains("CODE: 17 "), "topic does not exist: " + routeAfter.output());
    }

    @Test
    @Execution(CONCURRENT)
    void consumerProgressShowsWhatIsLeft() throws Exception {
        String topic = clients.topic("progress", 1);
        String group = Clients.unique("progress");
        DefaultMQProducer producer = clients.producer();
        for (Message message : Clients.messages(topic, "m", 10)) {
            producer.send(message);
        }
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
        assertEquals(List.of(topic, broker, "0", "10", "7"), queues.get(0).subList(0, 5));
        assertTrue(output.contains("Consume Diff Total: 3"), output);
    }
}
