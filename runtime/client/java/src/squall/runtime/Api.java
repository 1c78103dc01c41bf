package squall.runtime;

import java.io.BufferedInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;

/** The Runtime API over one kept connection; knows only what the platform sends: a status, headers, a Content-Length. */
final class Api {
    /** One event. */
    static final class Event {
        String requestId;
        String arn;
        String trace;
        String clientContext;
        String identity;
        long deadlineMs;
        byte[] body;
    }

    private final String host;
    private final Socket socket;
    private final OutputStream out;
    private final InputStream in;
    private Map<String, String> headers;

    Api(String address) throws IOException {
        int colon = address.lastIndexOf(':');
        socket = new Socket(address.substring(0, colon), Integer.parseInt(address.substring(colon + 1)));
        socket.setTcpNoDelay(true);
        host = address;
        out = socket.getOutputStream();
        in = new BufferedInputStream(socket.getInputStream(), 65536);
    }

    void close() throws IOException {
        socket.close();
    }

    Event next() throws IOException {
        send("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: " + host + "\r\n\r\n", new byte[0]);
        Event event = new Event();
        event.body = read();
        event.requestId = headers.get("lambda-runtime-aws-request-id");
        event.arn = headers.get("lambda-runtime-invoked-function-arn");
        event.trace = headers.get("lambda-runtime-trace-id");
        event.clientContext = headers.get("lambda-runtime-client-context");
        event.identity = headers.get("lambda-runtime-cognito-identity");
        event.deadlineMs = Long.parseLong(headers.getOrDefault("lambda-runtime-deadline-ms", "0"));
        return event;
    }

    void post(String path, byte[] body, String errorType) throws IOException {
        StringBuilder head = new StringBuilder("POST /2018-06-01/runtime/").append(path).append(" HTTP/1.1\r\nHost: ").append(host);
        head.append("\r\nContent-Type: application/json\r\n");
        if (errorType != null) {
            head.append("Lambda-Runtime-Function-Error-Type: ").append(errorType).append("\r\n");
        }
        head.append("Content-Length: ").append(body.length).append("\r\n\r\n");
        send(head.toString(), body);
        read();
    }

    private void send(String head, byte[] body) throws IOException {
        byte[] first = head.getBytes(StandardCharsets.UTF_8);
        byte[] all = java.util.Arrays.copyOf(first, first.length + body.length);
        System.arraycopy(body, 0, all, first.length, body.length);
        out.write(all);
        out.flush();
    }

    private byte[] read() throws IOException {
        headers = new HashMap<>();
        line();
        String line;
        while (!(line = line()).isEmpty()) {
            int colon = line.indexOf(':');
            if (colon > 0) {
                headers.put(line.substring(0, colon).toLowerCase(Locale.ROOT), line.substring(colon + 1).trim());
            }
        }
        int size = Integer.parseInt(headers.getOrDefault("content-length", "0"));
        byte[] body = in.readNBytes(size);
        if (body.length < size) {
            throw new EOFException();
        }
        return body;
    }

    private String line() throws IOException {
        byte[] buffer = new byte[256];
        int length = 0;
        int c;
        while ((c = in.read()) != '\n') {
            if (c < 0) {
                // The platform has gone: there is nobody left to run for.
                Runtime.getRuntime().halt(1);
            }
            if (length == buffer.length) {
                buffer = java.util.Arrays.copyOf(buffer, length * 2);
            }
            buffer[length++] = (byte) c;
        }
        return new String(buffer, 0, length > 0 && buffer[length - 1] == '\r' ? length - 1 : length, StandardCharsets.UTF_8);
    }
}
