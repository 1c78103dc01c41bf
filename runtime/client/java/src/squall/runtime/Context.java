package squall.runtime;

import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/** The context object: the interfaces are the function's own (aws-lambda-java-core), so each is a proxy over a table. */
final class Context implements InvocationHandler {
    private static final String PACKAGE = "com.amazonaws.services.lambda.runtime.";
    private final Api.Event event;
    private final ClassLoader loader;

    private Context(Api.Event event, ClassLoader loader) {
        this.event = event;
        this.loader = loader;
    }

    /** A context of the type that a handler takes; null where the type is not AWS's interface. */
    static Object of(Class<?> type, Api.Event event) {
        if (!type.isInterface() || !type.getName().equals(PACKAGE + "Context")) {
            return null;
        }
        ClassLoader loader = type.getClassLoader();
        return Proxy.newProxyInstance(loader, new Class<?>[] {type}, new Context(event, loader));
    }

    static boolean isContext(Class<?> type) {
        return type.getName().equals(PACKAGE + "Context");
    }

    @Override
    public Object invoke(Object proxy, Method method, Object[] args) throws Throwable {
        Map<String, String> env = System.getenv();
        switch (method.getName()) {
            case "getAwsRequestId": return event.requestId;
            case "getLogGroupName": return env.get("AWS_LAMBDA_LOG_GROUP_NAME");
            case "getLogStreamName": return env.get("AWS_LAMBDA_LOG_STREAM_NAME");
            case "getFunctionName": return env.get("AWS_LAMBDA_FUNCTION_NAME");
            case "getFunctionVersion": return env.get("AWS_LAMBDA_FUNCTION_VERSION");
            case "getInvokedFunctionArn": return event.arn;
            case "getRemainingTimeInMillis": return (int) Math.max(0, event.deadlineMs - System.currentTimeMillis());
            case "getMemoryLimitInMB": return Integer.parseInt(env.getOrDefault("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"));
            case "getLogger": return logger(method.getReturnType());
            case "getIdentity": return record(method.getReturnType(), event.identity, Map.of("getIdentityId", "cognitoIdentityId", "getIdentityPoolId", "cognitoIdentityPoolId"), true);
            case "getClientContext": return clientContext(method.getReturnType());
            default: return other(proxy, method, args);
        }
    }

    private Object logger(Class<?> type) {
        return Proxy.newProxyInstance(loader, new Class<?>[] {type}, (proxy, method, args) -> {
            if (method.getName().equals("log") && args != null && args.length > 0) {
                Object said = args[0];
                String text = said instanceof byte[] ? new String((byte[]) said, StandardCharsets.UTF_8) : String.valueOf(said);
                Lines.event(text);
                return null;
            }
            return other(proxy, method, args);
        });
    }

    private Object clientContext(Class<?> type) {
        if (event.clientContext == null || !(Json.read(event.clientContext) instanceof Map)) {
            return null;
        }
        Map<?, ?> fields = (Map<?, ?>) Json.read(event.clientContext);
        return Proxy.newProxyInstance(loader, new Class<?>[] {type}, (proxy, method, args) -> {
            switch (method.getName()) {
                case "getCustom": return fields.get("custom");
                case "getEnvironment": return fields.get("env");
                case "getClient":
                    Object client = fields.get("client");
                    return client == null ? null : record(method.getReturnType(), new String(Json.write(client), StandardCharsets.UTF_8),
                        Map.of("getInstallationId", "installation_id", "getAppTitle", "app_title", "getAppVersionName", "app_version_name",
                            "getAppVersionCode", "app_version_code", "getAppPackageName", "app_package_name"), false);
                default: return other(proxy, method, args);
            }
        });
    }

    /** An interface whose getters read fields of an object. */
    private Object record(Class<?> type, String json, Map<String, String> names, boolean always) {
        Object read = json == null ? null : Json.read(json);
        if (!(read instanceof Map) && !always) {
            return null;
        }
        Map<?, ?> fields = read instanceof Map ? (Map<?, ?>) read : Map.of();
        return Proxy.newProxyInstance(loader, new Class<?>[] {type}, (proxy, method, args) -> {
            String name = names.get(method.getName());
            return name == null ? other(proxy, method, args) : fields.get(name);
        });
    }

    private static Object other(Object proxy, Method method, Object[] args) {
        switch (method.getName()) {
            case "toString": return "LambdaContext";
            case "hashCode": return System.identityHashCode(proxy);
            case "equals": return args != null && proxy == args[0];
            default: return null;
        }
    }
}
