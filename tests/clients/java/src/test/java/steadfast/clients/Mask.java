package steadfast.clients;

import java.time.LocalDateTime;
import java.time.ZoneId;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Replaces by names what cannot be the same in two runs: ids, addresses, places in the log, times, rates. Nothing else, and
 * of these only what is right: an id, a place or a size that no message has, or a time that is not of this run, stays.
 */
final class Mask {
    private static final long HOUR_MILLIS = 3_600_000;
    private static final Pattern DATE = Pattern.compile("\\b(\\d{4}-\\d\\d-\\d\\d) (\\d\\d:\\d\\d:\\d\\d)([.,]\\d{1,3})?");
    /** The hour of a message, by which the key index is ordered. */
    private static final Pattern HOUR = Pattern.compile("\\b1\\d{12}(?=@)");
    private static final Pattern MILLIS = Pattern.compile("\\b1\\d{12}\\b");
    private static final Pattern PLACE = Pattern.compile("((?i:commitLog ?Offset|physicOffset)[=:] *|@MSG-\\d@)(\\d+)");

    private static final Pattern MESSAGE = Pattern.compile("PLACE-(\\d)");
    private static final Pattern SIZE = Pattern.compile("((?:store|physic)Size=)(\\d+)");
    private static final Pattern PROPERTIES = Pattern.compile("((?i:properties)[:=] *\\{)([^}]*)");

    /** How fast and how full a machine is, and where a client is: in the order of application. */
    private static final Map<Pattern, String> UNSTEADY = unsteady(
            "\\d+\\.\\d+\\.\\d+\\.\\d+@[\\w#-]+", "CLIENT",
            "\\b127\\.0\\.0\\.1:\\d+", "ADDRESS",
            "TPS: [\\d.]+", "TPS: RATE",
            "complete up to log offset \\d+", "complete up to log offset END",
            "\\b\\d+\\.\\d\\d\\(\\d+,\\d+ms( ?\\| ?\\d+,\\d+ms)?\\)", "RATE",
            "\\b\\d+\\.\\d{2,4}\\b", "DECIMAL");

    private final long start = System.currentTimeMillis();
    private final Map<String, String> names = new LinkedHashMap<>();
    private final Map<String, String> places = new HashMap<>();

    /** From now on {@code name} stands for {@code value}. */
    void name(String name, String value) {
        names.put(name, value);
    }

    /** From now on {@code name} stands for {@code offset} wherever a place in the log is told. */
    void place(String name, long offset) {
        places.put(Long.toString(offset), name);
    }

    /** What the name stands for, or the word itself. */
    String value(String word) {
        return names.getOrDefault(word, word);
    }

    /** One line, with blanks made single: how wide a column is depends on what is in it. */
    String apply(String line) {
        for (Map.Entry<String, String> name : names.entrySet()) {
            line = line.replace(name.getValue(), name.getKey());
        }
        line = PLACE.matcher(line).replaceAll(match ->
                Matcher.quoteReplacement(match.group(1) + places.getOrDefault(match.group(2), match.group(2))));
        line = sizesWithoutId(line);
        line = PROPERTIES.matcher(line).replaceAll(match -> Matcher.quoteReplacement(match.group(1) + sorted(match.group(2))));
        line = DATE.matcher(line).replaceAll(match -> ofThisRun(millis(match)) ? "TIME" : match.group());
        line = HOUR.matcher(line).replaceAll(match -> isHourOfThisRun(Long.parseLong(match.group())) ? "HOUR" : match.group());
        line = MILLIS.matcher(line).replaceAll(match -> ofThisRun(Long.parseLong(match.group())) ? "MILLIS" : match.group());
        for (Map.Entry<Pattern, String> mask : UNSTEADY.entrySet()) {
            line = mask.getKey().matcher(line).replaceAll(mask.getValue());
        }
        return line.replaceAll("\\s+", " ").strip();
    }

    /** An id contains the address of the client's machine, and so is longer where that has one of IPv6. */
    private String sizesWithoutId(String line) {
        Matcher message = MESSAGE.matcher(line);
        if (!message.find()) {
            return line;
        }
        int id = names.get("MSG-" + message.group(1)).length();
        return SIZE.matcher(line).replaceAll(match -> match.group(1) + (Integer.parseInt(match.group(2)) - id) + "+ID");
    }

    /** The order of a map says nothing. */
    private static String sorted(String entries) {
        return Stream.of(entries.split(", ")).sorted().collect(Collectors.joining(", "));
    }

    private boolean ofThisRun(long time) {
        return time >= start - 1000 && time <= System.currentTimeMillis();
    }

    private boolean isHourOfThisRun(long time) {
        return time % HOUR_MILLIS == 0 && time + HOUR_MILLIS > start && time <= System.currentTimeMillis();
    }

    private static long millis(MatchResult date) {
        LocalDateTime time = LocalDateTime.parse(date.group(1) + "T" + date.group(2));
        return time.atZone(ZoneId.systemDefault()).toInstant().toEpochMilli();
    }

    private static Map<Pattern, String> unsteady(String... pairs) {
        Map<Pattern, String> patterns = new LinkedHashMap<>();
        for (int i = 0; i < pairs.length; i += 2) {
            patterns.put(Pattern.compile(pairs[i]), pairs[i + 1]);
        }
        return patterns;
    }
}
