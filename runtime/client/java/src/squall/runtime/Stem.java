package squall.runtime;

import java.io.ByteArrayInputStream;
import java.io.DataInputStream;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.OutputStream;
import java.lang.reflect.Field;
import java.lang.reflect.Proxy;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * A machine that is started ahead of its function and waits for it. Standard input is a socket: 'r' goes out when it waits, then
 * arguments and environment come in, and 'k' goes out when it has taken them, 'n' when it cannot.
 */
public final class Stem {
    private Stem() {}

    public static void main(String[] args) throws Exception {
        OutputStream out = new FileOutputStream(FileDescriptor.in);
        DataInputStream in = new DataInputStream(new FileInputStream(FileDescriptor.in));
        Api api;
        try {
            rehearse();
            // Whoever serves it comes later; until then the connection waits to be accepted.
            api = new Api(args[0]);
        } catch (Throwable e) {
            Runtime.getRuntime().halt(1);
            return;
        }
        out.write('r');
        byte[] payload = new byte[Integer.reverseBytes(in.readInt())];
        in.readFully(payload);
        ByteBuffer numbers = ByteBuffer.wrap(payload).order(ByteOrder.LITTLE_ENDIAN);
        int count = numbers.getInt(0);
        int variables = 8;
        String last = "";
        for (int i = 0; i < count; i++) {
            int end = end(payload, variables);
            last = new String(payload, variables, end - variables, StandardCharsets.UTF_8);
            variables = end + 1;
        }
        if (!isReplaced(payload, variables, numbers.getInt(4))) {
            // Whoever started this machine starts another in its place.
            out.write('n');
            Runtime.getRuntime().halt(1);
        }
        out.write('k');
        Main.run(last, args[0].equals(System.getenv("AWS_LAMBDA_RUNTIME_API")) ? api : null);
    }

    private static int end(byte[] text, int at) {
        while (text[at] != 0) {
            at++;
        }
        return at;
    }

    /**
     * Puts the variables where the kernel put this process's own: whoever asks for the first time, in Java, in C or in a child, sees
     * them alone. The process was started with variables that mean nothing, for their room.
     */
    private static boolean isReplaced(byte[] payload, int from, int count) {
        try {
            Field field = sun.misc.Unsafe.class.getDeclaredField("theUnsafe");
            field.setAccessible(true);
            sun.misc.Unsafe memory = (sun.misc.Unsafe) field.get(null);
            // The stack as the program found it: the number of arguments, arguments, a zero, variables, a zero.
            byte[] stat = new byte[4096];
            int length;
            try (FileInputStream file = new FileInputStream("/proc/self/stat")) {
                length = file.read(stat);
            }
            String line = new String(stat, 0, length, StandardCharsets.ISO_8859_1);
            String[] fields = line.substring(line.lastIndexOf(')') + 2).split(" ");
            long stack = Long.parseLong(fields[25]);
            long first = stack + 8 * (memory.getLong(stack) + 2);
            int slots = 0;
            while (memory.getLong(first + 8L * slots) != 0) {
                slots++;
            }
            if (slots == 0) {
                return false;
            }
            long text = memory.getLong(first);
            long room = text;
            for (int i = 0; i < slots; i++) {
                room = Math.max(room, memory.getLong(first + 8L * i));
            }
            // The texts lie behind each other in the order of their slots.
            if (count > slots || payload.length - from > room - text) {
                return false;
            }
            int at = from;
            for (int i = 0; i < count; i++) {
                memory.putLong(first + 8L * i, text + at - from);
                at = end(payload, at) + 1;
            }
            for (int i = from; i < at; i++) {
                memory.putByte(text + i - from, payload[i]);
            }
            memory.putLong(first + 8L * count, 0);
            Map<String, String> seen = System.getenv();
            at = from;
            Map<String, Boolean> names = new HashMap<>();
            for (int i = 0; i < count; i++) {
                int end = end(payload, at);
                String pair = new String(payload, at, end - at, StandardCharsets.UTF_8);
                names.put(pair.substring(0, pair.indexOf('=')), true);
                at = end + 1;
            }
            return seen.keySet().equals(names.keySet());
        } catch (Throwable e) {
            return false;
        }
    }

    /** What a call does, once, so that its classes are there; nothing is printed, and no variable is looked at. */
    private static void rehearse() throws Throwable {
        File jar = new File(Stem.class.getProtectionDomain().getCodeSource().getLocation().toURI());
        URL[] urls = {new File("/var/task/").toURI().toURL(), jar.toURI().toURL()};
        ClassLoader loader = new URLClassLoader(urls, ClassLoader.getPlatformClassLoader());
        Api.Event event = new Api.Event();
        event.requestId = "";
        event.body = "{\"text\":\"t\",\"number\":1,\"list\":[1.5,true,null],\"map\":{\"a\":\"b\"}}".getBytes(StandardCharsets.UTF_8);
        for (String name : List.of("handle", "bean", "stream")) {
            Handler.find("squall.runtime.Rehearsal::" + name, loader).call(new ByteArrayInputStream(event.body), event);
        }
        Rehearsal.Face face = (Rehearsal.Face) Proxy.newProxyInstance(Stem.class.getClassLoader(),
            new Class<?>[] {Rehearsal.Face.class}, (proxy, method, args) -> null);
        face.look("");
        Main.rehearse();
    }
}
