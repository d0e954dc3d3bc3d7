package steadfast.clients;

import java.util.ArrayList;
import java.util.List;

/** The difference of two texts by lines: as few lines out and in as possible. */
final class LineDiff {
    private LineDiff() {}

    /** Lines that only {@code before} has, with a minus, and that only {@code after} has, with a plus, in their order. */
    static List<String> of(List<String> before, List<String> after) {
        int[][] common = common(before, after);
        List<String> difference = new ArrayList<>();
        int b = 0;
        int a = 0;
        while (b < before.size() || a < after.size()) {
            if (b < before.size() && a < after.size() && before.get(b).equals(after.get(a))) {
                b++;
                a++;
            } else if (a == after.size() || b < before.size() && common[b + 1][a] >= common[b][a + 1]) {
                difference.add("-" + before.get(b++));
            } else {
                difference.add("+" + after.get(a++));
            }
        }
        return difference;
    }

    /** For each pair of places, how many lines the longest row has that both rests share. */
    private static int[][] common(List<String> before, List<String> after) {
        int[][] length = new int[before.size() + 1][after.size() + 1];
        for (int b = before.size() - 1; b >= 0; b--) {
            for (int a = after.size() - 1; a >= 0; a--) {
                length[b][a] = before.get(b).equals(after.get(a))
                        ? length[b + 1][a + 1] + 1
                        : Math.max(length[b + 1][a], length[b][a + 1]);
            }
        }
        return length;
    }
}
