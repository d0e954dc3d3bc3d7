package steadfast.clients;

import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.extension.RegisterExtension;

/** What {@code steadfast admin} prints is what the official mqadmin prints against Apache RocketMQ in the same state. */
@Tag("newest-tools")
@Tag("beyond-rocketmq")
class SteadfastAdminTest {
    /** Of the commands that are compared, those that it does not have yet: the official mqadmin brings the state about. */
    private static final Set<String> MISSING = Set.of(
            "updateSubGroup", "deleteSubGroup", "resetOffsetByTime", "producerConnection", "consumerStatus", "queryCq");

    @RegisterExtension
    static final Server server = new Server();

    @RegisterExtension
    final Clients clients = new Clients();

    @TestFactory
    Stream<DynamicTest> steadfastAdminPrintsWhatMqadminPrintsAgainstApacheRocketMq() throws Exception {
        Server.assumeOwned();
        Golden.Tool program = Golden.program(Server.BINARY);
        try (Golden.Tool mqadmin = Golden.mqadmin(Server.TARGET.resolve("golden"))) {
            Golden golden = new Golden(words -> (MISSING.contains(words.get(0)) ? mqadmin : program).run(words));
            Map<String, String> printed = new AdminScenario(golden, clients).play();
            return GoldenFiles.compare(printed, MISSING, ".steadfast.diff");
        }
    }
}
