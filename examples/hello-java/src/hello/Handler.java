package hello;

import java.util.Map;

/** One function without dependencies: a method that takes the event as a map. */
public class Handler {
    public Map<String, Object> hello(Map<String, Object> event) {
        String name = from(event.get("pathParameters"));
        name = name != null ? name : from(event.get("queryStringParameters"));
        name = name != null ? name : "world";
        System.out.println("greeting " + name);
        return Map.of(
            "statusCode", 200,
            "headers", Map.of("Content-Type", "application/json"),
            "body", "{\"message\": \"Hello, " + name + "!\"}");
    }

    private static String from(Object parameters) {
        return parameters instanceof Map ? (String) ((Map<?, ?>) parameters).get("name") : null;
    }
}
