package steadfast.clients;

import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Brings a new server into a state step by step, and runs each command in a state in which it has something to tell. */
final class AdminScenario {
    /** Of an offset message id in bytes: address, port, place in the log. */
    private static final int MSG_ID_LENGTH = 16;

    private final Golden golden;
    private final Clients clients;

    AdminScenario(Golden golden, Clients clients) {
        this.golden = golden;
        this.clients = clients;
    }

    /** Command name to all that its runs printed. */
    Map<String, String> play() throws Exception {
        Broker broker = Broker.of(clients.admin());
        golden.mask.name("NAMESRV", Server.NAMESRV);
        golden.mask.name("BROKER-ADDRESS", broker.address);
        golden.mask.name("BROKER", broker.name);
        golden.mask.name("CLUSTER", broker.cluster);

        golden.run("updateTopic -n NAMESRV -b BROKER-ADDRESS -t orders -r 2 -w 2");
        golden.run("updateTopic -n NAMESRV -c CLUSTER -t archive -r 4 -w 4 -p 4");
        golden.run("updateSubGroup -n NAMESRV -b BROKER-ADDRESS -g billing -r 3 -q 2");
        golden.run("updateSubGroup -n NAMESRV -c CLUSTER -g idle");
        for (String topic : List.of("orders", "archive")) {
            Wait.until("route of " + topic, () -> Clients.hasRoute(clients.admin(), topic));
        }
        messages();
        topics();
        lookups();
        groups();
        brokers();
        golden.run("deleteSubGroup -n NAMESRV -b BROKER-ADDRESS -g idle");
        golden.run("deleteTopic -n NAMESRV -c CLUSTER -t archive");
        golden.run("topicRoute -n NAMESRV -t archive");
        return golden.transcripts();
    }

    /** Four messages, two in each queue, and one that the tool sends, with their ids as MSG-0, OFFSET-MSG-0, … */
    private void messages() throws Exception {
        DefaultMQProducer producer = clients.producer("shop");
        for (int i = 0; i < 4; i++) {
            Message message = new Message("orders", i == 3 ? "sent" : "paid", "key-" + i, Clients.utf8("body " + i));
            message.putUserProperty("city", "Lyon");
            SendResult sent = producer.send(message, clients.queue("orders", i % 2));
            name(i, sent.getMsgId(), sent.getOffsetMsgId());
        }
        golden.run("sendMessage -n NAMESRV -t orders -p hello -k greeting -c paid -b BROKER -i 0");
        for (MessageExt sent : clients.admin().queryMessage("orders", "greeting", 1, 0, Long.MAX_VALUE).getMessageList()) {
            ByteBuffer id = ByteBuffer.allocate(MSG_ID_LENGTH);
            name(4, sent.getMsgId(), MessageDecoder.createMessageId(id, sent.getStoreHostBytes(), sent.getCommitLogOffset()));
        }
    }

    private void name(int number, String id, String offsetId) throws Exception {
        golden.mask.name("OFFSET-MSG-" + number, offsetId);
        golden.mask.name("MSG-" + number, id);
        golden.mask.place("PLACE-" + number, MessageDecoder.decodeMessageId(offsetId).getOffset());
    }

    private void topics() throws Exception {
        golden.run("topicList -n NAMESRV", Stream::sorted);
        golden.run("topicRoute -n NAMESRV -t orders");
        golden.run("topicRoute -n NAMESRV -t archive");
        golden.run("topicRoute -n NAMESRV -t unknown");
        golden.run("topicStatus -n NAMESRV -t orders");
        golden.run("topicStatus -n NAMESRV -t unknown");
        golden.run("topicClusterList -n NAMESRV -t orders");
    }

    private void lookups() throws Exception {
        golden.run("queryMsgByKey -n NAMESRV -t orders -k key-1");
        golden.run("queryMsgByKey -n NAMESRV -t orders -k absent");
        golden.run("queryMsgById -n NAMESRV -t orders -i OFFSET-MSG-1");
        golden.run("queryMsgById -n NAMESRV -t orders -i MSG-2");
        golden.run("queryMsgByUniqueKey -n NAMESRV -t orders -i MSG-3");
        golden.run("queryMsgByUniqueKey -n NAMESRV -t orders -i 7F000001000000000000000000000000");
        golden.run("queryMsgByOffset -n NAMESRV -t orders -b BROKER -i 1 -o 1");
        golden.run("queryMsgByOffset -n NAMESRV -t orders -b BROKER -i 1 -o 7");
        golden.run("queryCq -n NAMESRV -t orders -q 0 -i 0 -c 3 -b BROKER-ADDRESS");
        golden.run("printMsg -n NAMESRV -t orders -d true");
        golden.run("consumeMessage -n NAMESRV -t orders -b BROKER -i 0 -o 0 -c 2");
    }

    private void groups() throws Exception {
        golden.run("consumerProgress -n NAMESRV -g idle");
        golden.run("consumerConnection -n NAMESRV -g idle");
        ChildJvm consumer = clients.consumerProcess("billing", "orders");
        Wait.until(consumer::output, () -> consumer.after("done").size() == 5);
        awaitCommitted(0, 3);
        awaitCommitted(1, 2);
        golden.run("consumerProgress -n NAMESRV");
        golden.run("consumerProgress -n NAMESRV -g billing");
        golden.run("consumerConnection -n NAMESRV -g billing");
        golden.run("consumerStatus -n NAMESRV -g billing");
        golden.run("resetOffsetByTime -n NAMESRV -g billing -t orders -s -1");
        golden.run("producerConnection -n NAMESRV -g shop -t orders");
        golden.run("producerConnection -n NAMESRV -g nobody -t orders");
        consumer.terminate();
        golden.run("resetOffsetByTime -n NAMESRV -g billing -t orders -s 0");
        golden.run("consumerProgress -n NAMESRV -g billing");
    }

    private void awaitCommitted(int queue, long position) throws Exception {
        MessageQueue messageQueue = clients.queue("orders", queue);
        Wait.until("position of billing", () -> clients.committed("billing", messageQueue) == position);
    }

    private void brokers() throws Exception {
        golden.run("clusterList -n NAMESRV");
        golden.run("brokerStatus -n NAMESRV -b BROKER-ADDRESS", AdminScenario::states);
        golden.run("getBrokerConfig -n NAMESRV -b BROKER-ADDRESS", AdminScenario::settings);
        golden.run("updateBrokerConfig -n NAMESRV -b BROKER-ADDRESS -k autoCreateTopicEnable -v false");
        golden.run("updateBrokerConfig -n NAMESRV -b BROKER-ADDRESS -k noSuchKey -v 1");
        golden.run("getBrokerConfig -n NAMESRV -b BROKER-ADDRESS", AdminScenario::settings);
    }

    /** The names of all that the broker tells of itself; of the values those that do not depend on time and machine. */
    private static Stream<String> states(Stream<String> lines) {
        Pattern steady = Pattern.compile("(brokerActive|msg\\w*Today\\w*|putMessageTimesTotal|commitLogMinOffset) ?:.*");
        return lines.map(line -> steady.matcher(line).matches() ? line : line.replaceFirst(" ?:.*", ": …"))
                .map(line -> line.replaceFirst("(commitLogDiskRatio_).*", "$1PATH: …"));
    }

    /** Of the hundreds of settings those that an operator is likely to look for, by name. */
    private static Stream<String> settings(Stream<String> lines) {
        Set<String> wanted = Set.of("autoCreateSubscriptionGroup", "autoCreateTopicEnable", "brokerClusterName", "brokerId",
                "brokerIP1", "brokerName", "brokerPermission", "brokerRole", "defaultTopicQueueNums", "flushDiskType",
                "mappedFileSizeCommitLog", "maxMessageSize", "messageDelayLevel", "noSuchKey");
        return lines.filter(line -> wanted.contains(line.replaceFirst(" =.*", ""))).sorted();
    }
}
