package squall.runtime;

import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.PrintStream;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The runtime client: loads the handler and answers events. Class path of a function: its folder, lib/*.jar, /opt/java/lib/*.jar. */
public final class Main {
    private Main() {}

    public static void main(String[] args) throws Exception {
        run(args.length > 0 ? args[0] : "/opt", null);
    }

    /** Serves for ever; over the connection that is there, if one is. */
    static void run(String opt, Api connected) throws Exception {
        PrintStream out = new PrintStream(new java.io.FileOutputStream(java.io.FileDescriptor.out), false, StandardCharsets.UTF_8);
        PrintStream lines = new Lines(out);
        System.setOut(lines);
        System.setErr(lines);
        Map<String, String> env = System.getenv();
        Api api = connected != null ? connected : new Api(env.get("AWS_LAMBDA_RUNTIME_API"));
        Handler handler;
        try {
            ClassLoader loader = loader(env.getOrDefault("LAMBDA_TASK_ROOT", "/var/task"), opt);
            Thread.currentThread().setContextClassLoader(loader);
            handler = Handler.find(env.getOrDefault("_HANDLER", ""), loader);
        } catch (Throwable e) {
            Throwable cause = unwrapped(e);
            print(cause);
            api.post("init/error", Json.write(describe(cause)), cause.getClass().getName());
            System.exit(1);
            return;
        }
        while (true) {
            Api.Event event = api.next();
            if (event.trace != null) {
                System.setProperty("com.amazonaws.xray.traceHeader", event.trace);
            } else {
                System.clearProperty("com.amazonaws.xray.traceHeader");
            }
            String path = "invocation/" + event.requestId + "/";
            byte[] answer;
            try {
                answer = handler.call(new ByteArrayInputStream(event.body), event);
                path += "response";
                System.out.flush();
                api.post(path, answer, null);
            } catch (Throwable e) {
                Throwable cause = unwrapped(e);
                print(cause);
                System.out.flush();
                api.post(path + "error", Json.write(describe(cause)), cause.getClass().getName());
                if (cause instanceof VirtualMachineError) {
                    // Nothing can be relied on after it, lack of memory above all.
                    System.exit(1);
                }
            }
        }
    }

    /** What loads classes that only a function's start needs. */
    static void rehearse() throws Exception {
        loader("/var/task", "/opt");
        new Lines(new PrintStream(new java.io.ByteArrayOutputStream(), false, StandardCharsets.UTF_8)).println("");
        describe(new IllegalStateException(""));
    }

    private static ClassLoader loader(String task, String opt) throws Exception {
        List<URL> urls = new ArrayList<>();
        urls.add(new File(task + "/").toURI().toURL());
        for (String folder : new String[] {task + "/lib", opt + "/java/lib"}) {
            // No lambdas where every start passes: each costs milliseconds.
            String[] names = new File(folder).list();
            if (names != null) {
                Arrays.sort(names);
                for (String name : names) {
                    if (name.endsWith(".jar")) {
                        urls.add(new File(folder, name).toURI().toURL());
                    }
                }
            }
        }
        return new URLClassLoader(urls.toArray(new URL[0]), ClassLoader.getSystemClassLoader());
    }

    /** What the function threw, without what reflection puts around it. */
    private static Throwable unwrapped(Throwable e) {
        while ((e instanceof java.lang.reflect.InvocationTargetException || e instanceof java.lang.reflect.UndeclaredThrowableException)
                && e.getCause() != null) {
            e = e.getCause();
        }
        return e;
    }

    /** The stack without this client's own frames and those of reflection below them. */
    private static List<StackTraceElement> frames(Throwable e) {
        List<StackTraceElement> all = new ArrayList<>(Arrays.asList(e.getStackTrace()));
        int own = -1;
        for (int i = 0; i < all.size(); i++) {
            if (all.get(i).getClassName().startsWith("squall.runtime.")) {
                own = i;
                break;
            }
        }
        if (own < 0) {
            return all;
        }
        int end = own;
        while (end > 0 && isReflection(all.get(end - 1).getClassName())) {
            end--;
        }
        return all.subList(0, end);
    }

    private static boolean isReflection(String name) {
        return name.startsWith("java.lang.reflect.") || name.startsWith("jdk.internal.reflect.")
                || name.startsWith("java.lang.invoke.") || name.startsWith("java.lang.ClassLoader") || name.startsWith("java.net.URLClassLoader")
                || name.startsWith("java.lang.Class");
    }

    private static Map<String, Object> describe(Throwable e) {
        return describe(e, 0);
    }

    private static Map<String, Object> describe(Throwable e, int depth) {
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("errorMessage", e.getMessage());
        fields.put("errorType", e.getClass().getName());
        List<String> trace = new ArrayList<>();
        for (StackTraceElement frame : frames(e)) {
            trace.add(frame.toString());
        }
        fields.put("stackTrace", trace);
        if (e.getCause() != null && e.getCause() != e && depth < 16) {
            fields.put("cause", describe(e.getCause(), depth + 1));
        }
        return fields;
    }

    private static void print(Throwable e) {
        StringBuilder text = new StringBuilder();
        text.append(e.getMessage()).append(": ").append(e.getClass().getName()).append('\n');
        text.append(e).append('\n');
        for (StackTraceElement frame : frames(e)) {
            text.append("\tat ").append(frame).append('\n');
        }
        for (Throwable cause = e.getCause(); cause != null && cause != cause.getCause(); cause = cause.getCause()) {
            text.append("Caused by: ").append(cause).append('\n');
            for (StackTraceElement frame : frames(cause)) {
                text.append("\tat ").append(frame).append('\n');
            }
        }
        Lines.event(text.toString());
    }
}
