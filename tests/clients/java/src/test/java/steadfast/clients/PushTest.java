package steadfast.clients;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/** Push consumers of one group in processes of their own: they share the queues, and one stands in for the other. */
class PushTest {
    private static final int QUEUES = 4;
    private static final Set<String> ALL = Set.of("0", "1", "2", "3");

    @RegisterExtension
    static final Server server = new Server();

    @RegisterExtension
    final Clients clients = new Clients();

    @Test
    void twoProcessesShareTheQueuesAndTheMessages() throws Exception {
        String topic = clients.topic("share", QUEUES);
        String group = Clients.unique("share");
        ChildJvm first = clients.consumerProcess(group, topic);
        Wait.until(first::output, () -> queues(first).equals(ALL));
        ChildJvm second = clients.consumerProcess(group, topic);
        awaitShared(first, second);

        Set<String> sent = sendToAllQueues(topic, 10);
        Wait.until(() -> "40 messages: " + first.output() + "\n" + second.output(),
                () -> first.after("done").size() + second.after("done").size() >= sent.size());
        assertEquals(sent, union(first.after("done"), second.after("done")));
        assertEquals(20, first.after("got").size(), "half of the queues, half of the messages");
        assertEquals(20, second.after("got").size(), "half of the queues, half of the messages");

        // The second says goodbye: all queues go back, and what was processed is not delivered again.
        second.terminate();
        Wait.until(first::output, () -> queues(first).equals(ALL));
        Set<String> more = sendToAllQueues(topic, 5);
        Wait.until(first::output, () -> first.after("got").containsAll(more));
        assertEquals(20 + more.size(), first.after("got").size());
    }

    @Test
    void messagesOfAKilledProcessGoToTheOther() throws Exception {
        String topic = clients.topic("kill", QUEUES);
        String group = Clients.unique("kill");
        // The first hangs in its 20th message, amid a batch of up to 16.
        ChildJvm doomed = clients.consumerProcess(group, topic, "batch=16", "hang=20");
        ChildJvm other = clients.consumerProcess(group, topic, "batch=16");
        awaitShared(doomed, other);

        Set<String> sent = sendToAllQueues(topic, 40);
        Wait.until(doomed::output, () -> doomed.after("got").size() == 20);
        doomed.kill();
        assertEquals(20, doomed.after("got").size());
        assertTrue(doomed.after("done").size() < 20, "killed with a batch half processed");

        Wait.until(() -> other.after("got").size() + " of " + sent.size() + " messages, " + other.after("queues"),
                () -> union(doomed.after("done"), other.after("done")).equals(sent));
        assertEquals(ALL, queues(other), "it has taken over all queues");
        Set<String> unacknowledged = new HashSet<>(doomed.after("got"));
        unacknowledged.removeAll(doomed.after("done"));
        assertFalse(unacknowledged.isEmpty());
        assertTrue(other.after("done").containsAll(unacknowledged), "the half processed batch was delivered again");
    }

    /** Sends one batch of {@code count} messages to each queue; returns all message ids. */
    private Set<String> sendToAllQueues(String topic, int count) throws Exception {
        DefaultMQProducer producer = clients.producer();
        Set<String> ids = new TreeSet<>();
        for (MessageQueue queue : producer.fetchPublishMessageQueues(topic)) {
            SendResult sent = producer.send(Clients.messages(topic, "queue" + queue.getQueueId() + "-", count), queue);
            Collections.addAll(ids, sent.getMsgId().split(","));
        }
        assertEquals(QUEUES * count, ids.size());
        return ids;
    }

    /** Waits until each has two queues and together they have all. */
    private static void awaitShared(ChildJvm one, ChildJvm two) throws Exception {
        Wait.until(() -> "shared queues: " + one.output() + "\n" + two.output(),
                () -> queues(one).size() == 2 && queues(two).size() == 2
                        && union(queues(one), queues(two)).equals(ALL));
    }

    /** The queues that the process has now. */
    private static Set<String> queues(ChildJvm consumer) {
        List<String> told = consumer.after("queues");
        String last = told.isEmpty() ? "" : told.get(told.size() - 1);
        return last.isEmpty() ? Set.of() : Set.of(last.split(","));
    }

    private static Set<String> union(Iterable<String> one, Iterable<String> two) {
        Set<String> all = new TreeSet<>();
        one.forEach(all::add);
        two.forEach(all::add);
        return all;
    }
}
