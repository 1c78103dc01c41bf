package squall.runtime;

import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.reflect.Proxy;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * A machine that is started ahead of its function and waits for it. Standard input is a socket: 'r' goes out when it waits, then
 * arguments and environment come in, and 'k' goes out when it has taken them, 'n' when it cannot.
 */
public final class Stem {
    private Stem() {}

    public static void main(String[] args) throws Exception {
        OutputStream out = new FileOutputStream(FileDescriptor.in);
        InputStream in = new FileInputStream(FileDescriptor.in);
        Api api;
        Variables variables;
        try {
            rehearse();
            variables = Variables.find();
            // Whoever serves it comes later; until then the connection waits to be accepted.
            api = new Api(args[0]);
        } catch (Throwable e) {
            Runtime.getRuntime().halt(1);
            return;
        }
        out.write('r');
        byte[] payload = exactly(in, number(exactly(in, 4), 0));
        int at = 8;
        String last = "";
        for (int i = number(payload, 0); i > 0; i--) {
            int end = Variables.end(payload, at);
            last = new String(payload, at, end - at, StandardCharsets.UTF_8);
            at = end + 1;
        }
        if (!variables.replace(payload, at, number(payload, 4))) {
            // Whoever started this machine starts another in its place.
            out.write('n');
            Runtime.getRuntime().halt(1);
        }
        out.write('k');
        Main.run(last, args[0].equals(System.getenv("AWS_LAMBDA_RUNTIME_API")) ? api : null);
    }

    private static byte[] exactly(InputStream in, int size) throws IOException {
        byte[] bytes = new byte[size];
        // Not readNBytes, which asks some versions' files for their position.
        for (int have = 0; have < size; ) {
            int read = in.read(bytes, have, size - have);
            if (read < 0) {
                // Whoever would have given it a function has gone.
                Runtime.getRuntime().halt(1);
            }
            have += read;
        }
        return bytes;
    }

    private static int number(byte[] bytes, int at) {
        return bytes[at] & 255 | (bytes[at + 1] & 255) << 8 | (bytes[at + 2] & 255) << 16 | (bytes[at + 3] & 255) << 24;
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
        converse(event.body);
    }

    /** A conversation as with the platform, with ourselves. */
    private static void converse(byte[] body) throws IOException {
        try (ServerSocket server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            Api api = new Api("127.0.0.1:" + server.getLocalPort());
            try (Socket peer = server.accept()) {
                String head = "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 1\r\nContent-Length: " + body.length + "\r\n\r\n";
                peer.getOutputStream().write(head.getBytes(StandardCharsets.UTF_8));
                peer.getOutputStream().write(body);
                api.next();
                peer.getOutputStream().write("HTTP/1.1 202 Accepted\r\n\r\n".getBytes(StandardCharsets.UTF_8));
                api.post("invocation/1/response", body, null);
            }
            api.close();
        }
    }
}
