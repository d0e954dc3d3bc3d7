package steadfast.clients;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;

/**
 * {@code tests/clients/golden}: {@code COMMAND.txt} is what the official mqadmin prints against Apache RocketMQ. What it
 * prints against this server is compared with it, and so is what {@code steadfast admin} prints.
 *
 * <p>{@code COMMAND.diff} and {@code COMMAND.steadfast.diff}, where there is one, is how that differs on purpose: lines with
 * a minus are missing here, lines with a plus are ours, and lines with a hash, which come first, say why. See
 * tests/clients/golden/README.md.
 */
final class GoldenFiles {
    private static final Path FILES = Path.of("..", "golden");
    private static final boolean UPDATE = Boolean.getBoolean("golden.update");
    private static final boolean ACCEPT = Boolean.getBoolean("golden.accept");

    private GoldenFiles() {}

    /** A test for each command that was run, and one that no other was left out. */
    static Stream<DynamicTest> compare(Map<String, String> transcripts, String differences) {
        DynamicTest complete = DynamicTest.dynamicTest("all commands", () -> assertEquals(commands(), transcripts.keySet()));
        return Stream.concat(
                transcripts.keySet().stream().map(command ->
                        DynamicTest.dynamicTest(command, () -> compare(command, transcripts.get(command), differences))),
                Stream.of(complete));
    }

    private static void compare(String command, String printed, String differences) throws Exception {
        Path file = FILES.resolve(command + ".txt");
        if (UPDATE) {
            Files.writeString(file, printed);
            return;
        }
        List<String> found = LineDiff.of(Files.readAllLines(file), printed.lines().collect(Collectors.toList()));
        Path accepted = FILES.resolve(command + differences);
        Map<Boolean, List<String>> parts = (Files.exists(accepted) ? Files.readAllLines(accepted) : List.<String>of())
                .stream().collect(Collectors.partitioningBy(line -> line.startsWith("#")));
        if (ACCEPT) {
            write(accepted, parts.get(true), found);
            return;
        }
        assertEquals(String.join("\n", parts.get(false)), String.join("\n", found), () -> command + " printed:\n" + printed);
        assertEquals(found.isEmpty(), parts.get(true).isEmpty(), accepted + " says why");
    }

    private static void write(Path file, List<String> reasons, List<String> difference) throws Exception {
        if (difference.isEmpty()) {
            Files.deleteIfExists(file);
        } else {
            Files.write(file, Stream.concat(reasons.stream(), difference.stream()).collect(Collectors.toList()));
        }
    }

    private static Set<String> commands() throws Exception {
        try (Stream<Path> files = Files.list(FILES)) {
            return files.map(file -> file.getFileName().toString())
                    .filter(name -> name.endsWith(".txt"))
                    .map(name -> name.substring(0, name.length() - ".txt".length()))
                    .collect(Collectors.toCollection(TreeSet::new));
        }
    }
}
