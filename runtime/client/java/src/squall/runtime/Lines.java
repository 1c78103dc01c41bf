package squall.runtime;

import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/** Standard output, flushed at the end of each line. What is one event of the log, however many lines, is framed by NUL. */
final class Lines extends PrintStream {
    private static PrintStream under;

    Lines(PrintStream out) {
        super(out, true, StandardCharsets.UTF_8);
        under = out;
    }

    /** One event of the log. */
    static void event(String text) {
        String body = text.endsWith("\n") ? text.substring(0, text.length() - 1) : text;
        String framed = "\0" + body.replace("\0", " ").replace("\n", "\0") + "\n";
        byte[] bytes = framed.getBytes(StandardCharsets.UTF_8);
        synchronized (under) {
            under.write(bytes, 0, bytes.length);
            under.flush();
        }
    }
}
