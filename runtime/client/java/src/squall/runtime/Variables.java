package squall.runtime;

import java.io.FileInputStream;
import java.io.IOException;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.util.HashSet;
import java.util.Set;
import sun.misc.Unsafe;

/**
 * This process's environment variables where the kernel put them. Others can be written over them, as long as nobody has looked: in
 * Java, in C or in a child, whoever looks for the first time then sees these alone. The process was started with variables that mean
 * nothing, for their room.
 */
final class Variables {
    private final Unsafe memory;
    /** Of the pointers to the texts. */
    private final long first;
    private final int slots;
    /** Of the texts, which lie behind each other in the order of their pointers. */
    private final long text;
    private final long end;

    private Variables(Unsafe memory, long first) {
        this.memory = memory;
        this.first = first;
        int count = 0;
        while (memory.getLong(first + 8L * count) != 0) {
            count++;
        }
        slots = count;
        text = memory.getLong(first);
        end = memory.getLong(first + 8L * (count - 1));
    }

    static Variables find() throws ReflectiveOperationException, IOException {
        Field field = Unsafe.class.getDeclaredField("theUnsafe");
        field.setAccessible(true);
        Unsafe memory = (Unsafe) field.get(null);
        byte[] stat = new byte[4096];
        int length;
        try (FileInputStream file = new FileInputStream("/proc/self/stat")) {
            length = file.read(stat);
        }
        String line = new String(stat, 0, length, StandardCharsets.ISO_8859_1);
        // The stack as the program found it: the number of arguments, arguments, a zero, variables, a zero.
        long stack = Long.parseLong(line.substring(line.lastIndexOf(')') + 2).split(" ")[25]);
        for (String name : new String[] {"ProcessEnvironment", "ProcessEnvironment$ExternalData", "ProcessEnvironment$Variable",
                "ProcessEnvironment$Value", "ProcessEnvironment$StringEnvironment", "ProcessEnvironment$StringKeySet", "ProcessImpl",
                "ProcessImpl$LaunchMechanism"}) {
            try {
                // Loaded, and not initialised: that would be a look.
                Class.forName("java.lang." + name, false, null);
            } catch (ClassNotFoundException e) {
                // Another JDK's; it costs a millisecond later.
            }
        }
        return new Variables(memory, stack + 8 * (memory.getLong(stack) + 2));
    }

    /** Puts so many texts, each ended by a zero, in the place of all; false if that did not succeed. */
    boolean replace(byte[] texts, int from, int count) {
        if (count > slots || texts.length - from > end - text) {
            return false;
        }
        Set<String> names = new HashSet<>();
        int at = from;
        for (int i = 0; i < count; i++) {
            memory.putLong(first + 8L * i, text + at - from);
            int stop = end(texts, at);
            String pair = new String(texts, at, stop - at, StandardCharsets.UTF_8);
            names.add(pair.substring(0, pair.indexOf('=')));
            at = stop + 1;
        }
        memory.copyMemory(texts, Unsafe.ARRAY_BYTE_BASE_OFFSET + from, null, text, at - from);
        memory.putLong(first + 8L * count, 0);
        return System.getenv().keySet().equals(names);
    }

    static int end(byte[] texts, int at) {
        while (texts[at] != 0) {
            at++;
        }
        return at;
    }
}
