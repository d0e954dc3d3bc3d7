package steadfast.clients;

import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.extension.RegisterExtension;

/** What the official mqadmin prints against this server is what it prints against Apache RocketMQ in the same state. */
@Tag("newest-tools")
class GoldenTest {
    @RegisterExtension
    static final Server server = new Server();

    @RegisterExtension
    final Clients clients = new Clients();

    @TestFactory
    Stream<DynamicTest> mqadminPrintsWhatItPrintsAgainstApacheRocketMq() throws Exception {
        Server.assumeOwned();
        try (Golden.Tool mqadmin = Golden.mqadmin(Server.TARGET.resolve("golden"))) {
            Map<String, String> printed = new AdminScenario(new Golden(mqadmin), clients).play();
            return GoldenFiles.compare(printed, ".diff");
        }
    }
}
