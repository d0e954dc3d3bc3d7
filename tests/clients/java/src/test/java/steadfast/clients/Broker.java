package steadfast.clients;

import java.util.Map;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * The one broker of the server under test, as its name server describes it.
 *
 * <p>These tests name no class that has another package in the client's version 4 than in 5, so that they compile with
 * both: hence a class of our own, and {@code var} where the client returns such a class.
 */
final class Broker {
    final String cluster;
    final String name;
    final String address;

    private Broker(String cluster, String name, String address) {
        this.cluster = cluster;
        this.name = name;
        this.address = address;
    }

    static Broker of(DefaultMQAdminExt admin) throws Exception {
        var data = admin.examineBrokerClusterInfo().getBrokerAddrTable().values().iterator().next();
        return new Broker(data.getCluster(), data.getBrokerName(), data.getBrokerAddrs().get(0L));
    }

    /** Whether any broker has registered with the name server. */
    static boolean isKnown(DefaultMQAdminExt admin) throws Exception {
        Map<?, ?> brokers = admin.examineBrokerClusterInfo().getBrokerAddrTable();
        return brokers != null && !brokers.isEmpty();
    }
}
