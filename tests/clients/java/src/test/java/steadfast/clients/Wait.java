package steadfast.clients;

import java.time.Duration;
import java.util.concurrent.Callable;
import java.util.function.Supplier;

/** Bounded waiting: polls a condition until it holds and fails, saying what was missing, when it does not in time. */
final class Wait {
    private static final Duration PATIENCE = Duration.ofSeconds(30);
    private static final long POLL_MILLIS = 20;

    private Wait() {}

    static void until(String what, Callable<Boolean> condition) throws Exception {
        until(() -> what, condition);
    }

    /** {@code what} is asked only on failure, so it may describe how far things came. */
    static void until(Supplier<String> what, Callable<Boolean> condition) throws Exception {
        within(PATIENCE, what, condition);
    }

    static void within(Duration patience, Supplier<String> what, Callable<Boolean> condition) throws Exception {
        long deadline = System.nanoTime() + patience.toNanos();
        while (!condition.call()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError("not within " + patience.toSeconds() + " s: " + what.get());
            }
            Thread.sleep(POLL_MILLIS);
        }
    }
}
