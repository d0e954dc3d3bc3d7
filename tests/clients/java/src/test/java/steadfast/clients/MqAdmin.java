package steadfast.clients;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/** The official mqadmin, run as its own process with the arguments that an operator would type. */
final class MqAdmin {
    private final List<String> arguments;
    private final ChildJvm process;

    private MqAdmin(List<String> arguments) throws Exception {
        this.arguments = arguments;
        this.process = ChildJvm.start(MQAdminStartup.class, arguments);
    }

    /** Starts a command; several may run side by side, as each takes some seconds, mostly to shut down. */
    static MqAdmin start(String... arguments) throws Exception {
        return new MqAdmin(List.of(arguments));
    }

    /** What a command printed, when it has ended. */
    static String run(String... arguments) throws Exception {
        return start(arguments).output();
    }

    String output() throws Exception {
        int status = process.join();
        String output = process.output();
        assertEquals(0, status, () -> arguments + " printed:\n" + output);
        return output;
    }

    /** The rows of a printed table: lines whose first column matches, split at blanks. */
    static List<List<String>> rows(String output, String firstColumn) {
        return output.lines()
                .map(line -> List.of(line.trim().split("\\s+")))
                .filter(columns -> columns.get(0).matches(firstColumn))
                .collect(Collectors.toList());
    }

    /** The "Name:   value" lines of a printed record. */
    static Map<String, String> fields(String output) {
        Pattern field = Pattern.compile("([A-Za-z][A-Za-z ]*):\\s+(.*)");
        return output.lines()
                .map(field::matcher)
                .filter(Matcher::matches)
                .collect(Collectors.toMap(match -> match.group(1), match -> match.group(2).trim(), (first, again) -> first));
    }
}
