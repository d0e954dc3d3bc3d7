package steadfast.clients;

import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.locks.LockSupport;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/**
 * The official mqadmin for many commands in one process, since most of the time of a command is the start of its JVM.
 *
 * <p>Each line of input is a command, its arguments separated by tabs. What mqadmin prints for it is followed by a line
 * with {@link #END}.
 */
final class AdminShell {
    /** No command prints this. */
    static final String END = "\u0004";

    private AdminShell() {}

    public static void main(String[] args) throws Exception {
        endShutdownsEarly();
        PrintStream out = System.out;
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String command = commands.readLine(); command != null; command = commands.readLine()) {
            ByteArrayOutputStream printed = new ByteArrayOutputStream();
            PrintStream capture = new PrintStream(printed, true, StandardCharsets.UTF_8);
            System.setOut(capture);
            System.setErr(capture);
            MQAdminStartup.main0(command.split("\t"), null);
            out.println(printed.toString(StandardCharsets.UTF_8));
            out.println(END);
            out.flush();
        }
        System.exit(0);
    }

    /** The client's shutdown waits for a thread of its own that looks every 3 s whether it should end: it looks sooner. */
    private static void endShutdownsEarly() {
        Thread waker = new Thread(() -> {
            while (true) {
                Thread.getAllStackTraces().keySet().stream()
                        .filter(thread -> thread.getName().equals("NettyEventExecutor"))
                        .forEach(Thread::interrupt);
                LockSupport.parkNanos(100_000_000);
            }
        });
        waker.setDaemon(true);
        waker.start();
    }
}
