package steadfast.clients;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.extension.AfterAllCallback;
import org.junit.jupiter.api.extension.BeforeAllCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * The server under test: one process with an empty data directory for each test class.
 *
 * <p>With {@code STEADFAST_BIN} set, that program is started as {@code $STEADFAST_BIN server --data DIR --set KEY=VALUE
 * …} on free ports. Without it, but with {@code NAMESRV_ADDR} set, the tests use what runs there already, and those that
 * must stop or kill the server are skipped.
 */
final class Server implements BeforeAllCallback, AfterAllCallback {
    static final String BINARY = System.getenv("STEADFAST_BIN");
    /** Where tests may leave files. */
    static final Path TARGET = Path.of(System.getProperty("build.directory")).toAbsolutePath();

    /** All servers of a test run have the same ports: that of the name server and that of the broker. */
    private static final List<Integer> PORTS = "usual".equals(System.getenv("PORTS")) ? usualPorts() : freePorts();

    /** The name server's address that all clients and commands of the tests use. */
    static final String NAMESRV = owned() ? "127.0.0.1:" + PORTS.get(0) : System.getenv("NAMESRV_ADDR");

    /** Apache RocketMQ on a busy machine takes its time. */
    private static final Duration START = Duration.ofMinutes(4);

    private Path data;
    private Path output;
    private Process process;

    private static boolean owned() {
        return BINARY != null && !BINARY.isEmpty();
    }

    /** Skips the calling test unless these tests started the server themselves and so may stop it. */
    static void assumeOwned() {
        assumeTrue(owned(), "stops the server: runs only with STEADFAST_BIN");
    }

    @Override
    public void beforeAll(ExtensionContext context) throws Exception {
        if (!owned()) {
            if (NAMESRV == null) {
                throw new IllegalStateException("set STEADFAST_BIN (program to test) or NAMESRV_ADDR (server to use)");
            }
            Clients.awaitBroker();
            return;
        }
        String name = context.getRequiredTestClass().getSimpleName();
        data = TARGET.resolve("data").resolve(name);
        output = TARGET.resolve("server-" + name + ".log");
        removeData();
        Files.createDirectories(data);
        Files.deleteIfExists(output);
        start();
    }

    /** The data is not needed any more, so nothing is lost by ending the server the quick way. */
    @Override
    public void afterAll(ExtensionContext context) throws Exception {
        if (process != null) {
            kill();
            removeData();
        }
    }

    /** Starts the server on its data directory; returns when clients can use it. */
    void start() throws Exception {
        for (int port : PORTS) {
            Wait.until("port " + port + " free again", () -> !accepts(port));
        }
        List<String> command = new ArrayList<>(List.of(BINARY, "server", "--data", data.toString()));
        for (String setting : List.of("bindAddress=127.0.0.1", "namesrvPort=" + PORTS.get(0), "listenPort=" + PORTS.get(1),
                "metricsPromExporterPort=0", "brokerName=broker-a",
                // However full the disk is on which the tests run.
                "diskMaxUsedSpaceRatio=100", "diskSpaceCleanForciblyRatio=100", "diskSpaceWarningLevelRatio=100")) {
            command.addAll(List.of("--set", setting));
        }
        process = new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.appendTo(output.toFile()))
                .start();
        // Only for a test run that is broken off: whoever ends this JVM must not leave a server behind.
        Runtime.getRuntime().addShutdownHook(new Thread(process::destroyForcibly));
        for (int port : PORTS) {
            Wait.within(START, () -> "server accepts on port " + port + ", see " + output, () -> {
                if (!process.isAlive()) {
                    throw new AssertionError("the server ended with status " + process.exitValue() + ":\n" + tail());
                }
                return accepts(port);
            });
        }
        Clients.awaitBroker();
    }

    /** Ends the server as an operator does, with SIGTERM, and waits for it. */
    void stop() throws Exception {
        process.destroy();
        if (!process.waitFor(30, TimeUnit.SECONDS)) {
            process.destroyForcibly();
            throw new AssertionError("the server still ran 30 s after SIGTERM:\n" + tail());
        }
    }

    /** Ends the server at once with SIGKILL: it has no chance to write anything more. */
    void kill() throws Exception {
        process.destroyForcibly().waitFor();
    }

    void restart() throws Exception {
        stop();
        start();
    }

    /** RocketMQ's own, as in the commands of its documentation, if nobody has them. */
    private static List<Integer> usualPorts() {
        boolean taken = IntStream.of(9876, 10909, 10911, 10912).anyMatch(Server::accepts);
        return taken ? freePorts() : List.of(9876, 10911);
    }

    /**
     * Below the range from which Linux takes ports for outgoing connections, and above that of tests/clients/with-server. The
     * broker of Apache RocketMQ also takes the ports below its own by 2 and above it by 1.
     */
    private static List<Integer> freePorts() {
        Random random = new Random();
        while (true) {
            int port = 26_000 + random.nextInt(6_000);
            if (IntStream.of(port, port + 1, port + 3, port + 4).noneMatch(Server::accepts)) {
                return List.of(port, port + 3);
            }
        }
    }

    private static boolean accepts(int port) {
        try (Socket socket = new Socket()) {
            socket.connect(new InetSocketAddress("127.0.0.1", port), 1000);
            return true;
        } catch (IOException refused) {
            return false;
        }
    }

    private String tail() throws IOException {
        List<String> lines = Files.readAllLines(output);
        return lines.stream().skip(Math.max(0, lines.size() - 30)).collect(Collectors.joining("\n"));
    }

    private void removeData() throws IOException {
        if (Files.exists(data)) {
            try (Stream<Path> files = Files.walk(data)) {
                for (Path file : files.sorted(Comparator.reverseOrder()).collect(Collectors.toList())) {
                    Files.delete(file);
                }
            }
        }
    }
}
