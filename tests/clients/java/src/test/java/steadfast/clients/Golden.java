package steadfast.clients;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Runs commands of an administration tool and keeps what they print. Arguments may hold names that {@link #mask} knows,
 * as {@code NAMESRV}, and so may the output.
 */
final class Golden {
    /** Takes a command line as words; returns what it prints, on standard output and standard error. */
    interface Tool extends AutoCloseable {
        String run(List<String> words) throws Exception;

        @Override
        default void close() {}
    }

    final Mask mask = new Mask();
    private final Tool tool;
    private final List<Run> runs = new ArrayList<>();

    Golden(Tool tool) {
        this.tool = tool;
    }

    /** The official mqadmin; the bodies of messages that commands write go to {@code directory}. */
    static Tool mqadmin(Path directory) throws Exception {
        Files.createDirectories(directory);
        ChildJvm shell = ChildJvm.start(directory, AdminShell.class, List.of());
        return new Tool() {
            @Override
            public String run(List<String> words) throws Exception {
                return shell.ask(String.join("\t", words), AdminShell.END);
            }

            @Override
            public void close() {
                shell.end();
            }
        };
    }

    /** {@code BINARY admin …}, run in {@code directory}. */
    static Tool program(String binary, Path directory) throws Exception {
        Files.createDirectories(directory);
        return words -> {
            List<String> command = new ArrayList<>(List.of(binary, "admin"));
            command.addAll(words);
            Process process = new ProcessBuilder(command).directory(directory.toFile()).redirectErrorStream(true).start();
            process.getOutputStream().close();
            return new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        };
    }

    void run(String commandLine) throws Exception {
        run(commandLine, lines -> lines);
    }

    /** The same, for commands of whose output only a part is worth comparing. */
    void run(String commandLine, UnaryOperator<Stream<String>> part) throws Exception {
        List<String> words = Arrays.stream(commandLine.split(" ")).map(mask::value).collect(Collectors.toList());
        runs.add(new Run(commandLine, tool.run(words), part));
    }

    /** Command name to what all its runs printed, with all names that are known by now. */
    Map<String, String> transcripts() {
        Map<String, StringBuilder> texts = new LinkedHashMap<>();
        for (Run run : runs) {
            String command = run.commandLine.substring(0, run.commandLine.indexOf(' '));
            texts.computeIfAbsent(command, name -> new StringBuilder())
                    .append("$ mqadmin ").append(run.commandLine).append('\n')
                    .append(run.part.apply(lines(run.printed)).collect(Collectors.joining("\n", "", "\n\n")));
        }
        Map<String, String> transcripts = new LinkedHashMap<>();
        texts.forEach((command, text) -> transcripts.put(command, text.toString().strip() + "\n"));
        return transcripts;
    }

    /** Without empty lines, and without stack traces: where an error passed through a tool says nothing about the server. */
    private Stream<String> lines(String printed) {
        return printed.lines()
                .filter(line -> !line.matches("\\s+(at |\\.\\.\\. \\d).*"))
                .map(mask::apply)
                .filter(line -> !line.isEmpty());
    }

    private static final class Run {
        private final String commandLine;
        private final String printed;
        private final UnaryOperator<Stream<String>> part;

        private Run(String commandLine, String printed, UnaryOperator<Stream<String>> part) {
            this.commandLine = commandLine;
            this.printed = printed;
            this.part = part;
        }
    }
}
