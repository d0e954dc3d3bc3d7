package steadfast.clients;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

/** Another JVM with the classpath of these tests whose output lines are collected as they come. */
final class ChildJvm {
    private final Process process;
    private final List<String> lines = new CopyOnWriteArrayList<>();
    private final Thread reader;

    private ChildJvm(Process process) {
        this.process = process;
        this.reader = new Thread(this::collect, "output of " + process.pid());
        this.reader.setDaemon(true);
        this.reader.start();
    }

    static ChildJvm start(Class<?> main, Collection<String> args) throws IOException {
        return start(Path.of("").toAbsolutePath(), main, args);
    }

    /** With another current directory than ours. */
    static ChildJvm start(Path directory, Class<?> main, Collection<String> args) throws IOException {
        Path home = Path.of(System.getProperty("user.home")).toAbsolutePath();
        Files.createDirectories(home);
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                // A short life: start quickly, forget peak speed.
                "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Xmx256m",
                "-Duser.home=" + home,
                "-Drocketmq.client.rebalance.waitInterval=1000",
                "-Drocketmq.client.rebalance.minInterval=100",
                "-cp", System.getProperty("java.class.path"),
                main.getName()));
        command.addAll(args);
        Process process = new ProcessBuilder(command).directory(directory.toFile()).redirectErrorStream(true).start();
        Runtime.getRuntime().addShutdownHook(new Thread(process::destroyForcibly));
        return new ChildJvm(process);
    }

    private void collect() {
        try (BufferedReader output =
                new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
            for (String line = output.readLine(); line != null; line = output.readLine()) {
                lines.add(line);
            }
        } catch (IOException ended) {
            // The process was killed: what it wrote before has been read.
        }
    }

    /** Gives it a line of input; returns what it prints, up to a line that is {@code end}. */
    String ask(String line, String end) throws Exception {
        int asked = lines.size();
        process.getOutputStream().write((line + "\n").getBytes(StandardCharsets.UTF_8));
        process.getOutputStream().flush();
        // Long enough for a tool whose own time-outs are 20 s.
        Wait.within(Duration.ofSeconds(60), () -> "an answer to " + line + ": " + output(),
                () -> lines.subList(asked, lines.size()).contains(end));
        List<String> answer = lines.subList(asked, lines.size());
        return String.join("\n", answer.subList(0, answer.indexOf(end)));
    }

    /** All that it printed so far. */
    String output() {
        return String.join("\n", lines);
    }

    /** The rest of each line that begins with this word and a blank, in order. */
    List<String> after(String word) {
        String prefix = word + " ";
        return lines.stream()
                .filter(line -> line.startsWith(prefix))
                .map(line -> line.substring(prefix.length()))
                .collect(Collectors.toList());
    }

    /** Waits until it ends by itself; returns its exit status. */
    int join() throws Exception {
        if (!process.waitFor(60, TimeUnit.SECONDS)) {
            kill();
            throw new AssertionError("process still ran after 60 s:\n" + output());
        }
        reader.join();
        return process.exitValue();
    }

    /** SIGTERM, so that its shutdown hooks run, and waits. */
    void terminate() throws Exception {
        process.destroy();
        join();
    }

    /** SIGKILL, and does not wait. */
    void end() {
        process.destroyForcibly();
    }

    /** SIGKILL, and waits until all it had printed is collected. */
    void kill() throws Exception {
        process.destroyForcibly().waitFor();
        reader.join();
    }
}
