package steadfast.clients;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * The default layout: three processes, each a name server and a replica of two broker groups, of which the first process
 * leads one and the second process the other.
 */
final class Layout implements AutoCloseable {
    static final int PROCESSES = 3;
    /** From the port of one name server to that of the next one; all other ports of a process keep that distance as well. */
    private static final int APART = 100;
    /** From the port of a name server to the others of its process: two groups for clients (and VIP) and replicas, and the pages. */
    private static final int[] OTHERS = {0, 1033, 1035, 1036, 1043, 1045, 1046, -4319};

    private final int first;
    private final Path data;
    private final Path output;
    private final List<String> peers;
    private final Process[] processes = new Process[PROCESSES];

    /** Starts all processes, with settings of the form KEY=VALUE; returns at once. */
    Layout(String name, String... settings) throws Exception {
        first = freePorts();
        data = Server.TARGET.resolve("data").resolve(name);
        output = Server.TARGET.resolve("server-" + name + ".log");
        peers = IntStream.range(0, PROCESSES).mapToObj(i -> "127.0.0.1:" + (first + APART * i)).collect(Collectors.toList());
        removeData();
        Files.deleteIfExists(output);
        Runtime.getRuntime().addShutdownHook(new Thread(this::killAll));
        for (int i = 0; i < PROCESSES; i++) {
            start(i, settings);
        }
    }

    /** What clients are given: all name servers. */
    String namesrv() {
        return String.join(";", peers);
    }

    void start(int i, String... settings) throws Exception {
        List<String> command = new ArrayList<>(List.of(Server.BINARY, "server", "--data", data.resolve("n" + i).toString(),
                "--peers", String.join(",", peers), "--self", peers.get(i)));
        Stream<String> fixed = Stream.of("mappedFileSizeCommitLog=16MiB",
                // However full the disk is on which the tests run.
                "diskMaxUsedSpaceRatio=100", "diskSpaceCleanForciblyRatio=100", "diskSpaceWarningLevelRatio=100");
        Stream.concat(fixed, Stream.of(settings)).forEach(setting -> command.addAll(List.of("--set", setting)));
        processes[i] = new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.appendTo(output.toFile()))
                .start();
    }

    /** SIGKILL. */
    void kill(int i) throws Exception {
        processes[i].destroyForcibly().waitFor();
    }

    /** Waits until the first process leads the first group, the second one the second, and all replicas are there. */
    void awaitSettled(DefaultMQAdminExt admin) throws Exception {
        Map<String, String> expected = new TreeMap<>(Map.of(
                "broker-a", "127.0.0.1:" + (first + 1035), "broker-b", "127.0.0.1:" + (first + APART + 1045)));
        Wait.until(() -> expected + " instead of " + leaders(admin) + ", see " + output, () -> expected.equals(leaders(admin)));
    }

    /** The leader of each group of which all replicas are registered. */
    private static Map<String, String> leaders(DefaultMQAdminExt admin) {
        Map<String, String> leaders = new TreeMap<>();
        try {
            for (var broker : admin.examineBrokerClusterInfo().getBrokerAddrTable().values()) {
                if (broker.getBrokerAddrs().containsKey(0L) && broker.getBrokerAddrs().size() == PROCESSES) {
                    leaders.put(broker.getBrokerName(), broker.getBrokerAddrs().get(0L));
                }
            }
        } catch (Exception notYet) {
            leaders.clear();
        }
        return leaders;
    }

    @Override
    public void close() throws IOException {
        killAll();
        removeData();
    }

    private void killAll() {
        for (Process process : processes) {
            if (process != null) {
                process.destroyForcibly();
            }
        }
        for (Process process : processes) {
            if (process != null) {
                process.onExit().join();
            }
        }
    }

    /** Below the ports of {@link Server}. */
    private static int freePorts() {
        Random random = new Random();
        while (true) {
            int first = 24_330 + random.nextInt(370);
            IntStream all = IntStream.range(0, PROCESSES)
                    .flatMap(i -> IntStream.of(OTHERS).map(offset -> first + APART * i + offset));
            if (all.noneMatch(Layout::accepts)) {
                return first;
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
