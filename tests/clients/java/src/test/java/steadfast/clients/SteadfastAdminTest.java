package steadfast.clients;

import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.extension.RegisterExtension;

/** What {@code steadfast admin} prints is what the official mqadmin prints against Apache RocketMQ in the same state. */
@Tag("newest-tools")
@Tag("beyond-rocketmq")
class SteadfastAdminTest {
    @RegisterExtension
    static final Server server = new Server();

    @RegisterExtension
    final Clients clients = new Clients();

    @TestFactory
    Stream<DynamicTest> steadfastAdminPrintsWhatMqadminPrintsAgainstApacheRocketMq() throws Exception {
        Server.assumeOwned();
        try (Golden.Tool program = Golden.program(Server.BINARY, Server.TARGET.resolve("golden"))) {
            Map<String, String> printed = new AdminScenario(new Golden(program), clients).play();
            return GoldenFiles.compare(printed, ".steadfast.diff");
        }
    }
}
